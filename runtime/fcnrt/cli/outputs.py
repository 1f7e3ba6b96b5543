"""Flags of `fcnrt segment` for what leaves the machine, or is kept, beside the labels of -o."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from ..serving import LiveServer
from ..serving.address import parse_address
from ..video.frames import Sink
from ..video.sinks import Material
from ..video.sinks.av_coding import Coding
from ..video.sinks.av_encoders import FILM_ENCODERS
from ..video.sinks.events import EventLog, Events
from .argument_types import bitrate, count, duration, positive
from .selection import selected_classes
from .terminal import complain


def add_output_arguments(group: Any) -> None:
    """Add the flags to a group of a parser's arguments."""
    group.add_argument(
        "--segment-time",
        type=duration,
        metavar="TIME",
        help="begin another film after this long: 90s, 10m, 1h; each has the time in its name, and none is overwritten",
    )
    group.add_argument(
        "--events",
        metavar="FILE",
        help="add a line for each frame: the share of each class; .csv for a table, else JSON; - for standard output",
    )
    group.add_argument(
        "--confidence", action="store_true", help="and how sure the network is of each class, on average"
    )
    group.add_argument(
        "--serve",
        type=_address,
        metavar="[HOST:]PORT",
        help="show overlays and shares of classes on a page for browsers; to this machine alone unless HOST says else",
    )
    group.add_argument("--token", help="what who opens that page must know: http://.../?token=TOKEN")
    group.add_argument(
        "--max-clients", type=positive, default=8, metavar="N", help="how many may watch at the same time (8)"
    )


def add_coding_arguments(group: Any) -> None:
    """Add the flags of `Coding` to a group of a parser's arguments."""
    group.add_argument(
        "--codec", choices=tuple(FILM_ENCODERS), help="(h264); addresses take no av1, playlists h264 only"
    )
    size_or_quality = group.add_mutually_exclusive_group()
    size_or_quality.add_argument("--bitrate", type=bitrate, metavar="RATE", help="bits per second: 800k, 2M")
    size_or_quality.add_argument(
        "--crf", type=count, metavar="N", help="constant quality, 0 (best) to 51, or to 63 with av1"
    )


def coding_of(options: argparse.Namespace) -> Coding:
    """What is asked of encoders."""
    return Coding(options.codec, options.bitrate, options.crf)


class SideOutputs(contextlib.ExitStack):
    """What is made of all inputs beside the outputs of each; a context manager.

    Args:
        options: of the command line.

    Raises:
        MediaError: the page cannot be served there.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self._options, self._log, self._server, self._told = options, None, None, None
        if options.serve:
            self._server = self.enter_context(_served(options))

    _log: EventLog | None
    _server: LiveServer | None
    _told: list[int] | None

    def prepare(self, classes: Sequence[str]) -> None:
        """Open the file of events, if one is asked for.

        Raises:
            MediaError: it cannot be written.
            UsageError: the model has not the classes that are asked for.
        """
        options, self._told = self._options, selected_classes(classes, self._options)
        if options.events:
            names = classes if self._told is None else [classes[index] for index in self._told]
            self._log = self.enter_context(closing(EventLog(options.events, names, options.confidence)))

    def sinks(self, material: Material, classes: Sequence[str]) -> Iterator[Sink]:
        """The sinks of an input."""
        source = material.source
        if self._server:
            yield self._server.stream(source, material.drawing, classes, material.palette, self._told)
        if self._log:
            yield Events(self._log, source, classes, self._told)


@contextlib.contextmanager
def _served(options: argparse.Namespace) -> Iterator[LiveServer]:
    """A server, and a line about where it is."""
    with LiveServer(options.serve, token=options.token, clients=options.max_clients) as server:
        complain(f"watch at {server.address.url}{'?token=...' if options.token else ''}")
        if not (options.token or server.address.is_local):
            complain(f"whoever reaches this machine's port {server.address.port} can watch; --token keeps others out")
        yield server


def _address(text: str) -> str:
    try:
        parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
