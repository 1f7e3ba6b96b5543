"""Build a TensorRT engine from an exported ONNX file: a plain plan and, beside it, what must be known to run it."""

import sys

try:
    from fcn_export.commands.build_engine import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
