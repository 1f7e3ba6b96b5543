"""Reads video files, cameras and network streams with PyAV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any

from ...errors import MediaError, first_line
from ..addresses import is_live_name, is_pipe, is_stream, public, scheme
from ..av_container import (
    PIPE_HINT,
    USUAL_RATE,
    may_restart,
    no_answer,
    nominal_rate,
    open_container,
    pyav,
    read_error,
    video_stream,
)
from ..clock import Clock
from ..frames import Frame
from .av_claims import Claim
from .av_frames import DevicePixels, RgbPixels, pixel_aspect_of
from .deinterlacing import Deinterlace, Deinterlacer
from .pacing import Pacer
from .reader import Reader
from .tone_mapping import hdr_of

_TRIES = 8  # reads in a row that find damaged data, before the rest is given up
_BLIND = 3  # timeouts to wait for a picture while packets come: some cameras send a whole one every ten seconds only
_TIMELESS = {"mpjpeg", "mjpeg", "h264", "hevc"}  # formats without times, for which FFmpeg makes up 25 frames per second
_PLAYLISTS = {"hls", "dash"}


class AvReader(Reader):
    """Decodes a file, a camera or a network stream: exact times, upright RGB, or NV12 planes left on the GPU.

    Damaged packets are passed over and counted as "corrupt packets". Frames that the decoder gave, but marked as
    damaged, come nevertheless and count as "damaged frames".

    Args:
        where: a file's path, "-" or a named pipe, an address such as `rtsp://user:password@host/stream`, an .sdp file,
            `camera:0` or `/dev/video0`.
        timeout: seconds until a silent server or camera is given up, when opening and when reading.
        options: of FFmpeg's demuxers and protocols, such as {"rtsp_transport": "udp"}; TCP is the default.
        hwaccel: "cuda" or "cuda:1" to decode on that GPU and leave the frames there; None for the CPU.
        form: FFmpeg's name of the container, where the contents do not tell, such as "rawvideo".
        deinterlace: "auto" deinterlaces what the stream says is interlaced, "on" all, "off" nothing; on the CPU.

    Attributes:
        pixel_aspect: width by height of a pixel; players stretch pictures by it.
        notes: one line for what the pictures were, if they were not plain ones.

    Raises:
        MediaError: it cannot be opened, is no video, or not a single frame of it can be decoded.
        MissingDependency: PyAV is not installed.
    """

    def __init__(
        self,
        where: str | Path,
        *,
        timeout: float = 10.0,
        options: Mapping[str, str] | None = None,
        hwaccel: str | None = None,
        form: str | None = None,
        deinterlace: Deinterlace = "auto",
    ) -> None:
        super().__init__()
        where = str(where)
        self.name, self.faults, self._timeout = public(where), Counter[str](), timeout
        self._number, self._blind_s = 0, 0.0  # seconds waited since the last frame
        self._deinterlacer = Deinterlacer("off" if hwaccel else deinterlace)
        self.notes, self.pixel_aspect = list[str](), Fraction(1)
        self._container = open_container(where, timeout, options or {}, hwaccel, form)
        try:
            self._stream = video_stream(self._container, self.name)
            self._waits, self.live = is_stream(where) and not is_pipe(where), self._is_live(where)
            self._pixels = DevicePixels(self.name) if hwaccel else RgbPixels()
            # Each segment of a live playlist comes at once, which would make all but its last frames late.
            in_pieces = self.live and self._container.format.name in _PLAYLISTS
            self._pacer = Pacer(self._closing.wait) if in_pieces else None
            self._describe()
            self._frames = self._decoded_frames()
            first = self._first_frame(PIPE_HINT if is_pipe(where) else "")
            self._frames = chain((first,), self._frames)
        except BaseException:
            self._container.close()
            raise
        self.size, self.color = self._pixels.size(first.pixels), self._pixels.color

    def _read(self) -> Frame | None:
        return next(self._frames, None)

    def _release(self) -> None:
        self._frames = iter(())
        self._container.close()

    def _is_live(self, where: str) -> bool:
        if is_live_name(where) or scheme(where) is None:
            return is_live_name(where)
        # MPEG-TS tells no duration to who cannot seek in it; but of a file its server tells the size. A playlist's says
        # nothing.
        whole = (self._container.size or 0) > 0 and self._container.format.name not in _PLAYLISTS
        return not (self._container.duration or whole)

    def _describe(self) -> None:
        """Find out rate and length, and set the decoder up."""
        self._timeless = self.live and self._container.format.name in _TIMELESS
        self.rate = None if self._timeless else nominal_rate(self._stream)
        self._clock = Clock(1 / (self.rate or USUAL_RATE), self.live or may_restart(self._container))
        self._claim = Claim(self._container, self._stream, self.rate)
        self.frame_count = None if self.live else self._claim.frame_count
        # Threads that work on one frame each hold as many frames back.
        self._stream.thread_type = "SLICE" if self.live else "AUTO"
        for stream in self._container.streams if self.live else ():
            if stream is not self._stream:  # sound would hide from the timeout that the picture stands still
                stream.discard = pyav().stream.Discard.all

    def _first_frame(self, hint: str) -> Frame:
        try:
            first = next(self._frames, None)
        except MediaError as error:
            raise MediaError(f"{error}{hint}") from None
        if first is None:
            raise MediaError(f"{self.name}: cannot decode a single frame; expected a whole, readable video file{hint}")
        return first

    def _decoded_frames(self) -> Iterator[Frame]:
        for frame in self._progressive():
            if frame.is_corrupt:
                self.faults["damaged frames"] += 1
            decoded_at, time = monotonic(), None if frame.pts is None else frame.pts * frame.time_base
            if self._timeless:
                time = Fraction(decoded_at)
            if not self._number:
                self._describe_pictures(frame)
            pixels, shown = self._converted(frame), self._clock.tell(time)
            if self._pacer:
                self._pacer(shown)
                decoded_at = monotonic()
            yield Frame(pixels, shown, self._number, decoded_at)
            self._number, self._blind_s = self._number + 1, 0.0

    def _describe_pictures(self, frame: Any) -> None:
        """Find out what kind of pictures these are, by the first."""
        self.pixel_aspect = pixel_aspect_of(self._stream, frame)
        if self._pixels.color != "rgb":
            self._describe_untreated(frame)
        elif hdr_of(frame):
            self.notes.append(f"{self.name}: HDR ({hdr_of(frame)}), made SDR")
        if self._deinterlacer.found:
            self.notes.append(f"{self.name}: interlaced, deinterlaced (--deinterlace off leaves it as it is)")

    def _describe_untreated(self, frame: Any) -> None:
        """Say what would be done to these pictures on the CPU."""
        kinds = [f"HDR ({hdr_of(frame)})"] if hdr_of(frame) else []
        kinds += ["interlaced"] if frame.interlaced_frame else []
        for kind in kinds:
            self.notes.append(f"{self.name}: {kind}, left as it is on the GPU, to the labels' harm; decode on the CPU")

    def _progressive(self) -> Iterator[Any]:
        """PyAV's frames without interlacing; raises MediaError behind the last one where the file ends too early."""
        try:
            for frame in self._decoded():
                # Frames that a decoder still held at the end of a stream have none of their own.
                frame.time_base = frame.time_base or self._stream.time_base
                yield from self._deinterlacer(frame)
        except MediaError:
            yield from self._deinterlacer.flush()
            raise
        yield from self._deinterlacer.flush()

    def _converted(self, frame: Any) -> Any:
        try:
            return self._pixels(frame)
        except MediaError:
            raise
        except Exception as error:  # FFmpeg's, of a pixel format that it cannot convert, and others of PyAV
            kind = frame.format.name
            raise MediaError(f"{self.name}: cannot turn {kind} into RGB: {first_line(error)}") from None

    def _decoded(self) -> Iterator[Any]:
        """PyAV's frames; raises MediaError behind the last one where the file ends too early."""
        try:
            for packet in self._packets():
                self._claim.note(packet)
                if packet.stream_index == self._stream.index:
                    yield from self._frames_of(packet)
        except MediaError:
            yield from self._frames_of(None)
            raise
        yield from self._frames_of(None)
        if self._number and not self.live and self._claim.ends_early:
            claimed = f" of about {self.frame_count}" if self.frame_count else ""
            raise MediaError(
                f"{self.name}: ends early, after {self._number}{claimed} frames; the file is cut off or damaged"
            )

    def _packets(self) -> Iterator[Any]:
        """Packets of all streams, as far as they can be read; raises MediaError."""
        error, failed = pyav().error, 0
        while True:
            try:
                asked = monotonic()
                for packet in self._container.demux():
                    waited_s, failed = monotonic() - asked, 0
                    yield packet
                    self._check_patience(waited_s)
                    asked = monotonic()
                return
            except error.InvalidDataError as damage:
                self.faults["corrupt packets"] += 1
                failed += 1
                if failed == _TRIES:
                    raise read_error(self.name, damage, self._timeout) from None
            except IndexError:  # PyAV stumbles at the end where a stream has come up on the way
                return
            except error.FFmpegError as loss:
                raise read_error(self.name, loss, self._timeout) from None

    def _check_patience(self, waited_s: float) -> None:
        """Raise MediaError where the last packet was waited for too long, or all packets since the last frame."""
        self._blind_s += waited_s
        if self._waits and waited_s >= self._timeout:
            # It was FFmpeg's parser that gave this packet, when the read had been cut short: the next would wait again.
            raise MediaError(f"{self.name}: cannot read on: {no_answer(self._timeout)}")
        if self._waits and self._blind_s >= _BLIND * self._timeout:
            raise MediaError(f"{self.name}: cannot read on: no picture for {_BLIND * self._timeout:g} s")

    def _frames_of(self, packet: Any) -> list[Any]:
        """What the decoder gives for a packet, or for None what it still holds."""
        frames: list[Any] = []
        damaged = packet is not None and packet.is_corrupt
        try:
            frames = self._stream.codec_context.decode(packet)
        except pyav().error.EOFError:
            pass  # it was emptied before
        except (pyav().error.FFmpegError, ValueError):  # PyAV 19 has the latter for a codec that damage made up
            damaged = True
        if damaged:
            self.faults["corrupt packets"] += 1
        return frames
