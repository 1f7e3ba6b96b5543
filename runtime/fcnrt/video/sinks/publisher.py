"""Hands the newest frame to a relay, and starts another one where its server is lost."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from fractions import Fraction
from typing import NamedTuple

from ...contract.types import UInt8Array
from ...errors import MediaError
from ..addresses import public
from ..backoff import Backoff
from ..channels import Channel
from .av_live import Order
from .relay import DONE, HEAD

_GOODBYE_S = 5.0  # for a relay to send what it has left


class Relay:
    """A relay in a process of its own; `connect` comes first, `close` last.

    Args:
        order: what to push where.
    """

    def __init__(self, order: Order) -> None:
        self._name, self._order = public(order.address), order
        # A session of its own, or Ctrl-C would end it before the frames that are on their way.
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.relay"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def connect(self) -> None:
        """Find the server; raises MediaError where that fails."""
        self._exchange(json.dumps(self._order._asdict()).encode() + b"\n")

    def push(self, frame_hwc: UInt8Array, time: Fraction) -> None:
        """Send a frame, (H, W, 3) uint8 RGB, to be shown at `time`, in seconds; raises MediaError where that fails."""
        height, width, _ = frame_hwc.shape
        self._exchange(HEAD.pack(height, width, round(1_000_000 * time)), frame_hwc.reshape(-1).data)

    def close(self) -> None:
        """Let it say goodbye, and end it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            self.kill()
        for pipe in (self._process.stdout, self._process.stderr):
            pipe.close()  # type: ignore[union-attr]

    def kill(self) -> None:
        """End it on the spot, from any thread: who waits for it gets a MediaError."""
        self._process.kill()

    def _exchange(self, *parts: bytes | memoryview) -> None:
        """Send something and wait until it has been obeyed."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin and stdout
        with contextlib.suppress(BrokenPipeError):
            for part in parts:
                stdin.write(part)
            stdin.flush()
        if stdout.read(1) != DONE:
            raise MediaError(f"{self._name}: {self._last_words()}")

    def _last_words(self) -> str:
        """Why it ended."""
        _, said = self._process.communicate()
        if self._process.returncode == -signal.SIGALRM:
            return f"no answer for {self._order.timeout:g} s"
        return said.decode(errors="replace").strip().rpartition("\n")[2] or "the connection was cut"


class Picture(NamedTuple):
    """(H, W, 3) uint8 RGB, and when to show it, in seconds."""

    pixels: UInt8Array
    time: Fraction


class Publisher:
    """Pushes the newest frame to a server, for as long as it takes frames, and again when it is back.

    Args:
        order: what to push where.
        backoff: when to try again.

    Attributes:
        delivered: frames that the server got.
        reconnections: how often it was lost and found.

    Raises:
        MediaError: the server cannot be reached.
    """

    def __init__(self, order: Order, backoff: Backoff) -> None:
        self._order, self._backoff = order, backoff
        self.delivered = self.reconnections = 0
        self._lost = self._delivered_before = 0
        self._error: MediaError | None = None
        self._closing = threading.Event()
        self._pictures: Channel[Picture] = Channel(1, drop_oldest=True)
        self._relay = Relay(order)
        try:
            self._relay.connect()
        except BaseException:
            self._relay.close()
            raise
        self._thread = threading.Thread(target=self._run, name=f"fcnrt push {public(order.address)}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that the server did not get, for want of time or of a connection."""
        return self._pictures.dropped + self._lost

    def put(self, picture: Picture) -> None:
        """Have a frame pushed, unless a newer one comes first; raises MediaError where the server was given up."""
        if self._error:
            raise self._error
        if not self._pictures.put(picture):
            self._lost += 1

    def close(self) -> None:
        """Push what was put last, and say goodbye; may be called twice."""
        self._closing.set()
        self._pictures.end()
        self._thread.join(_GOODBYE_S)
        if self._thread.is_alive():
            self._relay.kill()
            self._thread.join()

    def _run(self) -> None:
        try:
            for picture in self._pictures:
                if not self._push(picture):
                    break
        except MediaError as error:
            self._error = error
        finally:
            self._lost += self._pictures.waiting
            self._pictures.cancel()
            self._relay.close()

    def _push(self, picture: Picture) -> bool:
        """Push a frame, or else find the server again; False where `close` came first."""
        try:
            self._relay.push(*picture)
        except MediaError as loss:
            self._lost += 1
            return self._find_again(loss)
        self.delivered += 1
        self._backoff.succeed()
        return True

    def _find_again(self, loss: MediaError) -> bool:
        if self.delivered == self._delivered_before:  # not a frame went out by this relay
            self._backoff.fail(str(loss))
        while not self._closing.wait(self._backoff.pause_s()):
            self._relay.close()
            self._relay = Relay(self._order)
            try:
                self._relay.connect()
            except MediaError as error:
                self._backoff.fail(str(error))
            else:
                self.reconnections, self._delivered_before = self.reconnections + 1, self.delivered
                return True
        return False
