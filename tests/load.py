"""Load on `fcnrt serve`, for `make load`; `make test` leaves it out. FCNRT_LOAD_SECONDS (60) is how long each takes.

Where latency is measured the clients have a core of their own: the last one, and the server the others.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcnrt
from exports import Export
from fcnrt.pictures.reading import read_image
from frames import frames_of
from open_loop import Case, latencies, of_one_server, reached
from processes import running
from serve_process import ServeProcess

SECONDS = float(os.environ.get("FCNRT_LOAD_SECONDS", "60"))
CLIENTS = 64
ROUNDS = 6
CLOSED = 8  # clients that ask again at once, to see what it reaches
SMALL, USUAL = (121, 163), (360, 480)
MOST_GROWTH_MB = 10.0  # over the second half of the time
HEAD = b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: "


@pytest.fixture
def model(exported: Export) -> Path:
    return exported("torchvision fcn")


@pytest.fixture
def pictures(model: Path) -> list[Case]:
    return cases(model, SMALL, "PNG")


@pytest.fixture
def photographs(model: Path) -> list[Case]:
    return cases(model, USUAL, "JPEG")


def cases(model: Path, size: tuple[int, int], file_format: str) -> list[Case]:
    """Pictures, and the raw labels that they get."""
    files = [io.BytesIO() for _ in range(12)]
    for frame, file in zip(frames_of(12, *size), files, strict=True):
        Image.fromarray(frame).save(file, file_format)
    with fcnrt.Segmenter(model, color="rgb", threads=1) as segmenter:
        return [Case(file.getvalue(), segmenter(read_image(file.getvalue())).tobytes()) for file in files]


def test_many_clients_beside_bad_ones(model: Path, pictures: list[Case]) -> None:
    with running(ServeProcess(model, "--threads", "1", "--max-body", "1")) as server:
        server.labels(pictures[0].picture)
        until, counts, memory = time.monotonic() + SECONDS, [0] * CLIENTS, []

        def ask(client: int) -> None:
            while time.monotonic() < until:
                picture, labels = pictures[(client + counts[client]) % len(pictures)]
                assert server.labels(picture) == labels
                counts[client] += 1

        with bad_clients(server.port, pictures[0].picture), ThreadPoolExecutor(CLIENTS) as clients:
            asked = [clients.submit(ask, client) for client in range(CLIENTS)]
            while time.monotonic() < until:
                memory.append(server.memory_mb())
                time.sleep(SECONDS / 100)
            for each in asked:
                each.result()
        growth = np.mean(memory[-10:]) - np.mean(memory[len(memory) // 2 :][:10])
        print(f"\n{sum(counts)} labelled for {CLIENTS} clients in {SECONDS:.0f} s, at least {min(counts)} for each")
        print(f"memory {memory[-1]:.0f} MB, {growth:+.1f} MB over the second half")
        assert growth <= MOST_GROWTH_MB and min(counts) > 0


@contextlib.contextmanager
def bad_clients(port: int, picture: bytes) -> Iterator[None]:
    """Until the block ends: one that sends a byte at a time, one that leaves at once, one that sends too much."""
    ended = threading.Event()

    def repeat(act: Callable[[socket.socket], object]) -> None:
        while not ended.wait(0.05):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                act(client)

    def slow(client: socket.socket) -> None:
        client.sendall(HEAD + b"5000\r\n\r\n")
        while not ended.wait(0.2):
            client.sendall(b"x")

    acts = (
        slow,
        lambda client: client.sendall(HEAD + f"{len(picture)}\r\n\r\n".encode() + picture),
        lambda client: (client.sendall(HEAD + b"999999999\r\n\r\n"), client.recv(4096)),
    )
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_latency_at_four_fifths_of_what_it_reaches(model: Path, photographs: list[Case]) -> None:
    with apart() as cores, running(server_for(model, cores)) as server:
        server.stay_on(cores)
        server.labels(photographs[0].picture)
        reached(server.port, photographs, CLOSED, SECONDS / 12)  # until it is warm
        most = reached(server.port, photographs, CLOSED, SECONDS / 4)
        print(f"\n{len(cores)} core(s) for the server, one for {CLOSED} clients: {most:.1f} pictures per second")
        for name, rounds in arrivals(0.8 * most).items():
            took = [latencies(server.port, photographs, due_s) for due_s in rounds]
            print(f"at 80 % of it, {len(rounds)} times {len(rounds[0])} pictures {name}: {told(took)}")
            ideal = [of_one_server(due_s, 1 / most) for due_s in rounds]
            print(f"  in theory, each in {1e3 / most:.1f} ms and in order: {told(ideal)}")
            assert np.isfinite(took).all()  # nobody was sent away


def server_for(model: Path, cores: set[int]) -> ServeProcess:
    return ServeProcess(model, "--threads", str(len(cores)), "--max-requests", "512")


@contextlib.contextmanager
def apart() -> Iterator[set[int]]:
    """Have this thread stay on the last core; the others, or the only one."""
    all_cores = os.sched_getaffinity(0)
    ours = max(all_cores)
    os.sched_setaffinity(0, {ours})
    try:
        yield all_cores - {ours} or all_cores
    finally:
        os.sched_setaffinity(0, all_cores)


def arrivals(rate: float) -> dict[str, list[np.ndarray]]:
    """When the pictures of each round come, by the way in which they do."""
    chance, count = np.random.default_rng(0), int(rate * SECONDS / ROUNDS)
    return {
        "at even intervals": [np.arange(count) / rate for _ in range(ROUNDS)],
        "at random (Poisson)": [np.cumsum(chance.exponential(1 / rate, count)) for _ in range(ROUNDS)],
    }


def told(rounds: list[np.ndarray]) -> str:
    """Medians over the rounds: one in which somebody else used the machine decides nothing."""
    p50, p99 = np.percentile(rounds, (50, 99), axis=1)
    times = p99 / p50
    spread = f"{np.median(times):.1f} times the median ({times.min():.1f} to {times.max():.1f})"
    return f"p50 {1e3 * np.median(p50):.1f} ms, p99 {1e3 * np.median(p99):.1f} ms, {spread}"
