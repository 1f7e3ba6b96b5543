"""Time the last step, small scores to full-size labels, on the CPU: ours, ONNX Runtime, torch, numpy."""

import sys

try:
    from fcn_bench.commands.tail import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
