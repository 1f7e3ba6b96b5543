"""One page of everything that was measured: tables, plots, pictures of the worst frames, hardware, commands."""

import sys

try:
    from fcn_bench.commands.report import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
