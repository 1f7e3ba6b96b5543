"""Flags of `fcnrt segment` for what leaves the machine, or is kept, beside the labels of -o."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any

from ..serving import LiveServer
from ..serving.address import parse_address
from .argument_types import positive
from .terminal import complain


def add_output_arguments(group: Any) -> None:
    """Add the flags to a group of a parser's arguments."""
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


@contextlib.contextmanager
def live_server(options: argparse.Namespace) -> Iterator[LiveServer | None]:
    """The server that is asked for, and a line about where it is; None where none is."""
    if options.serve is None:
        yield None
        return
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
