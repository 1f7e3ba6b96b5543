"""Compile the GPU kernels ahead of time into records that a runtime without a compiler can launch."""

import sys

try:
    from fcn_export.commands.compile_kernels import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
