"""A run on a Ray cluster, as the command line does it: connected, silent but for its own lines, row by row."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..errors import BackendError, FcnrtError, UsageError, first_line
from ..pictures.quiet import quiet_stderr
from ..video.sources.pieces import Piece
from .films import Divider
from .knocking import knock
from .on_ray import CONTENTS, label, load_ray
from .places import absolute
from .work import Item, Items, Row, Settings

LOCAL = "local"
_STORE = 256 * 2**20  # bytes of shared memory: rows are paths
# Of a block: what a dead worker had before it is done again; below the usual ones Ray's own work shows.
_USUAL_ROWS, _MOST_ROWS = 64, 256
_BLOCKS = 8  # for each worker at least: so that all end at about the same time
# The process that starts a run needs 50 kB for each block: more of them are done in turns, for which actors start anew.
_MOST_BLOCKS, _MANY_BLOCKS = 250, 1000
# Before Ray is loaded: what it prints of every retry would drown the lines that tell what to do. Its logs keep it all.
_ENVIRONMENT = {
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "2",  # of what holds the cluster's address; 20 that take minutes without
}


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to a Ray cluster; the one that this process has already, if it has one.

    Args:
        address: HOST:PORT; "auto" for what $RAY_ADDRESS names or this machine is part of; "local" to start Ray here
            for as long as the connection lasts.

    Raises:
        MissingDependency: Ray Data is not installed.
        BackendError: there is no such cluster, or it has another release of Ray or Python.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ray = load_ray()
    if ray.is_initialized():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        _connect(ray, address)
        signal.signal(signal.SIGTERM, before)  # Ray's own would end the process in the middle of a file
        yield
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
    named = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if address == LOCAL:
        options.update(include_dashboard=False, object_store_memory=_STORE)
    try:
        with quiet_stderr():
            if named not in ("auto", LOCAL):
                knock(named)
            ray.init(**options)
    except (OSError, RuntimeError, ValueError) as error:
        raise BackendError(
            f"--address {address}: cannot connect to Ray there ({first_line(error)}); expected HOST:PORT of `ray start "
            "--head`, auto, or local to start Ray on this machine; a cluster with a token needs RAY_AUTH_MODE=token"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.raise_original_map_exception = True


def room_for(num_cpus: float | None, num_gpus: float | None) -> int:
    """How many workers the cluster has room for; raises UsageError where that is none."""
    kind, each = ("GPU", num_gpus) if num_gpus else ("CPU", num_cpus or 1)
    there = load_ray().cluster_resources().get(kind, 0.0)
    if there < each:
        raise UsageError(
            f"--{kind.lower()}s-per-worker {each:g}: the cluster has {there:g}; ask for less, or name "
            "--workers if it grows"
        )
    return int(there // each)


def label_on_ray(
    items: Items | Sequence[Item],
    settings: Settings,
    workers: int,
    num_cpus: float | None,
    num_gpus: float | None,
    max_restarts: int = 10,
) -> Generator[Row, None, None]:
    """Label items on the cluster that this process is connected to.

    Args:
        items: in any order; rows come as they are done.
        settings: of each worker's Segmenter.
        workers: actors.
        num_cpus, num_gpus: that Ray keeps for each worker.
        max_restarts: how often each worker that died is started again.

    Raises:
        BackendError: a worker died more often, or Ray failed.
        FcnrtError: as the Segmenter.
    """
    ray, done, following = load_ray(), 0, iter(items)
    rows = _block_rows(len(items), workers)
    while window := list(itertools.islice(following, rows * max(_MOST_BLOCKS, workers * _BLOCKS))):
        found = label(
            _dataset(window, rows),
            settings.model,
            workers=min(workers, len(window)),
            device=settings.device,
            threads=settings.threads,
            input_size=settings.input_size,
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            max_restarts=max_restarts,
            batch_size=None,
        )
        try:
            for row in found.iter_rows():
                done += 1
                yield _row(row, window[row["item"]].source)
        except ray.exceptions.RayError as error:
            raise _told(error, len(items) - done) from error


def divide_on_ray(films: Sequence[Item], seconds: float) -> Generator[tuple[Item, list[Piece]], None, None]:
    """Find the pieces of films on the cluster that this process is connected to; results as `Divider` has them.

    Raises:
        BackendError: Ray failed.
    """
    ray, done = load_ray(), 0
    found = _dataset(films, 1).map_batches(_divided, fn_args=(seconds,), batch_size=None, batch_format="pyarrow")
    try:
        for row in found.iter_rows():
            done += 1
            yield films[row["item"]], [Piece(*piece) for piece in json.loads(row["piece"])]
    except ray.exceptions.RayError as error:
        raise _told(error, len(films) - done) from error


def _divided(rows: Any, seconds: float) -> Any:
    """In a worker: the films of a table, with their pieces."""
    divider = Divider(seconds)
    pieces = [json.dumps(divider.do(Item(path, ()))[1]) for path in rows["path"].to_pylist()]
    return rows.select(["item"]).append_column("piece", [pieces])


def _dataset(items: Sequence[Item], rows: int) -> Any:
    """A block of rows for each time that a worker is given something to do."""
    import pyarrow

    text = pyarrow.string()
    columns = [(name, text) for name in ("path", *CONTENTS, "piece", "account")]
    schema = pyarrow.schema([("item", pyarrow.int64()), *columns])
    tables = [
        pyarrow.Table.from_pylist([_columns(items, index) for index in block], schema) for block in _blocks(items, rows)
    ]
    return load_ray().data.from_arrow(tables)


def _blocks(items: Sequence[Item], rows: int) -> Iterator[list[int]]:
    """The positions of items: of films one by one, of pictures several at a time."""
    for is_film, group in itertools.groupby(range(len(items)), lambda index: items[index].is_film):
        while block := list(itertools.islice(group, 1 if is_film else rows)):
            yield block


def _block_rows(count: int, workers: int) -> int:
    return max(1, min(_MOST_ROWS, count // (workers * _BLOCKS), max(_USUAL_ROWS, count // _MANY_BLOCKS)))


def _columns(items: Sequence[Item], index: int) -> dict[str, Any]:
    """Absolute paths: workers run in folders of their own."""
    item = items[index]
    outputs: dict[str, str] = {content: absolute(where) for where, content in item.outputs}
    piece = {"piece": json.dumps(item.piece), "account": absolute(item.account)} if item.piece else {}
    return {"item": index, "path": absolute(item.source), **outputs, **piece}


def _row(found: dict[str, Any], source: str) -> Row:
    row = Row(**{name: found[name] for name in Row.__dataclass_fields__})
    return replace(row, path=source, error=row.error.replace(found["path"], source))


def _told(error: Exception, missing: int) -> FcnrtError:
    cause = getattr(error, "cause", None)
    if isinstance(cause, FcnrtError):
        return cause
    ray = load_ray()
    if isinstance(error, ray.exceptions.RayActorError):
        return BackendError(
            f"a worker died more often than --max-restarts allows (killed, or out of memory); {missing} inputs are "
            "missing: run the same command again, with fewer --workers if memory is short"
        )
    return BackendError(f"Ray failed ({first_line(error)}); {missing} inputs are missing: run the same command again")
