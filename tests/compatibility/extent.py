"""How much is run: some, which takes half an hour, or all."""

from __future__ import annotations

import os

VARIABLE = "FCNRT_COMPATIBILITY_TESTS"
EXTENTS = ("some", "all")


def extent() -> str:
    """One of EXTENTS, as the environment says; some where it says nothing."""
    chosen = os.environ.get(VARIABLE) or EXTENTS[0]
    if chosen not in EXTENTS:
        raise SystemExit(f"{VARIABLE}: expected {' or '.join(EXTENTS)}, got {chosen!r}")
    return chosen
