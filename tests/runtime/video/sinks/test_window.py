"""The window, on SDL's driver without a screen; its pixels are read back from pygame."""

import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from fcnrt.errors import MediaError
from fcnrt.pictures.drawing import Drawing
from fcnrt.pictures.palette import overlay, voc_palette
from fcnrt.video.frames import Frame, Labelled, StopRequested
from fcnrt.video.sinks.window import Window

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
pygame = pytest.importorskip("pygame")

RNG = np.random.default_rng(23)
PALETTE = voc_palette(21)


@pytest.fixture
def window(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    shown = Window("a title", Drawing(PALETTE))
    yield shown
    shown.close()
    shown.close()
    assert not pygame.display.get_init()


def _labelled(height=90, width=160):
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Labelled(Frame(pixels, Fraction(0), 0, 0.0), RNG.integers(0, 21, (height, width), dtype=np.uint8))


def _show(window, labelled):
    window.write(window.draw(labelled))
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


def _press(key):
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))


def test_it_shows_the_overlay(window):
    assert window.in_main_thread and window.name == "a title"
    for labelled in (_labelled(), _labelled()):
        np.testing.assert_array_equal(_show(window, labelled), overlay(labelled.frame.pixels, labelled.labels, PALETTE))
    assert pygame.display.get_caption()[0] == "a title"


def test_it_fits_the_screen(window):
    screen_width, screen_height = (pygame.display.init(), pygame.display.get_desktop_sizes()[0])[1]
    seen = _show(window, _labelled(2 * screen_height, screen_width))
    assert 0.8 * screen_height < seen.shape[0] < screen_height
    assert seen.shape[1] / seen.shape[0] == pytest.approx(screen_width / screen_height / 2, rel=0.02)


@pytest.mark.parametrize("size", [(400, 90), (160, 300), (80, 45), (3, 1), (1, 1)])
def test_the_picture_keeps_its_proportions_when_the_window_is_resized(window, size):
    labelled = _labelled()
    white = labelled._replace(labels=labelled.labels * 0)
    white.frame.pixels[:] = 255
    _show(window, white)
    pygame.display.set_mode(size, pygame.RESIZABLE)
    seen = _show(window, white)
    assert seen.shape[:2] == size[::-1]
    rows, columns = np.flatnonzero(seen.any(axis=(1, 2))), np.flatnonzero(seen.any(axis=(0, 2)))
    if min(size) > 10:
        assert len(columns) == pytest.approx(len(rows) * 160 / 90, abs=2)
        assert len(columns) >= size[0] - 2 or len(rows) >= size[1] - 2
        # In the middle.
        assert abs(columns[0] - (size[0] - 1 - columns[-1])) <= 1 and abs(rows[0] - (size[1] - 1 - rows[-1])) <= 1


def test_frames_may_change_their_size(window):
    _show(window, _labelled())
    assert _show(window, _labelled(50, 50)).shape == (90, 160, 3)


@pytest.mark.parametrize("how", ["q", "escape", "closed"])
def test_the_user_ends_it(window, how):
    labelled = _labelled()
    _show(window, labelled)
    if how == "closed":
        pygame.event.post(pygame.event.Event(pygame.QUIT))
    else:
        _press({"q": pygame.K_q, "escape": pygame.K_ESCAPE}[how])
    with pytest.raises(StopRequested):
        _show(window, labelled)


def test_the_space_bar_shows_the_plain_frame_and_back(window):
    labelled = _labelled()
    drawn = overlay(labelled.frame.pixels, labelled.labels, PALETTE)
    _show(window, labelled)
    _press(pygame.K_a)
    np.testing.assert_array_equal(_show(window, labelled), drawn)
    _press(pygame.K_SPACE)
    _show(window, labelled)
    np.testing.assert_array_equal(_show(window, labelled), labelled.frame.pixels)
    _press(pygame.K_SPACE)
    _show(window, labelled)
    np.testing.assert_array_equal(_show(window, labelled), drawn)


@pytest.mark.parametrize("driver", [None, "x11", "nonsense"])
def test_without_a_display_it_says_so(monkeypatch, driver):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    if driver:
        monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    window = Window("a title", Drawing(PALETTE))
    with pytest.raises(MediaError, match=r"^a title: no display to show a window on: ") as caught:
        window.write(window.draw(_labelled()))
    assert "\n" not in str(caught.value)
    window.close()


def test_no_greeting_on_the_standard_output():
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from fcnrt.pictures.palette import voc_palette; from fcnrt.pictures.drawing import Drawing\n"
        "from fcnrt.video.sinks.window import Window; Window('t', Drawing(voc_palette(2)))"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("PYGAME")}
    done = subprocess.run([sys.executable, "-c", code, *sys.path], env=bare, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
