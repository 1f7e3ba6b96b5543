"""What runs elsewhere: python tests/compatibility [pythons [3.12 ...] | runtimes [onnx ...] | tritonserver].

Without words all three, one after the other, whatever fails. FCNRT_COMPATIBILITY_TESTS=all in the environment is all of
the runtime's tests on each Python and all networks in each runtime; usually it is some of them.
"""

from __future__ import annotations

import sys

import pythons
import runtimes
import tritonserver
from summary import tell

PARTS = {"pythons": pythons.main, "runtimes": runtimes.main, "tritonserver": tritonserver.main}


def main(words: list[str]) -> int:
    if words and words[0] not in PARTS:
        raise SystemExit(__doc__)
    asked = {words[0]: PARTS[words[0]](words[1:])} if words else {name: part([]) for name, part in PARTS.items()}
    return tell(asked)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
