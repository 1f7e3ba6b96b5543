"""Train any FCN of fcn_export.families: per-pixel cross-entropy, SGD with momentum, random scale, crop and flip."""

import sys

try:
    from fcn_bench.commands.train import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
