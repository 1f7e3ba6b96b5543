"""Opens containers with PyAV: files that may not open others, pipes, streams, cameras; errors in one line."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Mapping
from fractions import Fraction
from time import monotonic
from types import ModuleType
from typing import Any

from ..errors import MediaError, MissingDependency, first_line, needs, pip_install
from .addresses import (
    ALWAYS_LIVE,
    STDIN,
    camera,
    check_camera,
    check_file,
    has_reserved_letters,
    is_pipe,
    is_session,
    public,
    scheme,
)
from .av_options import check_options

# Containers of pictures and sound alone. Playlists, scripts and subtitles, whatever their files are called, could name
# other files to read, which an uploaded "video" must not.
FILE_FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,nut,ivf,obu,gif,apng,h264,hevc,vvc,m4v,mjpeg,mpjpeg,dv,"
    "yuv4mpegpipe,rm,wtv,swf,vc1,h263,amv,nsv,nuv,gxf,dirac,dnxhd,cavsvideo,avs2,avs3,evc,rawvideo"
)
_PICTURE_FORMATS = "png_pipe,jpeg_pipe,bmp_pipe,webp_pipe,tiff_pipe,ppm_pipe,pgm_pipe,pbm_pipe,j2k_pipe,image2pipe"

# Microseconds of a live stream that FFmpeg looks at before it hands over a frame: enough to tell codec and rate. With
# its own five seconds joining a stream, and joining it again, takes twice as long.
LIVE_OPTIONS = {"analyzeduration": "1000000"}
PIPE_HINT = "; what comes through a pipe must have its index in front: MPEG-TS, Matroska, or MP4 with +faststart"
_HINT_TIMEOUT_S = 3.0
USUAL_RATE, _HIGHEST_RATE = Fraction(25), 1000  # of streams that do not tell, and above which they tell nonsense
_JOINABLE = {"mpegts", "mpeg"}


def pyav() -> ModuleType:
    """PyAV; raises MissingDependency."""
    with needs("PyAV"):
        import av
    module: ModuleType = av
    return module


def open_container(
    where: str, timeout: float, options: Mapping[str, str], hwaccel: str | None, form: str | None = None
) -> Any:
    """Open a file, a pipe, an address or a camera for reading.

    Args:
        where: a path, "-", an address, `camera:N` or `/dev/videoN`.
        timeout: seconds until a silent server or camera is given up.
        options: of FFmpeg's demuxers and protocols; they go before ours.
        hwaccel: "cuda", "cuda:N" or None.
        form: the demuxer to take, by FFmpeg's name, instead of the one that the contents suggest.

    Raises:
        MediaError: it cannot be opened, or FFmpeg has no such option.
        MissingDependency: PyAV is not installed.
    """
    av, name, began = pyav(), public(where), monotonic()
    accelerator = _accelerator(name, hwaccel)
    check_options(av, options)
    path, usual_form, defaults, waits = _for_ffmpeg(where)
    try:
        return av.open(
            path,
            format=form or usual_form,
            options={**defaults, **options},
            timeout=timeout if waits else None,
            hwaccel=accelerator,
            **_lenient(av),
        )
    except Exception as error:  # of nearly any type, where a GPU is to decode
        reason = _reason(error, scheme(where) is not None)
        if isinstance(path, _Pipe) and path.empty:
            raise MediaError(f"{name}: expected a video or pictures, the pipe ended before its first byte") from None
        if accelerator and not isinstance(error, (av.error.InvalidDataError, av.error.EOFError)):
            reason = f"the GPU cannot decode it ({reason}); decode on the CPU"
    if waits and monotonic() - began >= timeout:  # whatever it was that failed then
        reason = no_answer(timeout)
    # Not chained to PyAV's error, which holds the address, and with it passwords.
    raise MediaError(f"{name}: cannot open: {reason}{_hint(where)}")


def video_stream(container: Any, name: str) -> Any:
    """The first stream of moving pictures that can be decoded; raises MediaError where there is none."""
    found = "no video in it"
    for stream in container.streams.video:
        if stream.disposition & pyav().stream.Disposition.attached_pic:
            found = "a cover picture only"
        elif stream.codec_context is None:
            found = "one in an unknown codec"
        else:
            return stream
    raise MediaError(f"{name}: expected a video that can be decoded, found {found}")


def nominal_rate(stream: Any) -> Fraction | None:
    """Frames per second of a video stream; None where it does not tell, or tells nonsense."""
    rate = stream.guessed_rate or stream.average_rate
    return Fraction(rate) if rate and 0 < rate <= _HIGHEST_RATE else None


def may_restart(container: Any) -> bool:
    """Whether files of this format may be joined end to end, so that their times start anew on the way."""
    return bool(_JOINABLE & set(container.format.name.split(",")))


def read_error(name: str, error: BaseException, timeout: float) -> MediaError:
    """What to raise where reading on failed with an error of PyAV."""
    reason = no_answer(timeout) if isinstance(error, pyav().error.ExitError) else _reason(error, False)
    return MediaError(f"{name}: cannot read on: {reason}")


def no_answer(timeout: float) -> str:
    """Why a source that went silent was given up."""
    return f"no answer for {timeout:g} s"


class _Pipe:
    """The standard input or a named pipe, as PyAV reads it; unlike FFmpeg's own reading it can be interrupted."""

    def __init__(self, where: str) -> None:
        if where == STDIN and os.isatty(0):
            raise MediaError("-: expected a video or pictures on the standard input, got a terminal")
        try:
            self._descriptor = os.dup(0) if where == STDIN else os.open(where, os.O_RDONLY)
        except OSError as error:
            raise MediaError(f"{where}: cannot open: {error.strerror}") from None
        self.empty = True  # so far

    def read(self, size: int) -> bytes:
        data = os.read(self._descriptor, size)
        self.empty &= not data
        return data

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._descriptor)


