"""Do exported models label as their checkpoint does? A gate with an exit status, and a certificate in the file."""

import sys

try:
    from fcn_bench.commands.parity import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
