"""Write what a server needs to serve a model: a model repository of Triton, or configurations of DeepStream."""

import sys

try:
    from fcn_export.commands.to_server import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
