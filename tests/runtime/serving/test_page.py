"""The page, in a real browser: the picture moves, the figures are right, others come and go, the server comes back."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from chromium import PATIENCE_S, Chromium, Tab, chromium
from fcnrt.errors import FrameError
from fcnrt.serving import LiveServer
from fcnrt.video.sources.generated import read_stamp
from feeding import CLASSES, SIZE, feeding

pytest.importorskip("starlette", reason="needs the extra 'serve'")
pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

LIVE = "document.querySelector('#state').textContent == 'live'"
SHOWN = "document.querySelector('#video').naturalWidth > 0"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with LiveServer("0", clients=4) as running:
        yield running


def opened(browser: Chromium, address: str, **options: bool | int) -> Tab:
    tab = browser.open(address, **options)
    tab.await_(LIVE)
    tab.await_(SHOWN)
    return tab


def await_number_above(tab: Tab, least: int) -> int:
    """Wait until the picture of a page has a higher number; that."""
    until = time.monotonic() + PATIENCE_S
    while (number := shown_number(tab)) <= least:
        assert time.monotonic() < until
        time.sleep(0.05)
    return number


def shown_number(tab: Tab) -> int:
    try:
        return read_stamp(tab.image("#video"))
    except (FrameError, OSError):  # while it is loaded or changed
        return -1


def await_(happened: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_picture_moves_and_the_figures_are_right(browser: Chromium, server: LiveServer) -> None:
    with feeding(server) as stream:
        tab = opened(browser, server.address.url)
        assert tab.image("#video").shape == (*SIZE, 3)
        number = await_number_above(tab, -1)
        await_number_above(tab, await_number_above(tab, number + 5) + 5)
        text = tab.text()
        assert stream.name in text and "134 \N{MULTIPLICATION SIGN} 98" in text and "not seen: unseen" in text
        shares = [float(share) for share in re.findall(r"([\d.]+) %", text)]
        assert len(shares) == len(CLASSES) - 1 and sum(shares) == pytest.approx(100, abs=0.2)
        assert CLASSES[2] in text  # as text, not as HTML
        colour = tab.evaluate("getComputedStyle(document.querySelectorAll('.swatch')[1]).backgroundColor")
        assert colour == "rgb(128, 0, 0)"
        tab.close()
    await_(lambda: server.viewers == 0)


def test_it_ends_as_the_input_does(browser: Chromium, server: LiveServer) -> None:
    with feeding(server):
        tab = opened(browser, server.address.url)
    tab.await_("document.querySelector('#state').textContent == 'ended'")
    assert shown_number(tab) >= 0  # the last picture stays
    with feeding(server, "test-live:98x134@24"):  # the next input
        tab.await_(LIVE)
        tab.await_("document.querySelector('#input').textContent == 'test-live:98x134@24'")
        await_number_above(tab, 3)
    tab.close()


def test_two_watch_and_ten_come_and_go(browser: Chromium, server: LiveServer) -> None:
    with feeding(server):
        first, second = (opened(browser, server.address.url) for _ in range(2))
        numbers = [await_number_above(tab, -1) for tab in (first, second)]
        for _ in range(10):
            passing = opened(browser, server.address.url)
            passing.close()
        for tab, number in zip((first, second), numbers, strict=True):
            await_number_above(tab, number + 10)
        await_(lambda: server.viewers == 2)
        first.close()
        second.close()


def test_a_page_in_the_background_takes_no_place(browser: Chromium, server: LiveServer) -> None:
    hide = "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}})"
    change = "document.dispatchEvent(new Event('visibilitychange'))"
    with feeding(server):
        tab = opened(browser, server.address.url)
        tab.evaluate(f"{hide.format('true')} && {change}")
        await_(lambda: server.viewers == 0)
        tab.evaluate(f"{hide.format('false')} && {change}")
        await_(lambda: server.viewers == 1)
        await_number_above(tab, -1)
        tab.close()


def test_it_says_that_as_many_watch_as_may(browser: Chromium) -> None:
    with LiveServer("0", clients=1) as server, feeding(server):
        first, second = opened(browser, server.address.url), browser.open(server.address.url)
        second.await_("document.querySelector('#message').textContent.includes('as many are watching as may')")
        first.close()
        second.await_(LIVE)
        await_number_above(second, -1)
        second.close()


def test_it_tries_again_where_the_video_alone_is_refused(browser: Chromium) -> None:
    with LiveServer("0", clients=1) as server, feeding(server):
        with socket.create_connection(("127.0.0.1", server.address.port)) as other:
            other.sendall(f"GET /video.mjpg HTTP/1.1\r\nHost: 127.0.0.1:{server.address.port}\r\n\r\n".encode())
            await_(lambda: server.viewers == 1)
            tab = browser.open(server.address.url)
            tab.await_(LIVE)
            tab.await_("document.querySelector('#message').textContent.includes('as many are watching as may')")
        tab.await_(SHOWN)
        assert "as many" not in tab.text()
        tab.close()


def test_it_finds_a_server_that_is_restarted(browser: Chromium) -> None:
    with LiveServer("0") as server, feeding(server):
        tab = opened(browser, server.address.url)
        await_number_above(tab, -1)
    tab.await_("document.querySelector('#state').textContent == 'disconnected'")
    tab.await_("document.body.innerText.includes('no answer from the server; trying again')")  # it asks why first
    with LiveServer(str(server.address.port)) as again, feeding(again):
        tab.await_(LIVE)
        tab.await_(SHOWN)
        await_number_above(tab, await_number_above(tab, -1))
        assert "no answer" not in tab.text()
    tab.close()


def test_the_token_opens_the_page_and_leaves_the_address(browser: Chromium) -> None:
    with LiveServer("0", token="s3cret") as server, feeding(server):
        shut = browser.open(server.address.url)
        shut.await_("document.body.innerText.includes('expected ?token=')")
        tab = opened(browser, f"{server.address.url}?token=s3cret")
        await_number_above(tab, -1)
        assert tab.evaluate("location.href") == server.address.url
        shut.close()
        tab.close()


def test_one_of_several_inputs_is_chosen(browser: Chromium, server: LiveServer) -> None:
    with ExitStack() as feeds:
        names = [feeds.enter_context(feeding(server, f"test-live:98x134@{rate}")).name for rate in (25, 24)]
        tab = opened(browser, server.address.url)
        assert tab.evaluate("[...document.querySelector('#inputs').options].map((each) => each.value)") == names
        tab.evaluate("document.querySelector('#inputs').value = 'test-live:98x134@24'")
        tab.evaluate("document.querySelector('#inputs').onchange()")
        tab.await_("location.search == '?input=test-live%3A98x134%4024'")
        tab.await_(LIVE)
        tab.await_("document.querySelector('#inputs').value == 'test-live:98x134@24'")
        await_number_above(tab, -1)
        tab.close()


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_telephone_and_can_be_read(dark: bool, browser: Chromium, server: LiveServer) -> None:
    with feeding(server):
        tab = opened(browser, server.address.url, width=360, height=740, dark=dark)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        for selector in ("h1", "dt", "dd", ".name", ".share", "small", "#unseen", "#state"):
            ink, ground = (colour(tab, selector, name) for name in ("color", "backgroundColor"))
            assert contrast(ink, ground) >= 4.5, (selector, ink, ground)
        assert (luminance(colour(tab, "h1", "backgroundColor")) < 0.2) is dark
        tab.close()


def colour(tab: Tab, selector: str, name: str) -> list[float]:
    """A colour that an element is shown in; the background of the nearest around it that has one."""
    text = tab.evaluate(
        f"(() => {{ let at = document.querySelector({selector!r});"
        f"const of = (each) => getComputedStyle(each)[{name!r}];"
        "while (of(at) == 'rgba(0, 0, 0, 0)') at = at.parentElement; return of(at); })()"
    )
    return [float(part) for part in re.findall(r"[\d.]+", text)[:3]]


def luminance(colour: list[float]) -> float:
    """Relative, of WCAG 2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in np.array(colour) / 255]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: list[float], other: list[float]) -> float:
    dark, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dark + 0.05)