def _for_ffmpeg(where: str) -> tuple[str | _Pipe, str | None, dict[str, str], bool]:
    """What FFmpeg is to open, by which demuxer, with which options, and whether it may be kept waiting."""
    device = camera(where)
    if device is not None:
        check_camera(where)
        return f"/dev/video{device}", "v4l2", {}, True
    if scheme(where):
        live = LIVE_OPTIONS if scheme(where) in ALWAYS_LIVE else {}
        return where, None, {"rtsp_transport": "tcp", **live}, True
    if is_pipe(where):
        return _Pipe(where), None, {"format_whitelist": f"{FILE_FORMATS},{_PICTURE_FORMATS}"}, False
    check_file(where)
    # An absolute path, because FFmpeg reads `name:rest` as a protocol.
    path = os.path.abspath(where)
    if is_session(where):
        return path, "sdp", {"protocol_whitelist": "file,rtp,udp", **LIVE_OPTIONS}, True
    return path, None, {"protocol_whitelist": "file", "format_whitelist": FILE_FORMATS}, False


def _lenient(av: ModuleType) -> dict[str, str]:
    """How to have PyAV accept titles and other text in any encoding; from 19 on it does so by itself."""
    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


def _accelerator(name: str, hwaccel: str | None) -> Any:
    if hwaccel is None:
        return None
    kind, _, index = hwaccel.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise MediaError(f"{name}: expected hwaccel 'cuda' or 'cuda:N', got {hwaccel!r}")
    if not hasattr(pyav().VideoFrame, "sw_format"):
        raise MissingDependency(f"decoding on the GPU needs PyAV 18: {pip_install('av>=18')}")
    from av.codec.hwaccel import HWAccel

    return HWAccel("cuda", device=index or None, allow_software_fallback=False, is_hw_owned=True)


def _hint(where: str) -> str:
    """What may be wrong with an address that cannot be opened."""
    if has_reserved_letters(where):
        return "; in user and password write # as %23, / as %2F and ? as %3F"
    if scheme(where) in ("http", "https") and _is_web_page(where):
        return "; it is a web page: name the stream or file that it shows"
    if is_pipe(where):
        return PIPE_HINT
    return ""


def _is_web_page(where: str) -> bool:
    with contextlib.suppress(Exception):  # of nearly any type; it is but a hint
        with urllib.request.urlopen(where, timeout=_HINT_TIMEOUT_S) as answer:
            begin = answer.read(256).lstrip().lower()
        return bool(begin.startswith((b"<!doctype html", b"<html")))
    return False


def _reason(error: BaseException, remote: bool) -> str:
    """Why FFmpeg could not open or read something, in words."""
    errors = pyav().error
    if isinstance(error, errors.ProtocolNotFoundError):
        return "this build of FFmpeg has no such protocol"
    if isinstance(error, (errors.InvalidDataError, errors.ArgumentError, errors.EOFError)):
        whole = "an answer that is video" if remote else "a whole video in a known format"
        return f"expected {whole} ({_words(error)})"
    return _words(error)


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or first_line(error))
