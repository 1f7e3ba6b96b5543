"""Who came first is worked for first, by as many threads as there are cores."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fcnrt.serving.inference import workers
from fcnrt.serving.inference.workers import Workers


def test_what_came_first_is_done_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "logical_cores", lambda: 1)
    pool, done, go = Workers("test"), list[int](), threading.Event()

    def work(number: int) -> int:
        go.wait()
        done.append(number)
        return 2 * number

    async def ask() -> list[int]:
        asked = [asyncio.ensure_future(pool.do(work, number)) for number in range(5)]
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(ask()) == [0, 2, 4, 6, 8] and done == [0, 1, 2, 3, 4]
    pool.close()
    pool.close()
