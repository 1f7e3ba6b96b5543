"""What clients of the Open Inference Protocol get, Triton's own among them, and who just posts pictures."""

from __future__ import annotations

import http.client
import io
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fcnrt
from exports import Export
from fcnrt.pictures.drawing import Drawing
from fcnrt.pictures.writing import jpeg_of
from fcnrt.serving import InferenceServer, Limits, connections
from fcnrt.serving.inference import server as serving
from frames import frames_of
from stand_ins import HeldSegmenter

pytest.importorskip("starlette", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
pytest.importorskip("prometheus_client", reason="needs the extra 'serve'")

PATIENCE_S = 60
SIZE = (61, 83)
LIMITS = Limits(body=1 << 20, pixels=100_000, requests=16, batch=4)


@pytest.fixture(scope="module")
def segment(exported: Export) -> Iterator[fcnrt.Segmenter]:
    with fcnrt.Segmenter(exported("torchvision fcn"), device="cpu", threads=1, color="rgb") as made:
        yield made


@pytest.fixture(scope="module")
def server(segment: fcnrt.Segmenter) -> Iterator[InferenceServer]:
    with segment.clone() as its_own, InferenceServer(its_own, "0", name="street", limits=LIMITS) as running:
        yield running


@pytest.fixture
def held() -> Iterator[HeldSegmenter]:
    segmenter = HeldSegmenter()
    yield segmenter
    segmenter.go.set()


def ask(server: InferenceServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def png_of(frame: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return file.getvalue()


ONE_PNG = png_of(np.ones((*SIZE, 3), np.uint8))


def figure(server: InferenceServer, name: str) -> float:
    """One of those for Prometheus."""
    lines = ask(server, "GET", "/metrics")[1].decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def await_(happened: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


def infer_request(frames: Any, **more: Any) -> bytes:
    tensor = {"name": "frames", "datatype": "UINT8", "shape": list(frames.shape), "data": frames.ravel().tolist()}
    return json.dumps({"inputs": [tensor], **more}).encode()


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tritons_client_gets_the_segmenters_labels(
    server: InferenceServer, segment: fcnrt.Segmenter, binary_in: bool, binary_out: bool
) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    with triton.InferenceServerClient(f"127.0.0.1:{server.address.port}") as client:
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("street")
        assert not client.is_model_ready("other") and client.is_model_ready("street", "1")
        assert client.get_server_metadata()["name"] == "fcnrt"
        about = client.get_model_metadata("street")
        assert about["inputs"] == [{"name": "frames", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
        for height, width, count in (*((61, 83, 1), (64, 64, 2)), (97, 33, 3)):
            frames = np.stack(frames_of(count, height, width, seed=height))
            given = triton.InferInput("frames", list(frames.shape), "UINT8")
            given.set_data_from_numpy(frames, binary_data=binary_in)
            wanted = triton.InferRequestedOutput("labels", binary_data=binary_out)
            answer = client.infer("street", [given], outputs=[wanted], request_id="7")
            assert answer.get_response()["id"] == "7"
            labels = answer.as_numpy("labels")
            assert labels.dtype == np.uint8 and np.array_equal(labels, segment(frames))


def test_tritons_client_is_told_what_is_wrong(server: InferenceServer) -> None:
    triton = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    with triton.InferenceServerClient(f"127.0.0.1:{server.address.port}") as client:
        given = triton.InferInput("frames", [1, 400, 400, 3], "UINT8")
        given.set_data_from_numpy(np.zeros((1, 400, 400, 3), np.uint8))
        with pytest.raises(triton.InferenceServerException, match="at most 100000 pixels, got 160000"):
            client.infer("street", [given])
        with pytest.raises(triton.InferenceServerException, match="expected model street, version 1, got other"):
            client.infer("other", [given])


def test_bytes_come_for_all_outputs_where_that_is_asked(server: InferenceServer, segment: fcnrt.Segmenter) -> None:
    frames = np.stack(frames_of(1, *SIZE, seed=3))
    body = infer_request(frames, parameters={"binary_data_output": True})
    answer, content = ask(server, "POST", "/v2/models/street/versions/1/infer", body)
    length = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(content[:length])["outputs"][0]["parameters"] == {"binary_data_size": SIZE[0] * SIZE[1]}
    assert content[length:] == segment(frames).tobytes()


PIXEL = {"name": "frames", "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [1, 2, 3, 4, 5, 6]}


@pytest.mark.parametrize(
    ("body", "header_length", "why"),
    [
        ("nonsense", None, "expected JSON"),
        ("[" * 100_000, None, "too many brackets"),
        ('{"inputs": ' + "9" * 10_000 + "}", None, "far too long numbers or too many brackets$"),
        ("[]", None, "expected a JSON object"),
        ("{}", None, "inputs: expected one, frames"),
        ({"inputs": [PIXEL, PIXEL]}, None, "inputs: expected one, frames"),
        ({"inputs": [{**PIXEL, "datatype": "FP32"}]}, None, "got 'frames' of 'FP32'"),
        ({"inputs": [{**PIXEL, "shape": [1, 1, 2]}]}, None, r"expected shape \[batch, height, width, 3\]"),
        ({"inputs": [{**PIXEL, "shape": [1, 0, 2, 3]}]}, None, "expected shape"),
        ({"inputs": [{**PIXEL, "shape": [1, True, 2, 3]}]}, None, "expected shape"),
        ({"inputs": [{**PIXEL, "data": [1]}]}, None, "expected data of 6 whole numbers"),
        ({"inputs": [{**PIXEL, "data": [1, 2, 3, 4, 5, 256]}]}, None, "expected data of 6 whole numbers"),
        ({"inputs": [{**PIXEL, "data": [[1, 2], [3]]}]}, None, "expected data of 6 whole numbers"),
        ({"inputs": [{**PIXEL, "data": []}]}, None, "expected data of 6 whole numbers"),
        ({"inputs": [{**PIXEL, "parameters": {"binary_data_size": 5}}]}, None, "expected 6 bytes"),
        ({"inputs": [{**PIXEL, "parameters": []}]}, None, "expected a JSON object"),
        ({"inputs": [PIXEL], "outputs": [{"name": "scores"}]}, None, "expected 'labels', got 'scores'"),
        ({"inputs": [PIXEL], "outputs": [1]}, None, "outputs: expected one"),
        ("{}", "99", "Inference-Header-Content-Length: expected 0 to 2"),
        ("{}", "-1", "Inference-Header-Content-Length: expected 0 to 2"),
    ],
)
def test_a_request_that_is_wrong_is_told_why(
    server: InferenceServer, body: Any, header_length: str | None, why: str
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {} if header_length is None else {"Inference_Header_Content_Length": header_length}
    answer, content = ask(server, "POST", "/v2/models/street/infer", text, **headers)
    assert answer.status == 400
    with pytest.raises(ValueError, match=why):
        raise ValueError(json.loads(content)["error"])


def test_pictures_in_pictures_out(server: InferenceServer, segment: fcnrt.Segmenter) -> None:
    (frame,) = frames_of(1, *SIZE, seed=5)
    labels = segment(frame)
    answer, content = ask(server, "POST", "/segment", png_of(frame))
    picture = Image.open(io.BytesIO(content))
    assert answer.headers["Content-Type"] == "image/png" and picture.mode == "P"
    assert np.array_equal(np.asarray(picture), labels)
    assert picture.getpalette()[: segment.palette.size] == segment.palette.ravel().tolist()
    overlay = jpeg_of(Drawing(segment.palette)(frame, labels))
    for path, accept in (("/segment?output=overlay", "image/png"), ("/segment", "text/html, image/jpeg;q=0.9")):
        assert ask(server, "POST", path, png_of(frame), Accept=accept)[1] == overlay
    answer, content = ask(server, "POST", "/segment?output=raw", png_of(frame))
    assert content == labels.tobytes()
    assert answer.headers["X-Labels-Shape"] == "61,83" and answer.headers["X-Labels-Type"] == "uint8"


def test_jpegs_are_turned_upright(server: InferenceServer, segment: fcnrt.Segmenter) -> None:
    file, turned = io.BytesIO(), Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(frames_of(1, *SIZE, seed=6)[0]).save(file, "JPEG", exif=turned)
    answer, content = ask(server, "POST", "/segment?output=raw", file.getvalue())
    upright = np.rot90(np.asarray(Image.open(file)), -1)
    assert answer.headers["X-Labels-Shape"] == "83,61" and content == segment(upright).tobytes()


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "why"),
    [
        ("/segment", b"no picture", {}, 400, "expected a picture, got a file of another or unknown format"),
        ("/segment", b"", {}, 400, "expected a picture"),
        ("/segment", png_of(np.zeros((400, 400, 3), np.uint8)), {}, 413, "claims 0 megapixels, more than 0"),
        ("/segment", b"\0" * 3_000_000, {}, 413, "at most 1048576 bytes"),
        ("/segment?output=film", b"", {}, 400, "expected labels, overlay, raw, got 'film'"),
        ("/segment", b"", {"Accept": "text/html"}, 406, "expected image/png"),
        ("/segment", b"", {"Content_Type": "multipart/form-data; boundary=x"}, 415, "--data-binary"),
        ("/segment", b"", {"Content_Encoding": "gzip"}, 415, "without Content-Encoding"),
    ],
)
def test_what_is_no_picture_is_told(
    server: InferenceServer, path: str, body: bytes, headers: dict[str, str], status: int, why: str
) -> None:
    answer, content = ask(server, "POST", path, body, **headers)
    assert answer.status == status and why in json.loads(content)["error"]
    assert b"/tmp" not in content


@pytest.mark.parametrize(
    ("method", "path", "status", "why"),
    [
        ("GET", "/segment", 405, "expected POST, got GET"),
        ("GET", "/v2/models/street/infer", 405, "expected POST, got GET"),
        ("DELETE", "/segment", 405, "expected POST, got DELETE"),
        ("POST", "/metrics", 405, "expected GET, HEAD, got POST"),
        ("GET", "/", 404, "there is nothing here"),
        ("POST", "/v2/repository/index", 404, "there is nothing here"),
        ("GET", "/v2/models/other", 404, "expected model street"),
    ],
)
def test_other_addresses_and_methods_are_told_as_json(
    server: InferenceServer, method: str, path: str, status: int, why: str
) -> None:
    answer, content = ask(server, method, path)
    assert answer.status == status and why in json.loads(content)["error"]
    assert (status == 405) == ("Allow" in answer.headers)


def test_a_body_without_a_length_is_measured_as_it_comes(server: InferenceServer) -> None:
    answer, content = ask(server, "POST", "/segment", (b"\0" * 65536 for _ in range(40)))
    assert answer.status == 413 and b"at most 1048576 bytes" in content


def test_many_clients_at_once_get_each_its_own(server: InferenceServer, segment: fcnrt.Segmenter) -> None:
    pictures = frames_of(12, *SIZE, seed=8)
    expected = [segment(frame).tobytes() for frame in pictures]

    def labels(index: int) -> bytes:
        while True:  # who is told to come again comes again
            answer, content = ask(server, "POST", "/segment?output=raw", png_of(pictures[index % 12]))
            if answer.status != 503:
                return content
            assert answer.headers["Retry-After"] == "1"
            time.sleep(0.01)

    with ThreadPoolExecutor(24) as clients:
        assert list(clients.map(labels, range(96))) == [expected[index % 12] for index in range(96)]


def test_who_comes_too_much_is_told_to_come_again(held: HeldSegmenter) -> None:
    with InferenceServer(held, "0", name="street", limits=LIMITS._replace(requests=2)) as server, released(held):
        picture = png_of(np.ones((*SIZE, 3), np.uint8))
        with ThreadPoolExecutor(2) as clients:
            inside = [clients.submit(ask, server, "POST", "/segment", picture) for _ in range(2)]
            await_(lambda: figure(server, "fcnrt_requests_inside") == 2)
            answer, content = ask(server, "POST", "/segment", b"\0" * 500_000)
            assert answer.status == 503 and answer.headers["Retry-After"] == "1" and b"busy with 2" in content
            assert ask(server, "GET", "/v2/health/ready")[0].status == 200
            held.go.set()
            assert [each.result()[0].status for each in inside] == [200, 200]
        assert ask(server, "POST", "/segment", picture)[0].status == 200
        assert figure(server, 'fcnrt_requests_total{path="/segment",status="503"}') == 1


@contextmanager
def released(segmenter: HeldSegmenter) -> Iterator[None]:
    """Has a held Segmenter go on at the end, so that its server can end."""
    try:
        yield
    finally:
        segmenter.go.set()


def connected(server: InferenceServer, text: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.address.port), timeout=PATIENCE_S)
    client.sendall(b"POST /segment HTTP/1.1\r\nHost: localhost\r\n" + text)
    return client


def test_frames_go_one_by_one_on_a_cpu_and_no_picture_becomes_a_file(
    held: HeldSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a temporary file")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with InferenceServer(held, "0", name="street") as server, released(held), ThreadPoolExecutor(3) as clients:
        picture = png_of(np.ones((*SIZE, 3), np.uint8))
        asked = [clients.submit(ask, server, "POST", "/segment", picture) for _ in range(3)]
        await_(lambda: figure(server, "fcnrt_requests_waiting") == 2)
        held.go.set()
        assert [each.result()[0].status for each in asked] == [200] * 3
    assert held.shapes == [(1, *SIZE)] * 3


def test_nobody_works_for_who_has_left(held: HeldSegmenter) -> None:
    with InferenceServer(held, "0", name="street", limits=LIMITS) as server, released(held):
        picture = png_of(np.ones((*SIZE, 3), np.uint8))
        head = f"Content-Length: {len(picture)}\r\n\r\n".encode()
        clients = [connected(server, head + picture)]
        assert held.began.wait(PATIENCE_S)
        clients += [connected(server, head + picture) for _ in range(2)]
        await_(lambda: figure(server, "fcnrt_requests_waiting") == 2)
        for client in clients:
            client.close()
        await_(lambda: figure(server, "fcnrt_requests_inside") == 0)
        held.go.set()
        assert ask(server, "POST", "/segment", picture)[0].status == 200
        assert len(held.shapes) == 2  # that of the first, which had begun, and of the last
        assert figure(server, 'fcnrt_requests_total{path="/segment",status="499"}') == 3


def test_slow_and_broken_uploads_hold_nobody_up(server: InferenceServer) -> None:
    slow = [connected(server, b"Content-Length: 5000\r\n\r\nabc") for _ in range(4)]
    assert ask(server, "POST", "/segment", png_of(frames_of(1, *SIZE, seed=1)[0]))[0].status == 200
    for client in slow:
        client.close()
    await_(lambda: figure(server, "fcnrt_requests_inside") == 0)


def test_connections_without_requests_are_closed_and_others_stay(
    held: HeldSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    with InferenceServer(held, "0", name="street", limits=LIMITS) as server, released(held):
        address = ("127.0.0.1", server.address.port)
        kept = http.client.HTTPConnection(*address, timeout=PATIENCE_S)
        kept.request("GET", "/v2/health/live")
        assert kept.getresponse().read()
        works = connected(server, f"Content-Length: {len(ONE_PNG)}\r\n\r\n".encode() + ONE_PNG)
        assert held.began.wait(PATIENCE_S)
        silent = [socket.create_connection(address, timeout=PATIENCE_S) for _ in range(3)]
        silent[0].sendall(b"POST /segment HT")
        silent[1].sendall(b"POST /segment HTTP/1.1\r\nHost: localhost\r\n")
        assert [client.recv(1) for client in silent] == [b"", b"", b""]
        held.go.set()
        assert works.recv(12) == b"HTTP/1.1 200"
        kept.request("GET", "/v2/health/live")
        assert kept.getresponse().status == 200
        for client in (*silent, works, kept):
            client.close()


def test_who_comes_to_too_many_connections_is_told_to_come_again(
    held: HeldSegmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_STRANGERS", 1)
    with InferenceServer(held, "0", name="street", limits=LIMITS._replace(requests=1)) as server:
        silent = [socket.create_connection(("127.0.0.1", server.address.port), timeout=PATIENCE_S) for _ in range(2)]
        answer, content = ask(server, "GET", "/v2/health/live")
        assert answer.status == 503 and answer.headers["Retry-After"] == "1"
        assert content.startswith(b"2 connections are open")
        silent[0].close()
        await_(lambda: ask(server, "GET", "/v2/health/live")[0].status == 200)
        silent[1].close()


def test_a_request_that_does_not_end_is_ended(held: HeldSegmenter) -> None:
    with InferenceServer(held, "0", name="street", limits=LIMITS._replace(body_s=0.1)) as server:
        client = connected(server, b"Content-Length: 5000\r\n\r\nabc")
        answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408") and b"within 0.1 s" in answer
        client.close()


def test_a_fault_of_the_engine_is_one_requests(held: HeldSegmenter) -> None:
    held.go.set()
    with InferenceServer(held, "0", name="street", limits=LIMITS) as server:
        bad = png_of(np.full((*SIZE, 3), HeldSegmenter.BAD, np.uint8))
        answer, content = ask(server, "POST", "/segment", bad)
        assert answer.status == 500 and json.loads(content) == {"error": "stand-in: cannot"}
        assert ask(server, "POST", "/segment", png_of(np.ones((*SIZE, 3), np.uint8)))[0].status == 200


def test_frames_that_the_model_does_not_take_are_told(held: HeldSegmenter) -> None:
    held.go.set()
    held.refused = fcnrt.FrameError("frames: expected at least 9x9")
    with InferenceServer(held, "0", name="street", limits=LIMITS) as server:
        answer, content = ask(server, "POST", "/segment", png_of(np.ones((3, 5, 3), np.uint8)))
        assert answer.status == 400 and json.loads(content) == {"error": "frames: expected at least 9x9"}


def test_a_token_keeps_others_out_but_not_who_asks_for_health(held: HeldSegmenter) -> None:
    with InferenceServer(held, "0", name="street", token="secret") as server:
        for path in ("/v2", "/metrics", "/v2/models/street", "/v2/models/street/ready"):
            assert ask(server, "GET", path)[0].status == 401
            assert ask(server, "GET", path, Authorization="Bearer secret")[0].status == 200
        assert ask(server, "POST", "/segment", b"x")[0].status == 401
        assert ask(server, "GET", "/v2/health/live")[0].status == 200
        assert ask(server, "GET", "/v2/health/ready")[0].status == 200


def test_the_end_finishes_what_was_begun_and_frees_the_port(held: HeldSegmenter) -> None:
    server = InferenceServer(held, "0", name="street", limits=LIMITS)
    with ThreadPoolExecutor(1) as clients:
        inside = clients.submit(ask, server, "POST", "/segment", png_of(np.ones((*SIZE, 3), np.uint8)))
        assert held.began.wait(PATIENCE_S)
        closing = threading.Thread(target=server.close)
        closing.start()
        held.go.set()
        assert inside.result()[0].status == 200
        closing.join(PATIENCE_S)
    server.wait()
    server.close()
    with InferenceServer(held, str(server.address.port), name="street"):
        pass
