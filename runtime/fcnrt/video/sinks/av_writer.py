"""Videos written by PyAV: H.264, each frame at its own time, and whole files whatever happens on the way."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from ...contract.types import UInt8Array
from ...errors import MediaError
from ...pictures.writing import check_frame
from .av_coding import Coding
from .av_encoders import ENCODERS, EXACT_ENCODERS, Encoder, add_video, find_encoder
from .av_file import FilmFile
from .av_pictures import Pictures

_HOLD_S = 60  # seconds; MP4 takes no frame that stands for much longer
_MOST_RATE = Fraction(1000)  # frames per second that a file claims to have

_ANY_CODING = Coding()


class VideoWriter(FilmFile):
    """Writes frames to an H.264 video, as `FilmFile` has it; a context manager.

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
        if not (0 < rate < float("inf") and min(size) > 0):
            raise MediaError(f"{path}: expected rate and size above 0, got rate {rate}, size {size}")
        super().__init__(path, Fraction(rate if isinstance(rate, Fraction) else float(rate)))
        self._picture: Any = None
        self._pixel_aspect = pixel_aspect
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
        seconds = self._frames / self._rate if time is None else time
        tick = max(round(seconds * self._ticks), self._last_tick + 1)
        with self._writing():
            self._hold_until(tick)
            self._picture = self._prepare(frame_hwc)
            self._encode(tick)
            if self._audio:
                self._audio.copy_until(Fraction(tick, self._ticks))

    def _encoders(self, exact: bool, coding: Coding) -> Sequence[Encoder]:
        """The encoders that suit, the preferred one first."""
        if coding == _ANY_CODING:
            return EXACT_ENCODERS if exact else ENCODERS
        if exact:
            raise MediaError("--codec, --bitrate, --crf are for overlays: labels in exact colours are lossless")
        return coding.film_encoders(self._path)

    def _add_video(self, container: Any) -> Any:
        claimed = min(max(self._rate, Fraction(1, _HOLD_S)), _MOST_RATE).limit_denominator(100_000)
        return add_video(container, self._encoder, claimed, self._prepare.size, self._ticks, self._pixel_aspect)

    def _tag(self, stream: Any) -> None:
        if self._encoder.tag and self._format.edits:
            stream.codec_context.codec_tag = self._encoder.tag

    def _flush(self) -> None:
        self._container.mux(self._stream.encode_lazy(None))

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
