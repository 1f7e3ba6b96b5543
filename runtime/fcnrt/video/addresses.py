"""What a source's name says: a file, a network address, a camera; and how to speak of it without its secrets."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import MediaError

ALWAYS_LIVE = ("rtsp", "rtsps", "rtmp", "rtmps", "rtmpt", "rtp", "udp", "srt")
SCHEMES = (*ALWAYS_LIVE, "http", "https", "tcp")

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_ODD_PORT = re.compile(r"[^/?@]*:[^/?@]*[^/?@\d\]][^/?@]*\?")
_CAMERA = re.compile(r"camera:(\d+)|/dev/video(\d+)")


def scheme(where: str) -> str | None:
    """The scheme of a network address in lower case, None for anything else; raises MediaError for an unknown one."""
    match = _SCHEME.match(where)
    if not match:
        return None
    if match[1].lower() not in SCHEMES:
        raise MediaError(f"{public(where)}: expected an address that begins with {', '.join(SCHEMES)}")
    return match[1].lower()


def camera(where: str) -> int | None:
    """The number of the camera that `camera:N` or `/dev/videoN` means, None for anything else."""
    match = _CAMERA.fullmatch(where)
    return int(match[1] or match[2]) if match else None


def is_generated(where: str) -> bool:
    """Whether a source is a generated one."""
    return where.startswith(("test:", "test-live:"))


def is_stream(where: str) -> bool:
    """Whether a source is an address, a camera or generated: neither a file, nor a folder, nor a pattern."""
    return bool(_SCHEME.match(where)) or camera(where) is not None or is_generated(where)


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
        found = "got a pipe or device" if path.exists() else "found none"
        raise MediaError(f"{where}: expected a video file, {found}")
    if not path.stat().st_size:
        raise MediaError(f"{where}: expected a video file, got an empty one")
