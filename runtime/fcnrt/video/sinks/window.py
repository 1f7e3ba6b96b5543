"""A window that shows what is segmented, by pygame."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import numpy as np

from ...contract.types import UInt8Array
from ...errors import MediaError, first_line, needs
from ...pictures.drawing import Drawing
from ...pictures.quiet import quiet_stderr
from ..frames import Labelled, Sink, StopRequested
from .host import host_labels, host_pixels

_BLIND = ("offscreen", "dummy")
_SCREEN_SHARE = 0.9  # of the screen's sides that a new window takes at most


class Window(Sink):
    """Shows labelled frames in a window, which can be resized; the picture keeps its proportions.

    q, Escape or closing the window ends the run. The space bar changes to the plain frames and back.

    Args:
        title: of the window.
        drawing: how to draw the labels.
        pixel_aspect: width by height of a pixel, by which pictures are stretched.

    Raises:
        MissingDependency: pygame is not installed.
    """

    in_main_thread = True

    def __init__(self, title: str, drawing: Drawing, pixel_aspect: Fraction = Fraction(1)) -> None:
        # pygame greets on the standard output, which may carry labels.
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        with needs("pygame"):
            import pygame
        self.name = title
        self._pygame: Any = pygame
        self._drawing, self._plain, self._aspect = drawing, False, float(pixel_aspect)
        self._surface: Any = None

    def draw(self, labelled: Labelled) -> UInt8Array:
        pixels = host_pixels(labelled)
        return pixels if self._plain else self._drawing(pixels, host_labels(labelled))

    def write(self, drawn: UInt8Array) -> None:
        """Show a picture; raises StopRequested when the user wants no more, MediaError without a display."""
        height, width, _ = drawn.shape
        if self._surface is None:
            self._open(height, round(width * self._aspect))
        self._obey()
        self._show(self._pygame.image.frombuffer(np.ascontiguousarray(drawn).data, (width, height), "RGB"))

    def close(self) -> None:
        """Close the window; may be called twice."""
        if self._surface is not None:
            self._surface = None
            self._pygame.display.quit()

    def _open(self, height: int, width: int) -> None:
        display = self._pygame.display
        try:
            with quiet_stderr():
                display.init()
            # Without a display SDL falls back to a driver that shows nothing.
            if display.get_driver() in _BLIND and not os.environ.get("SDL_VIDEODRIVER"):
                raise self._pygame.error("this machine has none, or DISPLAY does not say which")
            screen_width, screen_height = display.get_desktop_sizes()[0]
            scale = min(1, _SCREEN_SHARE * screen_width / width, _SCREEN_SHARE * screen_height / height)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            self._surface = display.set_mode(size, self._pygame.RESIZABLE)
            display.set_caption(self.name)
        except self._pygame.error as error:
            display.quit()
            raise MediaError(f"{self.name}: no display to show a window on: {first_line(error)}") from error

    def _obey(self) -> None:
        pygame = self._pygame
        for event in pygame.event.get():
            key = event.key if event.type == pygame.KEYDOWN else None
            if event.type == pygame.QUIT or key in (pygame.K_q, pygame.K_ESCAPE):
                raise StopRequested
            self._plain ^= key == pygame.K_SPACE

    def _show(self, picture: Any) -> None:
        """Scale a picture into the window, whatever size that has by now, with black beside it."""
        self._surface = self._pygame.display.get_surface()
        room = self._surface.get_rect()
        shown = picture.get_rect()
        shown.width = round(shown.width * self._aspect)
        place = shown.fit(room)
        if place.size != picture.get_size():
            picture = self._pygame.transform.smoothscale(picture, place.size)
        self._surface.fill("black")
        self._surface.blit(picture, place)
        self._pygame.display.flip()
