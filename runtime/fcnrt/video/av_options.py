"""Which options FFmpeg knows: a container that is opened with others passes them over in silence."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

from ..errors import MediaError

_CHILDREN, _WITHOUT_OBJECT = 1, 2  # AV_OPT_SEARCH_CHILDREN, AV_OPT_SEARCH_FAKE_OBJ


def check_options(av: ModuleType, names: Iterable[str]) -> None:
    """Raise MediaError for the first option that none of FFmpeg's demuxers and protocols has.

    Args:
        av: PyAV, which does not tell. The libraries that its wheels bring are asked; where there are none, nobody is.
        names: of the options.
    """
    knows = _knowledge(Path(str(av.__file__)).parents[1] / "av.libs")
    for name in names:
        if not knows(name):
            raise MediaError(f"{name}: expected an option that FFmpeg's demuxers or protocols have, such as fflags")


@functools.cache
def _knowledge(folder: Path) -> Callable[[str], bool]:
    """Tells whether libavformat, in a folder of libraries, knows an option; source: its avformat.h and opt.h."""
    try:
        formats, utilities = _library(folder, "libavformat"), _library(folder, "libavutil")
        formats.avformat_get_class.restype = utilities.av_opt_find.restype = ctypes.c_void_p
        utilities.av_opt_find.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
        all_formats = ctypes.pointer(ctypes.c_void_p(formats.avformat_get_class()))
    except (AttributeError, OSError):
        return lambda name: True

    def knows(name: str) -> bool:
        return bool(utilities.av_opt_find(all_formats, name.encode(), None, 0, _CHILDREN | _WITHOUT_OBJECT))

    return knows


def _library(folder: Path, name: str) -> ctypes.CDLL:
    """One that the process has loaded already; raises OSError where the folder has none."""
    return ctypes.CDLL(str(next(folder.glob(f"{name}*"), folder / name)))
