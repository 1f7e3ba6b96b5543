"""What programs get of a live server, and that nobody who watches holds it up."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcnrt.serving import LiveServer, LiveStream
from fcnrt.video.sources.generated import read_stamp
from feeding import CLASSES, COVERED, PALETTE, SIZE, feeding, labels_of

pytest.importorskip("starlette", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

PATIENCE_S = 60
CLIENTS = 3


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with LiveServer("0", clients=CLIENTS) as running:
        yield running


@pytest.fixture
def stream(server: LiveServer) -> Iterator[LiveStream]:
    with feeding(server) as running:
        await_(lambda: running.newest)
        yield running


def await_(happened: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


def get(server: LiveServer, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def figures(server: LiveServer, path: str = "/stats.json") -> Any:
    return json.loads(get(server, path)[1])


class Watcher:
    """Reads the video as a browser does, picture by picture."""

    def __init__(self, server: LiveServer, query: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.address.port), timeout=PATIENCE_S)
        host = f"127.0.0.1:{server.address.port}"
        self._socket.sendall(f"GET /video.mjpg{query} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])

    def number(self) -> int:
        """That of the next picture."""
        while not (line := self._file.readline()).startswith(b"Content-Length:"):
            assert line
        self._file.readline()
        # Uvicorn sends it in chunks, whose sizes stand between.
        data = self._file.read(int(line.split()[1]))
        return read_stamp(np.asarray(Image.open(io.BytesIO(data))))

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def test_pictures_are_those_of_one_frame(server: LiveServer, stream: LiveStream) -> None:
    answer, content = get(server, "/labels.png")
    number, labels = int(answer.headers["X-Frame-Number"]), Image.open(io.BytesIO(content))
    assert answer.headers["Content-Type"] == "image/png" and labels.mode == "P"
    assert np.array_equal(np.asarray(labels), labels_of(number))
    assert labels.getpalette()[: PALETTE.size] == PALETTE.ravel().tolist()
    for path in ("/frame.jpg", "/overlay.jpg"):
        answer, content = get(server, path)
        pixels = np.asarray(Image.open(io.BytesIO(content)))
        assert pixels.shape[:2] == SIZE and read_stamp(pixels) == int(answer.headers["X-Frame-Number"])
    plain = np.asarray(Image.open(io.BytesIO(get(server, "/frame.jpg")[1])), int)
    assert abs(plain[60:] - pixels[60:].astype(int)).mean() > 5  # one has the labels' colours


def test_figures(server: LiveServer, stream: LiveStream) -> None:
    await_(lambda: stream.figures["minute"]["frames"] >= 10)
    told = figures(server)
    assert told["input"] == stream.name and told["inputs"] == [stream.name] and told["ended"] is False
    assert (told["frame"]["height"], told["frame"]["width"]) == SIZE
    assert told["frame"]["time_s"] == pytest.approx(told["frame"]["number"] / 25)
    assert told["frame"]["age_ms"] >= 0 and 0 < told["rate"] < 60
    assert [each["name"] for each in told["classes"]] == list(CLASSES)
    assert told["classes"][1]["color"] == "#800000"
    for kind in ("share", "minute"):
        shares = [each[kind] for each in told["classes"]]
        assert sum(shares) == pytest.approx(1) and shares == pytest.approx(COVERED, abs=0.06)


def test_figures_come_as_events(server: LiveServer, stream: LiveStream) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=PATIENCE_S)
    connection.request("GET", "/stats")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    numbers = []
    while len(numbers) < 2:
        line = answer.readline()
        if line.startswith(b"data: "):
            numbers.append(json.loads(line[6:])["frame"]["number"])
    connection.close()
    assert numbers[1] > numbers[0]


def test_before_the_first_frame_there_is_none(server: LiveServer) -> None:
    assert get(server, "/frame.jpg")[0].status == 503
    assert get(server, "/stats.json")[0].status == 503
    assert get(server, "/labels.png?input=other")[0].status == 404
    assert get(server, "/nothing")[0].status == 404
    assert get(server, "/")[0].status == 200


def test_the_video_shows_frames_in_order(server: LiveServer, stream: LiveStream) -> None:
    watcher = Watcher(server)
    numbers = [watcher.number() for _ in range(10)]
    watcher.close()
    assert numbers == sorted(set(numbers))


def test_a_client_that_stalls_holds_nobody_up(server: LiveServer, stream: LiveStream) -> None:
    stalled, other = Watcher(server), Watcher(server)
    stalled.number()
    for _ in range(3):
        before, age = stream.newest.frame.number, other.number()
        await_(lambda: stream.newest.frame.number >= before + 10)  # noqa: B023
        await_(lambda: other.number() >= before + 10)  # noqa: B023
        assert age < other.number()
    assert figures(server)["viewers"] == 2
    stalled.close()
    await_(lambda: figures(server)["viewers"] == 1)
    other.close()
    await_(lambda: figures(server)["viewers"] == 0)


def test_ten_clients_that_come_and_go_leave_nothing_behind(server: LiveServer, stream: LiveStream) -> None:
    threads = threading.active_count()
    for _ in range(10):
        watcher = Watcher(server)
        assert watcher.status == 200 and watcher.number() >= 0
        watcher.close()
        await_(lambda: figures(server)["viewers"] == 0)
    assert threading.active_count() <= threads + 10  # the pool that makes pictures


def test_as_many_as_may_watch_and_no_more(server: LiveServer, stream: LiveStream) -> None:
    watchers = [Watcher(server) for _ in range(CLIENTS)]
    assert all(watcher.number() >= 0 for watcher in watchers)
    answer, text = get(server, "/video.mjpg")
    assert answer.status == 503 and text == b"3 clients are there already, which is as many as may be\n"
    assert get(server, "/frame.jpg")[0].status == 200
    watchers.pop().close()
    await_(lambda: figures(server)["viewers"] == CLIENTS - 1)
    watchers.append(Watcher(server))
    assert watchers[-1].status == 200
    for watcher in watchers:
        watcher.close()


def test_a_token_keeps_others_out() -> None:
    with LiveServer("0", token="s3cret-ü") as server, feeding(server) as stream:
        await_(lambda: stream.newest)
        for path in ("/", "/stats.json", "/frame.jpg", "/video.mjpg", "/nothing", "/?token=other"):
            answer, text = get(server, path)
            assert answer.status == 401 and text == b"expected ?token=... or an Authorization header\n"
        assert get(server, "/stats.json?token=s3cret-%C3%BC")[0].status == 200
        answer, _ = get(server, "/?token=s3cret-%C3%BC&input=a")
        assert answer.status == 303 and answer.headers["Location"] == "/?input=a"
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie
        assert get(server, "/", Cookie=cookie.partition(";")[0])[0].status == 200
        assert get(server, "/", Cookie=cookie.partition("=")[0] + "=other")[0].status == 401


def test_a_bearer_of_the_token_may_come_in() -> None:
    with LiveServer("0", token="secret") as server:
        assert get(server, "/", Authorization="Bearer secret")[0].status == 200
        assert get(server, "/", Authorization="Bearer secre")[0].status == 401


@pytest.mark.parametrize(
    ("host", "status"), [("localhost", 200), ("127.0.0.1:1", 200), ("evil.example", 421), ("", 421)]
)
def test_a_local_server_answers_to_its_own_name_alone(server: LiveServer, host: str, status: int) -> None:
    """A page from elsewhere may give its own name this machine's number, and a browser would take it for that page."""
    assert get(server, "/", Host=host)[0].status == status


def test_answers_may_be_neither_kept_nor_framed(server: LiveServer) -> None:
    headers = get(server, "/")[0].headers
    assert headers["Cache-Control"] == "no-store" and headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_two_inputs_are_told_apart(server: LiveServer) -> None:
    with feeding(server, "test-live:98x134@25") as first, feeding(server, "test-live:98x134@24") as second:
        await_(lambda: first.newest and second.newest)
        assert figures(server)["input"] == first.name
        told = figures(server, f"/stats.json?input={second.name}")
        assert told["input"] == second.name and told["inputs"] == [first.name, second.name]
    assert figures(server)["ended"]
    with feeding(server, "test-live:98x134@23") as third:  # those that have ended make room
        assert figures(server)["inputs"] == [third.name]


def test_the_port_is_free_after_the_end() -> None:
    with LiveServer("0") as server, feeding(server):
        watcher = Watcher(server)
        watcher.number()
    watcher.close()
    with LiveServer(str(server.address.port)) as again:
        assert get(again, "/")[0].status == 200
    again.close()
