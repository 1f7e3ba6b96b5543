"""Time a model against everything else that could label the same frames, side by side in one run."""

import sys

try:
    from fcn_bench.commands.latency import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
