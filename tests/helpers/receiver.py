"""A real RTSP or RTMP server that one publisher at a time pushes to, in a process of its own, to be killed.

python receiver.py ADDRESS OPTIONS: writes a line for each frame that comes, with the number in its pixels.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import AbstractContextManager

import av

from fcnrt.video.sources.generated import read_stamp
from processes import running

LISTENING = {
    "rtsp": {"rtsp_flags": "listen", "listen_timeout": "60"},
    "rtmp": {"listen": "1"},
    "udp": {"timeout": "60000000"},
}


def main(address: str, options: str) -> None:
    with av.open(address, options=json.loads(options)) as container:
        for frame in container.decode(video=0):
            time = "nan" if frame.pts is None else float(frame.pts * frame.time_base)  # RTP's, before its first report
            print(read_stamp(frame.to_ndarray(format="rgb24")), time, flush=True)


class Receiver:
    """The server, to be started, killed, stopped for a while and started again at the same address.

    Attributes:
        address: of it.
        runs: for each start, the frames that came: their numbers and their times in seconds.
        arrival: is set when a frame has come.
    """

    def __init__(self, kind: str = "rtsp") -> None:
        family = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
        with socket.socket(socket.AF_INET, family) as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"{kind}://127.0.0.1:{self._port}" + ("" if kind == "udp" else "/live/labelled")
        self.runs: list[list[tuple[int, float]]] = []
        self.arrival = threading.Event()
        self._words = [self.address, json.dumps(LISTENING[kind])]
        self._tcp = kind != "udp"
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        command = [sys.executable, __file__, *self._words]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.runs.append([])
        self.arrival.clear()
        self._reader = threading.Thread(target=self._note, args=(self._process, self.runs[-1]), daemon=True)
        self._reader.start()
        self._await_listening()

    def kill(self) -> None:
        """As a power cut does: no goodbye to anybody."""
        if self._process:
            self._process.kill()
            self.end(10)
            self._process = None

    def stall(self) -> None:
        """Keep connections open and read nothing any more."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def end(self, patience_s: float) -> None:
        """Wait until it has had all that was sent."""
        assert self._process and self._reader
        self._process.wait(patience_s)
        self._reader.join(patience_s)

    def _note(self, process: subprocess.Popen[str], frames: list[tuple[int, float]]) -> None:
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                number, time = line.split()
                frames.append((int(number), float(time)))
                self.arrival.set()

    def _await_listening(self) -> None:
        """Wait for the socket, or for a publisher on it already: a try to connect would be taken for one."""
        table = "/proc/net/tcp" if self._tcp else "/proc/net/udp"
        wanted = f"0100007F:{self._port:04X}"
        while not _bound(table, wanted):
            assert self._process and self._process.poll() is None
            threading.Event().wait(0.01)


_OPEN = ("0A", "07", "01")  # states of /proc/net: listening, bound (UDP), established


def _bound(table: str, local: str) -> bool:
    with open(table) as lines:
        return any(line.split()[1] == local and line.split()[3] in _OPEN for line in lines)


def receiver(kind: str = "rtsp") -> AbstractContextManager[Receiver]:
    """A running one, gone at the end."""
    return running(Receiver(kind))


if __name__ == "__main__":
    main(*sys.argv[1:])
