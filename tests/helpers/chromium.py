"""A real headless Chromium, driven through its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

PATIENCE_S = 60
FLAGS = (
    "--headless --no-sandbox --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --mute-audio --remote-debugging-pipe"
)
_FIRST_FREE = 10  # above the two descriptors that Chromium has its pipes at


class Chromium:
    """A running browser.

    Args:
        program: its path.
        profile: a folder for what it keeps.
        graphics: flags that say what draws and computes.
    """

    def __init__(self, program: str, profile: Path, graphics: str = "--disable-gpu") -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        pipes = [fcntl.fcntl(pipe, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for pipe in (theirs_in, theirs_out)]
        actions = [(os.POSIX_SPAWN_DUP2, pipe, number) for number, pipe in enumerate(pipes, 3)]
        actions += [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (1, 2)]
        words = [program, *FLAGS.split(), *graphics.split(), f"--user-data-dir={profile}", "about:blank"]
        self._pid = os.posix_spawn(program, words, dict(os.environ), file_actions=actions, setpgroup=0)
        for pipe in (theirs_in, theirs_out, *pipes):
            os.close(pipe)
        self._last, self._left = 0, b""

    def open(self, address: str, width: int = 1200, height: int = 800, dark: bool = False) -> Tab:
        """Open a page in a window of that size in CSS pixels; tabs of one window would hide each other."""
        target = self.call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, target, session)
        tab.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.call("Emulation.setEmulatedMedia", features=[scheme])
        tab.call("Page.navigate", url=address)
        return tab

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        """Call a method of the protocol; its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while (answer := self._next(until)).get("id") != self._last:
            pass  # events
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._in)
        os.close(self._out)

    def _next(self, until: float) -> Any:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._in], [], [], max(0, until - time.monotonic()))
            assert ready, "Chromium does not answer"
            read = os.read(self._in, 1 << 16)
            assert read, "Chromium has ended"
            self._left += read
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)


class Tab:
    """A page."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session

    def call(self, method: str, **parameters: Any) -> Any:
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def await_(self, expression: str) -> Any:
        """Wait until a JavaScript expression gives something true, without an error; that."""
        until, tried = time.monotonic() + PATIENCE_S, f"(() => {{ try {{ return {expression} }} catch {{}} }})()"
        while not (value := self.evaluate(tried)):
            assert time.monotonic() < until, f"{expression} in {self.text()!r}"
            time.sleep(0.05)
        return value

    def text(self) -> str:
        """All that can be read."""
        return str(self.evaluate("document.body.innerText"))

    def image(self, selector: str) -> np.ndarray:
        """(H, W, 3) uint8: what an <img> shows now."""
        drawn = self.evaluate(
            f"(() => {{ const image = document.querySelector({selector!r}), canvas = document.createElement('canvas');"
            "canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;"
            "canvas.getContext('2d').drawImage(image, 0, 0); return canvas.toDataURL('image/png'); })()"
        )
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.partition(",")[2]))).convert("RGB"))

    def screenshot(self, path: Path) -> None:
        """Write what is seen, the whole page, as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)


@contextlib.contextmanager
def chromium(profile: Path, graphics: str = "--disable-gpu") -> Iterator[Chromium]:
    """A running browser, gone at the end; the test skips where there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    browser = Chromium(program, profile, graphics)
    try:
        yield browser
    finally:
        browser.close()
