"""Closing a source while another thread reads it."""

from __future__ import annotations

import threading
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from fcnrt.errors import MediaError
from fcnrt.video.frames import Frame
from fcnrt.video.sources.reader import Reader


class Decoder(Reader):
    """A source whose reads wait for `go`; releasing it under a read is what must not happen."""

    name, size, rate, frame_count, color, live = "decoder", (3, 5), Fraction(25), None, "rgb", False

    def __init__(self, error=None):
        super().__init__()
        self.faults = Counter()
        self.error, self.inside, self.released_inside, self.releases = error, False, False, 0
        self.entered, self.go = threading.Event(), threading.Event()

    def _read(self):
        self.inside = True
        self.entered.set()
        assert self.go.wait(20)
        self.inside = False
        if self.error:
            raise self.error
        return Frame(np.zeros((3, 5, 3), np.uint8), Fraction(0), 0, 0.0)

    def _release(self):
        self.released_inside |= self.inside
        self.releases += 1


def _read_in_a_thread(source):
    outcome = []

    def read():
        try:
            outcome.append(next(iter(source), None))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert source.entered.wait(20)
    return thread, outcome


@pytest.mark.parametrize("error", [None, MediaError("broken, as it was closed")])
def test_the_thread_that_reads_releases(error):
    source = Decoder(error)
    thread, outcome = _read_in_a_thread(source)
    source.close()
    assert source.releases == 0
    source.go.set()
    thread.join(20)
    assert outcome == [None] and source.releases == 1 and not source.released_inside
    source.close()
    assert list(source) == []


def test_other_errors_are_raised_and_the_source_is_released():
    source = Decoder(ZeroDivisionError())
    thread, outcome = _read_in_a_thread(source)
    source.close()
    source.go.set()
    thread.join(20)
    assert isinstance(outcome[0], ZeroDivisionError)
    source.close()
    assert source.releases == 1


def test_an_error_without_closing_is_raised():
    source = Decoder(MediaError("broken"))
    source.go.set()
    with pytest.raises(MediaError, match="broken"):
        list(source)
    with source:
        pass
    assert source.releases == 1
