"""Clients of `fcnrt serve` in one thread: some that ask again at once, others that ask when it is time to."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

HEAD = "POST /segment?output=raw HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n"


class Case(NamedTuple):
    """A picture's bytes, and the raw labels that it gets."""

    picture: bytes
    labels: bytes


class Clients:
    """Connections that are kept, as many as were in use at once.

    Args:
        port: of the server on this machine.
        cases: that they ask for in turn.
    """

    def __init__(self, port: int, cases: Sequence[Case]) -> None:
        self._port, self._cases = port, cases
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, number: int) -> bool:
        """Have one picture labelled, and see that the labels are right; False where the server is told to be busy."""
        case = self._cases[number % len(self._cases)]
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(HEAD.format(len(case.picture)).encode() + case.picture)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        content = await reader.readexactly(length)
        self._free.append((reader, writer))
        if head.startswith(b"http/1.1 503 "):
            return False
        assert content == case.labels, head
        return True

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()


def reached(port: int, cases: Sequence[Case], clients: int, seconds: float) -> float:
    """Pictures per second for clients that ask again as soon as they have an answer."""

    async def all_of_them() -> float:
        asking, began = Clients(port, cases), time.monotonic()

        async def one(client: int) -> int:
            count = 0
            while time.monotonic() < began + seconds:
                count += await asking.ask(client + count)
            return count

        total = sum(await asyncio.gather(*map(one, range(clients))))
        asking.close()
        return total / (time.monotonic() - began)

    return asyncio.run(all_of_them())


def latencies(port: int, cases: Sequence[Case], due_s: np.ndarray) -> np.ndarray:
    """Seconds to the labels from when each picture was to be sent, whatever became of others; infinite: refused."""

    async def all_of_them() -> list[float]:
        asking, began = Clients(port, cases), time.monotonic()

        async def one(number: int) -> float:
            labelled = await asking.ask(number)
            return time.monotonic() - began - float(due_s[number]) if labelled else math.inf

        asked = []
        for number, due in enumerate(due_s):
            await asyncio.sleep(max(0.0, began + float(due) - time.monotonic()))
            asked.append(asyncio.ensure_future(one(number)))
        took = list(await asyncio.gather(*asked))
        asking.close()
        return took

    return np.array(asyncio.run(all_of_them()))


def of_one_server(due_s: np.ndarray, service_s: float) -> np.ndarray:
    """Seconds that pictures would take that come at these times to one who labels each in the same time, in order.

    Lindley's recursion: a wait is the one before, and its service, less the time between the two, and never below 0.
    """
    ahead = np.cumsum(np.concatenate([[0.0], service_s - np.diff(due_s)]))
    return ahead - np.minimum.accumulate(np.minimum(ahead, 0.0)) + service_s
