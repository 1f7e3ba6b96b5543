"""`fcnrt batch`: an archive of pictures and films labelled by several processes, and again only what is missing."""

from __future__ import annotations

import argparse
import hashlib
import os
import time
from pathlib import Path

from ..backends import read_model
from ..cluster.local import label_on_processes
from ..cluster.manifest import Manifest, load_arrow
from ..cluster.work import Item, Settings
from ..errors import UsageError
from .argument_types import count, positive, size
from .jobs import is_folder, plan_jobs
from .lists import expand_lists
from .terminal import complain, progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fcnrt batch`."""
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="file, folder, glob pattern, @FILE that lists inputs"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="new, or of an earlier run")
    parser.add_argument("--labels", action="store_true", help="write labels alone: palette PNGs")
    parser.add_argument("--overlay", action="store_true", help="write overlays alone (default: both; video: overlay)")
    parser.add_argument("--workers", type=positive, metavar="N", help="processes (default: cores / threads)")
    parser.add_argument("--threads", type=positive, default=1, metavar="N", help="of each worker's engine (1)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--input-size", type=size, metavar="HxW", help="resize frames to this for the network")
    parser.add_argument("--max-errors", type=count, metavar="N", help="inputs that may fail before the run ends (all)")
    parser.add_argument(
        "--max-restarts", type=count, default=10, metavar="N", help="how often workers that died are replaced (10)"
    )
    parser.set_defaults(run=batch, refuse=parser.error)


def batch(options: argparse.Namespace) -> int:
    """Label what is missing; an input that cannot be read is a row with its error, and makes the status 1."""
    if not is_folder(options.output):
        options.refuse(f"-o {options.output}: expected a folder")
    load_arrow()
    settings = Settings(options.model, options.device, options.threads, options.input_size)
    model = read_model(options.model)
    items = _items(options)
    with Manifest(Path(options.output), _made_with(model.described, options)) as manifest:
        missing = manifest.missing(items)
        failed = _label(missing, settings, manifest, options)
        table = manifest.write_table(model.spec.classes)
    print(f"{len(items) - len(missing)} of {len(items)} were there already; rows in {table}")
    return 1 if failed else 0


def _label(missing: list[Item], settings: Settings, manifest: Manifest, options: argparse.Namespace) -> int:
    workers = options.workers or max(1, (os.cpu_count() or 1) // options.threads)
    started, done, failed = time.perf_counter(), 0, 0
    rows = label_on_processes(missing, settings, workers, options.max_restarts)
    for row in progress(rows, "input", total=len(missing)):
        manifest.add(row)
        done += 1
        if row.error:
            failed += 1
            complain(row.error if row.path in row.error else f"{row.path}: {row.error}")
            if options.max_errors is not None and failed > options.max_errors:
                raise UsageError(
                    f"--max-errors {options.max_errors}: {failed} inputs failed, {done - failed} were done"
                )
    if done:
        seconds = time.perf_counter() - started
        rate = done / seconds / min(workers, done)
        print(f"{done} inputs in {seconds:.1f} s, {rate:.2f} a second and worker, {failed} failed -> {options.output}")
    return failed


def _items(options: argparse.Namespace) -> list[Item]:
    jobs, notes = plan_jobs(
        expand_lists(options.inputs), options.output, labels=options.labels, overlay=options.overlay
    )
    for note in notes:
        complain(note)
    return [Item(job.source, tuple((output.where, output.content) for output in job.outputs)) for job in jobs]


def _made_with(described: str, options: argparse.Namespace) -> str:
    """A digest of what outputs depend on beside their input."""
    return hashlib.sha256(f"{described} {options.input_size} {options.labels} {options.overlay}".encode()).hexdigest()
