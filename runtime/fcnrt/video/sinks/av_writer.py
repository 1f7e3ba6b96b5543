"""Videos written by PyAV: H.264, each frame at its own time, and whole files whatever happens on the way."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from ...contract.files import discard, part_name, put_in_place
from ...contract.types import UInt8Array
from ...errors import MediaError, first_line
from ...pictures.inputs import check_suffix
from ...pictures.writing import check_frame
from ..av_container import pyav
from .av_audio import AudioCopy
from .av_coding import Coding
from .av_encoders import (
    CONTAINERS,
    ENCODERS,
    EXACT_ENCODERS,
    Encoder,
    add_video,
    create_container,
    find_encoder,
)
from .av_pictures import Pictures
from .torn_files import playable_frames, read_head

_HOLD_S = 60  # MP4 takes no frame that stands for much longer
_MOST_RATE = Fraction(1000)  # frames per second that a file claims to have

_ANY_CODING = Coding()
_FULL = (errno.ENOSPC, errno.EDQUOT)


class VideoWriter:
    """Writes frames to an H.264 video; a context manager.

    `close()` puts the file in its place. Leaving the block does so too, by an exception or Ctrl-C as well: what was
    written until then is a playable file. Meanwhile it is called `.fcnrt-*.mp4` in the same folder, and what a
    killed process leaves there is playable, too, but for the last second or two. No frame written, no file.

    Args:
        path: a name that ends in .mp4, .mov or .mkv; an existing file is replaced.
        rate: frames per second, as the file claims it and for frames that are written without a time.
        size: (height, width) of the frames in pixels. Frames of another size are scaled to fit, on black. 4:2:0 has
            even sizes only: an odd one grows by a copy of its last row or column.
        exact: lossless RGB in the size as it is, such as for the colours of labels. FFmpeg, OpenCV, VLC and mpv play
            that, browsers and QuickTime do not. Otherwise 4:2:0 in BT.709, and tagged so.
        audio_from: a file whose first audio track that can be copied is copied, as it is, up to the end of the video.
            Time 0 is that file's first frame of video.
        pixel_aspect: width by height of a pixel, by which players are to stretch the pictures.
        coding: codec, and bit rate or quality, where it is not to be H.264 of a good quality; not for `exact`.

    Attributes:
        notes: one line for each thing that could not be had, such as audio that the container cannot hold.

    Raises:
        MediaError: the extension, rate or size is not as above, or the file cannot be written.
        MissingDependency: PyAV is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        rate: float | Fraction,
        size: tuple[int, int],
        *,
        exact: bool = False,
        audio_from: str | Path | None = None,
        pixel_aspect: Fraction = Fraction(1),
        coding: Coding = _ANY_CODING,
    ) -> None:
        self._path = Path(path)
        check_suffix(self._path, tuple(CONTAINERS))
        self._format = CONTAINERS[self._path.suffix.lower()]
        if not (0 < rate < float("inf") and min(size) > 0):
            raise MediaError(f"{path}: expected rate and size above 0, got rate {rate}, size {size}")
        if self._path.is_dir():
            raise MediaError(f"{path}: expected a name for a file, got that of a folder")
        self._av: Any = pyav()
        self.notes: list[str] = []
        self._rate = Fraction(rate if isinstance(rate, Fraction) else float(rate))
        self._frames, self._last_tick, self._pixel_aspect = 0, -1, pixel_aspect
        self._picture: Any = None
        self._part, self._head, self._closed = part_name(self._path), b"", False
        self._prepare = Pictures(self._av, (size[0], size[1]), exact)
        try:
            self._encoder = find_encoder(self._av, self._encoders(exact, coding), self._prepare.size)
        except MediaError as error:
            raise MediaError(f"{path}: {error}") from error
        self._ticks = min(self._format.ticks, self._encoder.most_ticks)
        self._open(self._find_audio(audio_from))

    def write(self, frame_hwc: UInt8Array, time: Fraction | None = None) -> None:
        """Append a frame.

        Args:
            frame_hwc: (H, W, 3) uint8 RGB; it may be changed afterwards.
            time: when to show it, in seconds; by default as the rate has it. Kept to 1/23040000 s in .mp4, 1/90000 s in
                .mov, 1 ms in .mkv; a time that does not rise is moved to the next such step. A frame that stands for
                more than a minute is repeated each minute.

        Raises:
            FrameError: the frame has another shape or dtype.
            MediaError: the disk is full: what was written until then is put in place. Or the video is closed.
        """
        check_frame(frame_hwc)
        if self._closed:
            raise MediaError(f"{self._path}: cannot write a frame, the video is closed")
        seconds = self._frames / self._rate if time is None else time
        tick = max(round(seconds * self._ticks), self._last_tick + 1)
        try:
            self._hold_until(tick)
            self._picture = self._prepare(frame_hwc)
            self._encode(tick)
            if self._audio:
                self._audio.copy_until(Fraction(tick, self._ticks))
        except self._av.FFmpegError as error:
            self._closed = True
            try:
                raise self._cut_short(error) from error
            finally:
                self._let_go()
        self._frames += 1

    def close(self) -> None:
        """Finish the file and put it in its place; may be called twice.

        Raises:
            MediaError: the file cannot be finished, as on a full disk; what can be played of it is put in place.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._frames:
                self._finish()
        except self._av.FFmpegError as error:
            raise self._cut_short(error) from error
        except BaseException:
            self._salvage()
            raise
        finally:
            self._let_go()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _encoders(self, exact: bool, coding: Coding) -> Sequence[Encoder]:
        """The encoders that suit, the preferred one first."""
        if coding == _ANY_CODING:
            return EXACT_ENCODERS if exact else ENCODERS
        if exact:
            raise MediaError("--codec, --bitrate, --crf are for overlays: labels in exact colours are lossless")
        return coding.film_encoders(self._path)

    def _find_audio(self, path: str | Path | None) -> AudioCopy | None:
        if path is None:
            return None
        try:
            audio = AudioCopy(path, self._format)
        except MediaError as error:
            self.notes.append(f"{self._path}: no audio: {error}")
            return None
        return audio if audio.tracks else None

    def _open(self, audio: AudioCopy | None) -> None:
        """Write the container's head, with the first audio track from `audio` on that it can hold, or without any."""
        self._container, self._audio = create_container(self._av, self._part, audio.codec if audio else None), audio
        claimed = min(max(self._rate, Fraction(1, _HOLD_S)), _MOST_RATE).limit_denominator(100_000)
        self._stream = add_video(
            self._container, self._encoder, claimed, self._prepare.size, self._ticks, self._pixel_aspect
        )
        try:
            if audio:
                audio.add_to(self._container)
            self._tag()
            self._container.start_encoding()
        except (self._av.FFmpegError, ValueError) as error:
            discard(self._part)
            if isinstance(error, OSError) or not audio:
                raise MediaError(f"{self._path}: cannot write a video here: {_reason(error)}") from error
            self._open(self._next_track(audio))

    def _tag(self) -> None:
        if self._encoder.tag and self._format.edits:
            self._stream.codec_context.codec_tag = self._encoder.tag

    def _next_track(self, audio: AudioCopy) -> AudioCopy | None:
        """Note that a track is left out, and go on to the next one."""
        which = f" track {audio.track + 1}" if audio.tracks > 1 else ""
        why = f"{self._path.suffix} cannot take {audio.codec}; .mkv may" if audio.codec else "its codec is unknown"
        self.notes.append(f"{self._path}: no audio{which}, {why}")
        audio.close()
        return AudioCopy(audio.path, self._format, audio.track + 1) if audio.track + 1 < audio.tracks else None

    def _hold_until(self, tick: int) -> None:
        """Write the last picture anew while the next one is too far away."""
        hold = _HOLD_S * self._ticks
        while self._picture is not None and tick - self._last_tick > hold:
            self._encode(self._last_tick + hold)

    def _encode(self, tick: int) -> None:
        self._picture.pts, self._picture.time_base = tick, Fraction(1, self._ticks)
        self._last_tick = tick
        # One call, which encodes as it writes: Ctrl-C cannot come between and lose what was encoded.
        self._container.mux(self._stream.encode_lazy(self._picture))

    def _finish(self) -> None:
        self._container.mux(self._stream.encode_lazy(None))
        if self._audio:
            self._audio.copy_until(Fraction(self._last_tick, self._ticks) + 1 / self._rate)
            if self._audio.trouble:
                self.notes.append(f"{self._path}: the audio ends too early: {self._audio.trouble}")
        self._end_container()
        try:
            put_in_place(self._part, self._path)
        except OSError as error:
            raise MediaError(f"{self._path}: cannot put this video in place: {_reason(error)}") from error

    def _end_container(self) -> None:
        """Write the container's end; its head is kept while that may fail half-way."""
        self._head = read_head(self._part)
        self._container.close()
        self._head = b""

    def _cut_short(self, error: BaseException) -> MediaError:
        """Put in place what can be played; the error to raise."""
        frames = self._salvage()
        kept = f"the {frames} frames written until then are in it" if frames else "nothing of it could be kept"
        return MediaError(f"{self._path}: {_reason(error)}; {kept}")

    def _salvage(self) -> int:
        """Put in place what can be played of an unfinished file; the number of its frames."""
        with contextlib.suppress(self._av.FFmpegError):
            if not self._head:
                self._end_container()
        frames = playable_frames(self._av, self._part, self._head)
        try:
            if frames:
                put_in_place(self._part, self._path)
        except OSError:
            return 0
        return frames

    def _let_go(self) -> None:
        with contextlib.suppress(self._av.FFmpegError):
            self._container.close()
        if self._audio:
            self._audio.close()
        discard(self._part)


def _reason(error: BaseException) -> str:
    number, text = getattr(error, "errno", None), getattr(error, "strerror", None)
    return "no space left on the disk" if number in _FULL else str(text or first_line(error))
