"""`fcnrt batch`: an archive of pictures and films labelled by several workers, and again only what is missing."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import time
from pathlib import Path

from ..backends import read_model
from ..cluster.manifest import Manifest, load_arrow
from ..cluster.work import Item, Row
from ..errors import UsageError
from .archives import find_sources, what_is_there
from .argument_types import count, size, store
from .crews import Crew, add_crew_arguments, check_crew, crew_of
from .jobs import is_folder, jobs_in
from .lists import expand_lists
from .terminal import complain, progress


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
    parser.add_argument("--max-errors", type=count, metavar="N", help="inputs that may fail before the run ends (all)")
    add_crew_arguments(parser)
    parser.set_defaults(run=batch, refuse=parser.error)


def batch(options: argparse.Namespace) -> int:
    """Label what is missing; an input that cannot be read is a row with its error, and makes the status 1."""
    if not is_folder(options.output):
        options.refuse(f"-o {options.output}: expected a folder of this machine; --store is for s3://...")
    check_crew(options)
    load_arrow()
    model = read_model(options.model)
    items = _items(options)
    with Manifest(Path(options.output), _made_with(model.described, options)) as manifest:
        missing = manifest.missing(items, what_is_there(options.store))
        failed = _label(missing, manifest, options) if missing else 0
        table = manifest.write_table(model.spec.classes)
    print(f"{len(items) - len(missing)} of {len(items)} were there already; rows in {table}")
    return 1 if failed else 0


def _label(missing: list[Item], manifest: Manifest, options: argparse.Namespace) -> int:
    with crew_of(options) as crew, contextlib.closing(crew.label(missing)) as rows:
        tally = Tally(options.max_errors)
        for row in progress(rows, "input", total=len(missing)):
            manifest.add(row)
            tally.add(row)
        print(f"{tally.summary(crew)} -> {options.store or options.output}")
    return tally.failed


class Tally:
    """What a run has done so far.

    Args:
        max_errors: inputs that may fail; None: any number.
    """

    def __init__(self, max_errors: int | None):
        self._max_errors, self._started = max_errors, time.perf_counter()
        self.done, self.failed = 0, 0

    def add(self, row: Row) -> None:
        """Count a row, and tell its error; raises UsageError where there are too many."""
        self.done += 1
        if not row.error:
            return
        self.failed += 1
        complain(row.error if row.path in row.error else f"{row.path}: {row.error}")
        if self._max_errors is not None and self.failed > self._max_errors:
            well = self.done - self.failed
            raise UsageError(f"--max-errors {self._max_errors}: {self.failed} inputs failed, {well} were done")

    def summary(self, crew: Crew) -> str:
        """How much was done, and how fast."""
        seconds = time.perf_counter() - self._started
        rate = self.done / seconds / min(crew.size, self.done)
        return f"{self.done} inputs in {seconds:.1f} s, {rate:.2f} a second and worker, {self.failed} failed"


def _items(options: argparse.Namespace) -> list[Item]:
    sources, notes = find_sources(expand_lists(options.inputs))
    for note in notes:
        complain(note)
    folder = options.store or str(Path(options.output))
    jobs = jobs_in(folder, sources, labels=options.labels, overlay=options.overlay)
    return [Item(job.source, tuple((output.where, output.content) for output in job.outputs)) for job in jobs]


def _made_with(described: str, options: argparse.Namespace) -> str:
    """A digest of what outputs depend on beside their input."""
    return hashlib.sha256(f"{described} {options.input_size} {options.labels} {options.overlay}".encode()).hexdigest()
