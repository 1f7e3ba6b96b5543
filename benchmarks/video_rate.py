"""How near a pipeline comes to its slowest stage alone: decode, segment, draw and encode, side by side."""

import sys

try:
    from fcn_bench.commands.video_rate import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
