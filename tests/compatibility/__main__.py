"""What runs elsewhere: python tests/compatibility [pythons [3.12 ...] | runtimes [onnx ...] | tritonserver]."""

from __future__ import annotations

import sys

import pythons
import runtimes
import tritonserver

PARTS = {"pythons": pythons.main, "runtimes": runtimes.main, "tritonserver": tritonserver.main}


def main(words: list[str]) -> int:
    if not words:
        return max(part([]) for part in PARTS.values())
    if words[0] not in PARTS:
        raise SystemExit(__doc__)
    return PARTS[words[0]](words[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
