"""Fonts for names in any script: Pillow's own, those of the extra `fonts`, and the system's by fontconfig."""

from __future__ import annotations

import functools
import shutil
import subprocess
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import needs, pip_install

if TYPE_CHECKING:
    from PIL import ImageFont

PACKAGES = ("manimgx-fonts", "manimgx-fonts-cjk")  # Noto, under the Open Font License
_SUFFIXES = (".ttf", ".otf", ".ttc")
_NO_LETTER = "\uffff"  # every font draws it as what it has for letters that it lacks
_TRIED_PX = 24
_FONTCONFIG_S = 10.0
_QUOTED = 3  # names in a note


class Face(NamedTuple):
    """A font in a file; in none: Pillow's own, which has the letters of English."""

    path: str | None = None
    number: int = 0

    def at(self, font_px: int) -> ImageFont.FreeTypeFont:
        """The font with letters of a size in pixels."""
        return _opened(self, font_px)

    def lacks(self, text: str) -> set[str]:
        """The letters of a text that it would draw as a box, or not at all."""
        return {letter for letter in text if not _is_silent(letter) and not _has(self, letter)}


Runs = tuple[tuple[str, Face], ...]


@functools.lru_cache(maxsize=4096)
def runs(name: str) -> Runs | None:
    """The parts of a name from left to right, each with a font that has all of its letters; None without such fonts."""
    name = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in _composed(name))
    if _needs_shaping(name) and not _can_shape():
        return None
    whole = _face(name)
    return ((name, whole),) if whole else _mixed(name)


def note_on(names: Iterable[str]) -> str | None:
    """One line about the names that cannot be drawn and what to do for them; None if all can be."""
    left_out = [name for name in names if runs(name) is None]
    if not left_out:
        return None
    needed = "FriBidi (apt install libfribidi0)"
    if _can_shape() or not any(_needs_shaping(_composed(name)) for name in left_out):
        needed = f"a font that has their letters: {pip_install('fcnrt[fonts]')}, or one of the system's"
    others = " and others" if len(left_out) > _QUOTED else ""
    return f"legend: {', '.join(map(repr, left_out[:_QUOTED]))}{others} shown by number, for want of {needed}"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _mixed(name: str) -> Runs | None:
    """Parts as long as one font allows, or None."""
    parts: list[tuple[str, Face]] = []
    for letter in name:
        if parts and not parts[-1][1].lacks(letter):
            parts[-1] = parts[-1][0] + letter, parts[-1][1]
        elif face := _face(letter):
            parts.append((letter, face))
        else:
            return None
    return tuple(parts)


@functools.lru_cache(maxsize=4096)
def _face(text: str) -> Face | None:
    return next((face for face in _candidates(text) if not face.lacks(text)), None)


def _candidates(text: str) -> Iterator[Face]:
    yield Face()
    yield from _packaged()
    if face := _of_the_system("".join(sorted({letter for letter in text if not _is_silent(letter)}))):
        yield face


@functools.cache
def _packaged() -> tuple[Face, ...]:
    """The fonts of the packages that are installed."""
    from importlib.metadata import PackageNotFoundError, files

    found = []
    for package in PACKAGES:
        try:
            listed = files(package) or []
        except PackageNotFoundError:
            continue
        found += [Face(str(file.locate())) for file in listed if file.suffix in _SUFFIXES and "Italic" not in file.stem]
    return tuple(sorted(found))


@functools.lru_cache(maxsize=1024)
def _of_the_system(letters: str) -> Face | None:
    """What fontconfig takes for these letters; it takes something even where no font has them."""
    if not (program := shutil.which("fc-match")):
        return None
    pattern = "sans-serif:scalable=true:color=false:charset=" + " ".join(f"{ord(letter):x}" for letter in letters)
    try:
        done = subprocess.run(
            [program, "-f", "%{file}\n%{index}", pattern], capture_output=True, text=True, timeout=_FONTCONFIG_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    path, _, index = done.stdout.partition("\n")
    return Face(path, int(index) & 0xFFFF) if path and index.isdecimal() else None


@functools.lru_cache(maxsize=256)
def _opened(face: Face, font_px: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    if face.path is None:
        with needs("Pillow with FreeType"):
            return ImageFont.load_default(size=font_px)  # type: ignore[return-value]
    font = ImageFont.truetype(face.path, font_px, index=face.number)
    if "Regular" in _variations(font):
        font.set_variation_by_name("Regular")
    return font


def _variations(font: ImageFont.FreeTypeFont) -> list[str]:
    try:
        return [name.decode("latin-1") for name in font.get_variation_names()]
    except (OSError, NotImplementedError):  # most fonts come in one weight
        return []


@functools.lru_cache(maxsize=65536)
def _has(face: Face, letter: str) -> bool:
    try:
        return _drawn(face, letter) != _drawn(face, _NO_LETTER)
    except OSError:  # no file that FreeType reads
        return False


def _drawn(face: Face, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = _unshaped(face).getmask(letter, mode="1")
    return mask.size, bytes(mask)


@functools.lru_cache(maxsize=64)
def _unshaped(face: Face) -> ImageFont.FreeTypeFont:
    """Letter by letter: shaping would show a mark under a letter of its own."""
    from PIL import ImageFont

    return face.at(_TRIED_PX).font_variant(layout_engine=ImageFont.Layout.BASIC)


def _is_silent(letter: str) -> bool:
    """Whether nothing is drawn for it: spaces, joiners, marks of direction."""
    return letter.isspace() or unicodedata.category(letter) == "Cf"


def _needs_shaping(text: str) -> bool:
    """Whether letters change their forms or places: scripts from right to left, and those with marks."""
    return any(
        unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.category(letter).startswith("M")
        for letter in text
    )


@functools.cache
def _can_shape() -> bool:
    from PIL import features

    return bool(features.check("raqm") and features.check("fribidi"))
