"""`fcnrt batch`: an archive of pictures and films labelled by several workers, and again only what is missing."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ..backends import read_model
from ..cluster.films import Films, is_divisible
from ..cluster.manifest import Manifest, load_arrow
from ..cluster.work import Items
from ..errors import MediaError, first_line, print_line
from .archives import Archive, what_is_there
from .argument_types import count, duration, size, store
from .crews import Crew, add_crew_arguments, check_crew, crew_of
from .jobs import is_folder
from .lists import expand_lists
from .tally import Tally, spread
from .terminal import complain, progress
from .work import Work


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fcnrt batch`."""
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="file, folder, glob pattern, s3://..., @FILE that lists inputs"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="new, or of an earlier run")
    parser.add_argument(
        "--store",
        type=store,
        metavar="s3://...",
        help="where labels and overlays go; -o keeps the account of it",
    )
    parser.add_argument("--labels", action="store_true", help="write labels alone: palette PNGs")
    parser.add_argument("--overlay", action="store_true", help="write overlays alone (default: both; video: overlay)")
    parser.add_argument("--input-size", type=size, metavar="HxW", help="resize frames to this for the network")
    parser.add_argument(
        "--piece-time",
        type=duration,
        default=60.0,
        metavar="TIME",
        help="longer films are labelled in pieces, from one key frame to another at least this far behind (60s)",
    )
    parser.add_argument("--max-errors", type=count, metavar="N", help="inputs that may fail before the run ends (all)")
    parser.add_argument(
        "--baseline", type=count, default=0, metavar="N", help="label N of them by one Segmenter first; tell efficiency"
    )
    add_crew_arguments(parser)
    parser.set_defaults(run=batch, refuse=parser.error)


def batch(options: argparse.Namespace) -> int:
    """Label what is missing; an input that cannot be read is a row with its error, and makes the status 1."""
    if not _is_folder(options.output):
        options.refuse(
            f"-o {options.output}: expected a folder of this machine (a new one with a dot in its name ends in /); "
            "--store is for s3://..."
        )
    check_crew(options)
    load_arrow()
    model = read_model(options.model)
    try:
        return _run(options, model.described, model.spec.classes)
    except sqlite3.Error as error:
        where = "set $SQLITE_TMPDIR to a folder with room"
        raise MediaError(f"cannot keep the list of inputs on the disk ({first_line(error)}); {where}") from error


def _run(options: argparse.Namespace, described: str, classes: Sequence[str]) -> int:
    made_with = _made_with(described, options)
    with contextlib.closing(_archive(options)) as archive, Manifest(Path(options.output), made_with) as manifest:
        is_there = what_is_there(options.store)
        archive.check_apart(manifest.made(), is_there)
        archive.drop(manifest.done(), is_there)
        missing, films = archive.missing, Films(Path(options.output), made_with)
        work = Work(films, lambda row: manifest.add(row, archive.name_of(row.path)), Tally(options.max_errors))
        failed = _label(missing, films, work, options) if len(missing) else 0
        if not failed:
            films.clean()
        table = manifest.write_table(classes)
    print_line(f"{archive.total - len(missing)} of {archive.total} were there already; rows in {table}")
    return 1 if failed else 0


def _is_folder(output: str) -> bool:
    try:
        return is_folder(output)
    except MediaError:
        return False


def _label(missing: Items, films: Films, work: Work, options: argparse.Namespace) -> int:
    with crew_of(options) as crew:
        _divide(missing, films, crew, options.piece_time)
        sample, rest = spread(films.in_pieces(missing), options.baseline)
        work.count(films.complete())
        alone, together = work.do(sample, crew.alone, 1), work.do(rest, crew.label, crew.size)
        whole = films.whole
        for item, reason in whole:
            complain(f"{item.source}: labelled as a whole: {reason}")
        work.do([item for item, _ in whole], crew.label, crew.size)
    print_line(f"{work.tally.summary()} -> {options.store or options.output}")
    _tell_pace(crew, together, alone)
    return work.tally.failed


def _divide(items: Items, films: Films, crew: Crew, seconds: float) -> None:
    """Find out which films are to be labelled in pieces."""
    long = [item for item in items if is_divisible(item)]
    if long:
        with contextlib.closing(crew.divide(long, seconds)) as found:
            for item, pieces in progress(found, "film", total=len(long)):
                films.add(item, pieces)


def _tell_pace(crew: Crew, rate: float, rate_alone: float) -> None:
    if rate:
        print(f"{crew.size} workers, {rate / crew.size:.2f} frames a second and worker")
    if rate and rate_alone:
        one = f"one Segmenter alone, threads {crew.threads_alone}, made {rate_alone:.2f} a second"
        print(f"efficiency {crew.efficiency(rate, rate_alone):.2f}: {one}")


def _archive(options: argparse.Namespace) -> Archive:
    folder = options.store or str(Path(options.output))
    inputs = expand_lists(options.inputs)
    return Archive(inputs, folder, labels=options.labels, overlay=options.overlay, tell=complain)


def _made_with(described: str, options: argparse.Namespace) -> str:
    """A digest of what outputs depend on beside their input."""
    return hashlib.sha256(f"{described} {options.input_size} {options.labels} {options.overlay}".encode()).hexdigest()
