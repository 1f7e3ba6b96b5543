"""Video files while they are written: whole ones whatever happens on the way, with a file's audio beside the video."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ...contract.closing import Closing
from ...contract.files import discard, part_name, put_in_place
from ...errors import MediaError, first_line
from ...pictures.inputs import check_suffix
from ..av_container import pyav
from .av_audio import AudioCopy
from .av_encoders import CONTAINERS, create_container
from .torn_files import playable_frames, read_head

_FULL = (errno.ENOSPC, errno.EDQUOT)


class CutShort(MediaError):
    """A film that could not be written to its end.

    Attributes:
        short: its name and why, without what was kept of it.
    """

    def __init__(self, path: Path, reason: str, kept: str) -> None:
        super().__init__(f"{path}: {reason}; {kept}")
        self.short = f"{path}: {reason}"


class FilmFile(Closing):
    """A video file that is being written; a context manager.

    `close()` puts the file in its place. Leaving the block does so too, by an exception or Ctrl-C as well: what was
    written until then is a playable file. Meanwhile it is called `.fcnrt-*.mp4` in the same folder, and what a
    killed process leaves there is playable, too, but for the last second or two. No frame written, no file.

    Args:
        path: a name that ends in .mp4, .mov or .mkv; an existing file is replaced.
        rate: frames per second.

    Attributes:
        notes: one line for each thing that could not be had, such as audio that the container cannot hold.

    Raises:
        MediaError: the extension is not as above.
        MissingDependency: PyAV is not installed.
    """

    def __init__(self, path: str | Path, rate: Fraction) -> None:
        self._path, self._rate = Path(path), rate
        check_suffix(self._path, tuple(CONTAINERS))
        if self._path.is_dir():
            raise MediaError(f"{path}: expected a name for a file, got that of a folder")
        self._format = CONTAINERS[self._path.suffix.lower()]
        self._av: Any = pyav()
        self.notes: list[str] = []
        self._ticks, self._frames, self._last_tick = self._format.ticks, 0, -1
        self._part, self._head, self._closed = part_name(self._path), b"", False

    def _add_video(self, container: Any) -> Any:
        """Add the video's stream to a container that is being opened."""
        raise NotImplementedError

    def _tag(self, stream: Any) -> None:
        """Give the stream its container's mark, once all streams are there."""

    def _flush(self) -> None:
        """Write what is still held back."""

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """While a frame is written: raises MediaError where the disk is full, with what there is put in place."""
        if self._closed:
            raise MediaError(f"{self._path}: cannot write a frame, the video is closed")
        try:
            yield
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
        self._stream = self._add_video(self._container)
        try:
            if audio:
                audio.add_to(self._container)
            self._tag(self._stream)
            self._container.start_encoding()
        except (self._av.FFmpegError, ValueError) as error:
            discard(self._part)
            if isinstance(error, OSError) or not audio:
                raise MediaError(f"{self._path}: cannot write a video here: {_reason(error)}") from error
            self._open(self._next_track(audio))

    def _next_track(self, audio: AudioCopy) -> AudioCopy | None:
        """Note that a track is left out, and go on to the next one."""
        which = f" track {audio.track + 1}" if audio.tracks > 1 else ""
        why = f"{self._path.suffix} cannot take {audio.codec}; .mkv may" if audio.codec else "its codec is unknown"
        self.notes.append(f"{self._path}: no audio{which}, {why}")
        audio.close()
        return AudioCopy(audio.path, self._format, audio.track + 1) if audio.track + 1 < audio.tracks else None

    def _finish(self) -> None:
        self._flush()
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
        return CutShort(self._path, _reason(error), kept)

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
