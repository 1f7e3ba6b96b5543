"""The server's process is killed while clients ask: who comes again loses nothing."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

import fcnrt
from exports import Export
from frames import frames_of
from processes import running
from serve_process import ServeProcess

pytest.importorskip("starlette", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")


def png_of(frame: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return file.getvalue()


def test_a_server_that_is_killed_and_started_again_answers_everybody(exported: Export) -> None:
    model, frames = exported("torchvision fcn"), frames_of(24, 61, 83)
    with fcnrt.Segmenter(model, color="rgb") as segmenter:
        expected = [segmenter(frame).tobytes() for frame in frames]
    with running(ServeProcess(model, "--threads", "1")) as server, ThreadPoolExecutor(4) as clients:
        asked = [clients.submit(server.labels, png_of(frame)) for frame in frames]
        while not any(each.done() for each in asked):
            time.sleep(0.01)
        server.kill()
        server.start()
        assert [each.result() for each in asked] == expected
