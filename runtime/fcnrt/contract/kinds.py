"""Which command takes which file, for a file that was given to another one."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..errors import fcnrt_command, short

_COMMANDS = {
    **dict.fromkeys(
        (".pth", ".pt", ".ckpt", ".tar", ".safetensors", ".pkl", ".bin"),
        "a checkpoint: {fcnrt} export {path}",
    ),
    ".onnx": "an ONNX file: {fcnrt} segment {path} INPUT, or {fcnrt} build {path}",
    ".engine": "an engine: {fcnrt} segment {path} INPUT",
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".mp4", ".mkv", ".mov", ".avi", ".webm"),
        "a picture or video, the model comes first: {fcnrt} segment MODEL {path}",
    ),
}


def command_for(path: Path) -> str:
    """`; X is ...: fcnrt ...` where the name tells which command takes the file, nothing where it does not."""
    kind = _COMMANDS.get(path.suffix.lower())
    return f"; this is {kind.format(fcnrt=fcnrt_command('').rstrip(), path=shlex.quote(short(path)))}" if kind else ""
