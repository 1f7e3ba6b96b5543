"""What a source's name says: file, pipe, network address, camera; and how to speak of it without its secrets."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import MediaError

ALWAYS_LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "rtmpt", "rtp", "udp", "srt")
SCHEMES = (*ALWAYS_LIVE, "http", "https", "tcp")
STDIN = "-"

_RARE = ("srt",)  # that few builds of FFmpeg have; PyAV's wheels have not

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_ODD_PORT = re.compile(r"[^/?@]*:[^/?@]*[^/?@\d\]][^/?@]*\?")
_CAMERA = re.compile(r"camera:(\d+)|/dev/video(\d+)")


def scheme(where: str) -> str | None:
    """The scheme of a network address in lower case, None for anything else; raises MediaError for an unknown one."""
    match = _SCHEME.match(where)
    if not match:
        return None
    if match[1].lower() not in SCHEMES:
        known = ", ".join(each for each in SCHEMES if each not in _RARE)
        raise MediaError(f"{public(where)}: expected an address that begins with {known}")
    return match[1].lower()


def camera(where: str) -> int | None:
    """The number of the camera that `camera:N` or `/dev/videoN` means, None for anything else."""
    match = _CAMERA.fullmatch(where)
    return int(match[1] or match[2]) if match else None


def is_generated(where: str) -> bool:
    """Whether a source is a generated one."""
    return where.startswith(("test:", "test-live:"))


def is_pipe(where: str) -> bool:
    """Whether a source is the standard input or a named pipe, which is read once, as it comes."""
    return where == STDIN or (not _SCHEME.match(where) and Path(where).is_fifo())


def is_session(where: str) -> bool:
    """Whether a source is a file that describes a session, as RTP needs one."""
    return not _SCHEME.match(where) and where.lower().endswith(".sdp")


def is_live_name(where: str) -> bool:
    """Whether a source's name alone tells that it does not wait for its reader."""
    return camera(where) is not None or is_session(where) or scheme(where) in ALWAYS_LIVE


def is_stream(where: str) -> bool:
    """Whether a source is none of the files, folders and patterns that can be looked through and read again."""
    named = is_generated(where) or is_session(where) or is_pipe(where)
    return named or bool(_SCHEME.match(where)) or camera(where) is not None


def has_reserved_letters(where: str) -> bool:
    """Whether user or password in an address hold letters that would have to be escaped."""
    match = _SCHEME.match(where)
    return match is not None and bool(set("#?/") & set(where[match.end() :].rpartition("@")[0]))


def public(where: str) -> str:
    """The name of a source for messages: an address without user, password and query, which hold secrets."""
    match = _SCHEME.match(where)
    if not match:
        return where
    rest = where[match.end() :]
    if _ODD_PORT.match(rest):  # a password with a ? that should have been escaped
        rest = rest.rpartition("@")[2]
    address, question, _ = rest.partition("?")
    # The last @ of all: a password may hold an @ or a slash that should have been escaped.
    return match[0] + address.rpartition("@")[2] + ("?..." if question else "")


def check_camera(where: str) -> None:
    """Raise MediaError unless Linux has the camera that `camera:N` or `/dev/videoN` means."""
    device = Path(f"/dev/video{camera(where)}")
    if not device.exists():
        raise MediaError(f"{where}: expected a camera, found no {device}")


def check_file(where: str | Path) -> None:
    """Raise MediaError unless there is a file at a path, and something in it."""
    path = Path(where)
    if path.is_dir():
        raise MediaError(f"{where}: expected a video file, got a folder")
    if not path.is_file():
        raise MediaError(f"{where}: {'expected a video file, got a device' if path.exists() else 'no such file'}")
    if not path.stat().st_size:
        raise MediaError(f"{where}: expected a video file, got an empty one")
