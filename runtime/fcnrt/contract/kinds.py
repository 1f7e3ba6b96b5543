"""Which command takes which file, for a file that was given to another one."""

from __future__ import annotations

from pathlib import Path

_COMMANDS = {
    **dict.fromkeys((".pth", ".pt", ".ckpt", ".tar", ".safetensors", ".pkl", ".bin"), "a checkpoint: fcnrt export {0}"),
    ".onnx": "an ONNX file: fcnrt segment {0} INPUT, or fcnrt build {0}",
    ".engine": "an engine: fcnrt segment {0} INPUT",
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".mp4", ".mkv", ".mov", ".avi", ".webm"),
        "a picture or video, the model comes first: fcnrt segment MODEL {0}",
    ),
}


def command_for(path: Path) -> str:
    """`; X is ...: fcnrt ...` where the name tells which command takes the file, nothing where it does not."""
    command = _COMMANDS.get(path.suffix.lower())
    return f"; this is {command.format(path)}" if command else ""
