"""A page that shows labelled video live in any browser, and its frames and figures for programs."""

from .server import LiveServer
from .stream import LiveStream

__all__ = ["LiveServer", "LiveStream"]
