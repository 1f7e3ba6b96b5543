"""`fcnrt serve` as a process of its own, and clients that come again."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 120
AGAIN_S = 0.05


class ServeProcess:
    """A server on one port, which may be killed and started again.

    Args:
        model: the file.
        options: further flags of `fcnrt serve`.
    """

    def __init__(self, model: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        self._command = [sys.executable, "-m", "fcnrt", "serve", str(model), "--port", str(self.port), *options]

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stay_on(self, cores: set[int]) -> None:
        """Have it run there alone; to be said before it has threads."""
        os.sched_setaffinity(self._process.pid, cores)

    def kill(self) -> None:
        """End it without a word, as a lack of memory does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def memory_mb(self) -> float:
        """Resident now."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def post(self, picture: bytes) -> tuple[int, bytes]:
        """Ask for the raw labels of a picture: status and body; raises OSError or HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("POST", "/segment?output=raw", picture)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def labels(self, picture: bytes) -> bytes:
        """The raw labels, as often as it takes: of who is told to come again, or finds no server, or half an answer."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                status, content = self.post(picture)
            except (OSError, http.client.HTTPException):
                status = 503
            if status != 503:
                assert status == 200, content
                return content
            time.sleep(AGAIN_S)
        raise TimeoutError(f"no labels within {PATIENCE_S} s")
