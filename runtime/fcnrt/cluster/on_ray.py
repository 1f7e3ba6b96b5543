"""Workers that are actors of Ray Data, which schedules, queues and restarts them: rows are paths, never frames."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..contract.files import file_sha256
from ..errors import FcnrtError, ModelFileError, needs
from ..video.sources.pieces import Piece
from .work import Item, Row, Settings, Worker

CONTENTS = ("overlay", "labels")  # columns that say where to
ROWS_AT_ONCE = 16


def label(
    dataset: Any,
    model: str | Path,
    *,
    workers: int,
    device: str = "auto",
    threads: int = 1,
    input_size: tuple[int, int] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    max_restarts: int = 10,
    batch_size: int | None = ROWS_AT_ONCE,
) -> Any:
    """Label the pictures and films that a Ray dataset names; each is made whole or not at all.

    Args:
        dataset: a `ray.data.Dataset` with the column `path`, and `overlay`, `labels`, both or none: the file to write,
            null for none; a film's labels are a folder of PNGs. Relative ones are the workers' own. Other columns stay.
        model: a file that every host has under this path; another one there is refused.
        workers: actors, each with one Segmenter.
        device, threads, input_size: of each Segmenter.
        num_cpus, num_gpus: that Ray keeps for each worker (default: its threads; no GPU).
        max_restarts: how often Ray starts each worker again that died, and gives it its rows again.
        batch_size: rows that a worker is given at a time, at least; None: the dataset's blocks as they are.

    Returns:
        A `ray.data.Dataset`: each row with the fields of `Row` beside its own; what was wrong with an input is its
        `error`. When it is executed it raises what the Segmenter raised, or `ray.exceptions.ActorDiedError`.

    Raises:
        MissingDependency: Ray Data is not installed.
        ModelFileError: the model cannot be read.
    """
    ray = load_ray()
    path = Path(model).absolute()
    settings = Settings(path, device, threads, input_size)
    with warnings.catch_warnings():  # Ray means to name all options of actors; these two have no other place yet
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        return dataset.map_batches(
            Labeller,
            fn_constructor_args=(settings, _digest(path)),
            batch_size=batch_size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=threads if num_cpus is None and not num_gpus else num_cpus,
            num_gpus=num_gpus,
            max_restarts=max_restarts,
            max_task_retries=max_restarts,
        )


def load_ray() -> Any:
    """Ray with its Data; raises MissingDependency."""
    with needs("ray", "fcnrt[ray]"):
        import ray
        import ray.data
    return ray


class Labeller:
    """The actor: rows in, rows with what came of them out.

    Args:
        settings: of its Segmenter.
        digest: of the model's file on the host that asks.
    """

    def __init__(self, settings: Settings, digest: str):
        self._worker: Worker | FcnrtError
        try:
            self._worker = _same_model(settings, digest)
        except FcnrtError as error:  # told by the first rows: what is raised here is no more than a dead actor to Ray
            self._worker = error

    def __call__(self, rows: Any) -> Any:
        """Label the inputs of a `pyarrow.Table`; raises what the Segmenter could not be opened with."""
        if isinstance(self._worker, FcnrtError):
            raise self._worker
        results = [self._worker.do(_item(row)) for row in rows.to_pylist()]
        return _with_results(rows, results)


def _same_model(settings: Settings, digest: str) -> Worker:
    if _digest(settings.model) != digest:
        raise ModelFileError(f"{settings.model}: this host has another file there; copy one to all hosts")
    return Worker(settings)


def _item(row: dict[str, Any]) -> Item:
    outputs: tuple[Any, ...] = tuple((row[content], content) for content in CONTENTS if row.get(content))
    piece = Piece(*json.loads(row["piece"])) if row.get("piece") else None
    return Item(row["path"], outputs, piece=piece, account=row.get("account") or "")


def _with_results(rows: Any, results: list[Row]) -> Any:
    import pyarrow

    types = {
        "frames": pyarrow.int64(),
        "height": pyarrow.int32(),
        "width": pyarrow.int32(),
        "shares": pyarrow.list_(pyarrow.float64()),
        "confidence": pyarrow.float64(),
        "seconds": pyarrow.float64(),
        "finished": pyarrow.float64(),
        "worker": pyarrow.int64(),
        "host": pyarrow.string(),
        "error": pyarrow.string(),
    }
    kept = rows.select([name for name in rows.column_names if name not in types])
    columns = [asdict(result) for result in results]
    for name, kind in types.items():
        kept = kept.append_column(name, pyarrow.array([column[name] for column in columns], kind))
    return kept


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise ModelFileError(f"{path}: cannot read this model: {error.strerror}") from error
