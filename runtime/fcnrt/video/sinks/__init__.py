"""Where labelled frames go: one table of the kinds of places, by which the command line plans and opens its sinks."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from ...contract.types import UInt8Array
from ...errors import MediaError
from ...pictures.drawing import Drawing
from ...pictures.kinds import FILM_SUFFIXES, PICTURE_SUFFIXES
from ...pictures.writing import WRITABLE_SUFFIXES
from ..addresses import is_stream, public
from ..frames import FrameSource, Sink, pixel_aspect_of
from .av_coding import Coding, check_encoders
from .av_encoders import CONTAINERS, Encoder
from .films import LabelVideo, OverlayVideo
from .hls import CODECS as HLS_CODECS
from .hls import SUFFIX as HLS
from .hls import HlsVideo
from .push import MUXERS, Patience, PushVideo, is_push_address
from .raw_labels import RawLabels
from .stills import LabelPicture, LabelPictures, OverlayPicture
from .window import Window

Content = Literal["overlay", "labels"]

STDOUT, WINDOW = "-", "window:"


class Material(NamedTuple):
    """What sinks are made with.

    Attributes:
        source: where the frames come from; it tells name and rate.
        drawing: how to draw the labels over a frame.
        palette: (count, 3) uint8, RGB, a colour for every label.
        audio_from: the file whose audio goes with a film, or None.
        patience: with servers.
        segment_s: seconds after which another film begins; None: never.
        grey_labels: whether PNGs of labels are plain grey, without the palette.
        coding: what is asked of the encoders of overlay videos.
    """

    source: FrameSource
    drawing: Drawing
    palette: UInt8Array
    audio_from: str | None = None
    patience: Patience = Patience()
    segment_s: float | None = None
    grey_labels: bool = False
    coding: Coding = Coding()


class Target(NamedTuple):
    """A kind of place that labelled frames can go to.

    Attributes:
        described: what messages call it.
        takes: tells by its name whether a place is of this kind.
        sinks: for each content that such a place can have, what makes the sink of the place's name and the material.
        on_disk: whether it is a file or folder, which may be there already.
        encoders: of the overlays that are encoded with a say of the user's; None where none are.
    """

    described: str
    takes: Callable[[str], bool]
    sinks: Mapping[Content, Callable[[str, Material], Sink]]
    on_disk: bool = True
    encoders: Callable[[str, Coding], list[Encoder]] | None = None

    def check(self, where: str, content: Content) -> None:
        """Raise MediaError unless such a place can have this content."""
        if content not in self.sinks:
            takes, got = (_CONTENTS[each] for each in (next(iter(self.sinks)), content))
            raise MediaError(f"{where}: expected {takes} for {self.described}, got {got}")


_CONTENTS: Mapping[Content, str] = {"overlay": "an overlay", "labels": "labels"}


def _ends_in(suffixes: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda where: not is_stream(where) and Path(where).suffix.lower() in suffixes and not Path(where).is_dir()


def _names_folder(where: str) -> bool:
    path = Path(where)
    named = where.endswith("/") or not path.suffix
    return bool(where) and not is_stream(where) and (path.is_dir() or (named and not path.exists()))


FILM = Target(
    f"a video ({', '.join(CONTAINERS)})",
    _ends_in(tuple(CONTAINERS)),
    {
        "overlay": lambda where, made: OverlayVideo(
            where, made.source, made.drawing, made.audio_from, made.segment_s, made.coding
        ),
        "labels": lambda where, made: LabelVideo(where, made.source, made.palette, made.segment_s),
    },
    encoders=lambda where, coding: coding.film_encoders(where),
)
PICTURE = Target(
    "a picture (.png, .jpg ...)",
    _ends_in(WRITABLE_SUFFIXES),
    {
        "overlay": lambda where, made: OverlayPicture(where, made.drawing),
        "labels": lambda where, made: LabelPicture(where, None if made.grey_labels else made.palette),
    },
)
# Of one sequence; the command line makes files in a folder for each of its inputs, which are places of their own.
FOLDER = Target(
    "a folder",
    _names_folder,
    {"labels": lambda where, made: LabelPictures(where, None if made.grey_labels else made.palette)},
)

TARGETS = (  # the first that takes a name has it
    Target(
        f"{STDOUT} (the standard output)",
        lambda where: where == STDOUT,
        {"labels": lambda where, made: RawLabels(sys.stdout.buffer)},
        on_disk=False,
    ),
    Target(
        f"{WINDOW} (a window)",
        lambda where: where == WINDOW,
        {"overlay": lambda where, made: Window(made.source.name, made.drawing, pixel_aspect_of(made.source))},
        on_disk=False,
    ),
    Target(
        f"an address ({', '.join(MUXERS)})",
        is_push_address,
        {"overlay": lambda where, made: PushVideo(where, made.source, made.drawing, made.patience, made.coding)},
        on_disk=False,
        encoders=lambda where, coding: coding.stream_encoders(),
    ),
    Target(
        f"a live playlist ({HLS})",
        _ends_in((HLS,)),
        {"overlay": lambda where, made: HlsVideo(where, made.source, made.drawing, made.coding)},
        on_disk=False,  # one that is there is continued
        encoders=lambda where, coding: coding.stream_encoders(HLS_CODECS),
    ),
    FILM,
    PICTURE,
    FOLDER,
)


def find_target(where: str) -> Target:
    """What kind of place a name means; raises MediaError where it means none."""
    for target in TARGETS:
        if target.takes(where):
            return target
    expected = ", ".join(target.described for target in reversed(TARGETS))
    raise MediaError(f"{public(where) or repr(where)}: expected {expected}; got {_mistake(where)}")


def check_coding(where: str, content: Content, coding: Coding) -> None:
    """Raise MediaError unless what goes to a place can be encoded as asked."""
    target = find_target(where)
    if target.encoders is None:
        raise MediaError(f"{where}: --codec, --bitrate, --crf are for videos, got {target.described}")
    if content == "labels":
        raise MediaError(f"{where}: --codec, --bitrate, --crf are for overlays: labels in exact colours are lossless")
    try:
        check_encoders(target.encoders(where, coding))
    except MediaError as error:
        raise MediaError(f"{public(where)}: {error}") from None


def open_sink(where: str, content: Content, material: Material) -> Sink:
    """Make the sink for a place.

    Args:
        where: the name of a file or folder, the address of a server, "-" for the standard output, "window:" for a
            window.
        content: "overlay" or "labels".
        material: what to make it with.

    Raises:
        MediaError: the name means no place, one that cannot have this content, or a server that is not there.
        MissingDependency: of the sink.
    """
    target = find_target(where)
    target.check(where, content)
    return target.sinks[content](where, material)


def _mistake(where: str) -> str:
    """What a name is that means no place, and what to do about it."""
    path = Path(where)
    if is_stream(where):
        return "another one" if "://" in where else "a camera"
    if path.exists() or not path.suffix:
        return "a file" if path.is_file() else "another name"
    known = path.suffix.lower() in PICTURE_SUFFIXES + FILM_SUFFIXES
    near = (
        []
        if known
        else difflib.get_close_matches(path.suffix.lower(), [*CONTAINERS, *WRITABLE_SUFFIXES], n=1, cutoff=0.75)
    )
    hint = f"did you mean {near[0]}? " if near else ""
    return f"a name that ends in {path.suffix}; {hint}a folder of that name ends in /"
