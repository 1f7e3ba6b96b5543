"""A real RTSP server in a process of its own, to be killed: python rtsp_server.py PORT COUNT HEIGHT WIDTH RATE.

It serves `COUNT` generated frames with their numbers, over and over, as a camera would, and says "ready" when it does.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import AbstractContextManager

import rtsp
from PIL import Image

from fcnrt.video.sources.generated import Generated
from processes import running


def main(port: int, count: int, height: int, width: int, rate: int) -> None:
    pictures = [Image.fromarray(frame.pixels) for frame in Generated(f"test:{height}x{width}@{rate}*{count}")]
    with rtsp.Source(f"rtsp://127.0.0.1:{port}/live", fps=rate, size=(width, height)) as server:
        for picture in pictures:
            server.put(picture)
        server.wait_ready()
        server.wait_encoding_started()
        print("ready", flush=True)
        sys.stdin.read()  # until whoever started it is gone, however that ended


class Camera:
    """The server, to be started, killed, stopped for a while and started again at the same address."""

    def __init__(self, size: tuple[int, int] = (96, 128), rate: int = 25, count: int = 250) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._words = [str(word) for word in (self._port, count, *size, rate)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self._port}/live"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout
        if self._process.stdout.readline() != b"ready\n":
            self.kill()
            raise RuntimeError("the server did not start; what it said is above")

    def kill(self) -> None:
        """As a power cut does: no goodbye to anybody."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def stall(self) -> None:
        """Keep connections open and send nothing any more."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)


def camera(**arguments: int) -> AbstractContextManager[Camera]:
    """A running one, gone at the end."""
    return running(Camera(**arguments))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
