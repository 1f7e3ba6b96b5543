"""Options of `fcnrt batch` that say who works, and the workers that they mean."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from ..cluster.connection import connected, divide_on_ray, label_on_ray, room_for
from ..cluster.local import divide_on_processes, label_on_processes
from ..cluster.work import Item, Items, Row, Settings
from ..contract.cores import logical_cores
from ..video.sources.pieces import Piece
from .argument_types import count, gpus, positive

Label = Callable[[Items | Sequence[Item]], Generator[Row, None, None]]
Divide = Callable[[Sequence[Item], float], Generator[tuple[Item, list[Piece]], None, None]]


class Crew(NamedTuple):
    """Workers.

    Attributes:
        size: how many.
        label: makes rows of items, as they are done.
        divide: finds the pieces of films, of so many seconds at least.
        alone: the same by one process of this machine, with one Segmenter that has the cores of `size_alone` workers.
        size_alone: as many as fit on this machine, one where each has a GPU.
        threads_alone: of that Segmenter.
    """

    size: int
    label: Label
    divide: Divide
    alone: Label
    size_alone: int
    threads_alone: int

    def efficiency(self, rate: float, rate_alone: float) -> float:
        """The share of the one Segmenter's rate, for the same cores or GPUs, that the workers reach."""
        return (rate / self.size) / (rate_alone / self.size_alone)


def add_crew_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    parser.add_argument("--workers", type=positive, metavar="N", help="(as many as there is room for)")
    parser.add_argument("--threads", type=positive, metavar="N", help="of each worker's engine (1)")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (auto; with --address cpu or the GPU kept for it)")
    parser.add_argument("--max-restarts", type=count, default=10, metavar="N", help="of workers that died (10)")
    parser.add_argument(
        "--address",
        metavar="WHERE",
        help="workers of a Ray cluster: HOST:PORT; auto, this machine's; local, started here (default: processes)",
    )
    room = parser.add_mutually_exclusive_group()
    room.add_argument("--cpus-per-worker", type=positive, metavar="C", help="cores that Ray keeps for each (--threads)")
    room.add_argument("--gpus-per-worker", type=gpus, metavar="G", help="GPUs that Ray keeps for each: 1, 0.5")


def check_crew(options: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if options.address is None and (options.cpus_per_worker or options.gpus_per_worker):
        options.refuse("--cpus-per-worker and --gpus-per-worker need --address; without it --threads is for cores")


def settings_of(options: argparse.Namespace) -> Settings:
    """How each worker labels."""
    device = "cuda" if options.gpus_per_worker else "auto" if options.address is None else "cpu"
    threads = options.threads or options.cpus_per_worker or 1
    return Settings(options.model, options.device or device, threads, options.input_size)


@contextlib.contextmanager
def crew_of(options: argparse.Namespace) -> Iterator[Crew]:
    """The workers, for as long as the context lasts; raises what `connected` raises."""
    settings, max_restarts = settings_of(options), options.max_restarts
    room_here = max(1, logical_cores() // settings.threads)
    if options.address is None:
        size = options.workers or room_here
        label = partial(label_on_processes, settings=settings, workers=size, max_restarts=max_restarts)
        divide = partial(divide_on_processes, workers=size, max_restarts=max_restarts)
        yield _crew(size, label, divide, settings, room_here)
        return
    with connected(options.address):
        num_gpus = options.gpus_per_worker
        num_cpus = None if num_gpus else options.cpus_per_worker or settings.threads
        size = options.workers or room_for(num_cpus, num_gpus)
        room = {"workers": size, "num_cpus": num_cpus, "num_gpus": num_gpus}
        label = partial(label_on_ray, settings=settings, max_restarts=max_restarts, **room)
        yield _crew(size, label, divide_on_ray, settings, room_here)


def _crew(size: int, label: Label, divide: Divide, settings: Settings, room_here: int) -> Crew:
    size_alone = 1 if settings.device.startswith("cuda") else min(size, room_here)
    threads = settings.threads * size_alone
    alone = partial(label_on_processes, settings=replace(settings, threads=threads), workers=1)
    return Crew(size, label, divide, alone, size_alone, threads)
