"""`fcnrt serve`: labels for clients of the Open Inference Protocol, and for pictures that are posted."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

from ..backends import check_path
from ..errors import UsageError
from ..segmenter import Segmenter
from ..serving import InferenceServer, Limits
from .argument_types import positive
from .model import add_model_arguments, open_segmenter
from .terminal import complain, interrupts_end_at_once

_USUAL = Limits()
_MIB, _MEGAPIXEL = 1 << 20, 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fcnrt serve`."""
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    parser.add_argument(
        "--host", default="127.0.0.1", help="where to listen (127.0.0.1: this machine alone gets there)"
    )
    parser.add_argument("--port", type=_port, default=8000, help="(8000); 0 is any that is free")
    parser.add_argument("--name", help="what clients call the model (the file's name without its suffix)")
    parser.add_argument("--token", help="admit only who sends 'Authorization: Bearer TOKEN' or ?token=TOKEN")
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-requests",
        type=positive,
        default=_USUAL.requests,
        metavar="N",
        help=f"worked on or waiting at once; others get 503 ({_USUAL.requests})",
    )
    limits.add_argument(
        "--max-body", type=positive, default=_USUAL.body // _MIB, metavar="MIB", help=f"({_USUAL.body // _MIB})"
    )
    limits.add_argument(
        "--max-megapixels",
        type=positive,
        default=_USUAL.pixels // _MEGAPIXEL,
        metavar="N",
        help=f"of all frames of a request ({_USUAL.pixels // _MEGAPIXEL})",
    )
    limits.add_argument(
        "--max-batch",
        type=positive,
        metavar="N",
        help="frames of several requests that go through the network together (8 on a GPU; 1 on a CPU, to which two "
        "frames are twice the work)",
    )
    add_model_arguments(parser.add_argument_group("model"))
    parser.set_defaults(run=serve)


def serve(options: argparse.Namespace) -> int:
    """Serve until an interrupt, which is the usual end."""
    check_path(options.model)
    with interrupts_end_at_once():
        segmenter = open_segmenter(options)
    with segmenter, _server(segmenter, options) as server, suppress(KeyboardInterrupt):
        complain(f"{options.name or options.model.stem} on {segmenter.device}: {server.address.url}; Ctrl-C ends it")
        if not (options.token or server.address.is_local):
            complain(f"whoever reaches this machine's port {server.address.port} can use it; --token keeps others out")
        server.wait()
    return 0


def _server(segmenter: Segmenter, options: argparse.Namespace) -> InferenceServer:
    limits = Limits(
        body=options.max_body * _MIB,
        pixels=options.max_megapixels * _MEGAPIXEL,
        requests=options.max_requests,
        batch=options.max_batch,
    )
    host = f"[{options.host}]" if ":" in options.host else options.host
    try:
        return InferenceServer(
            segmenter,
            f"{host}:{options.port}",
            name=options.name or options.model.stem,
            token=options.token,
            limits=limits,
        )
    except ValueError as error:
        raise UsageError(f"--host: {error}") from None


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, got {text!r}")
    return int(text)
