"""Measure what slips in preparing frames by hand cost in mean IoU."""

import sys

try:
    from fcn_bench.commands.five_lines import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
