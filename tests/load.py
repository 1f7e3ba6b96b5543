"""Load on `fcnrt serve`, for `make load`; `make test` leaves it out. FCNRT_LOAD_SECONDS (60) is how long each takes."""

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
from frames import frames_of
from processes import running
from serve_process import ServeProcess

SECONDS = float(os.environ.get("FCNRT_LOAD_SECONDS", "60"))
CLIENTS = 64
SIZE = (121, 163)
MOST_GROWTH_MB = 10.0  # over the second half of the time
HEAD = b"POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: "


@pytest.fixture
def model(exported: Export) -> Path:
    return exported("torchvision fcn")


@pytest.fixture
def pictures(model: Path) -> list[tuple[bytes, bytes]]:
    """PNGs, and the raw labels that they get."""
    frames, files = frames_of(12, *SIZE), [io.BytesIO() for _ in range(12)]
    for frame, file in zip(frames, files, strict=True):
        Image.fromarray(frame).save(file, "PNG")
    with fcnrt.Segmenter(model, color="rgb", threads=1) as segmenter:
        return [(file.getvalue(), segmenter(frame).tobytes()) for frame, file in zip(frames, files, strict=True)]


def test_many_clients_beside_bad_ones(model: Path, pictures: list[tuple[bytes, bytes]]) -> None:
    with running(ServeProcess(model, "--threads", "1", "--max-body", "1")) as server:
        server.labels(pictures[0][0])
        until, counts, memory = time.monotonic() + SECONDS, [0] * CLIENTS, []

        def ask(client: int) -> None:
            while time.monotonic() < until:
                picture, labels = pictures[(client + counts[client]) % len(pictures)]
                assert server.labels(picture) == labels
                counts[client] += 1

        with bad_clients(server.port, pictures[0][0]), ThreadPoolExecutor(CLIENTS) as clients:
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


def test_latency_at_four_fifths_of_what_it_reaches(model: Path, pictures: list[tuple[bytes, bytes]]) -> None:
    with running(ServeProcess(model, "--threads", "1", "--max-requests", "512")) as server:
        server.labels(pictures[0][0])
        rate = reached(server, pictures)
        latencies = latencies_at(0.8 * rate, server, pictures)
    p50, p99 = np.percentile(latencies, (50, 99))
    print(f"\nreached {rate:.0f} pictures per second; at 80 % of it, {len(latencies)} pictures: ", end="")
    print(f"p50 {1e3 * p50:.1f} ms, p99 {1e3 * p99:.1f} ms, {p99 / p50:.1f} times the median")


def reached(server: ServeProcess, pictures: list[tuple[bytes, bytes]]) -> float:
    """Pictures per second for clients that ask again as soon as they have an answer."""
    until, began = time.monotonic() + SECONDS / 4, time.monotonic()

    def ask(client: int) -> int:
        count = 0
        while time.monotonic() < until:
            server.labels(pictures[client % len(pictures)][0])
            count += 1
        return count

    with ThreadPoolExecutor(8) as clients:
        return sum(clients.map(ask, range(8))) / (time.monotonic() - began)


def latencies_at(rate: float, server: ServeProcess, pictures: list[tuple[bytes, bytes]]) -> list[float]:
    """Seconds from the moment that a picture was to be sent, at even intervals, to its labels."""
    began = time.monotonic()

    def ask(number: int) -> float:
        picture, labels = pictures[number % len(pictures)]
        assert server.labels(picture) == labels
        return time.monotonic() - began - number / rate

    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = []
        for number in range(int(SECONDS * rate)):
            time.sleep(max(0, began + number / rate - time.monotonic()))
            asked.append(clients.submit(ask, number))
        return [each.result() for each in asked]
