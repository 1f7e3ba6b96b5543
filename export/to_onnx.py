"""Export a trained FCN checkpoint to one self-contained ONNX file: uint8 frames in, uint8 labels out."""

import sys

try:
    from fcn_export.commands.to_onnx import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing}; run `make install` in the clone, then .venv/bin/python {__file__}")


if __name__ == "__main__":
    sys.exit(main())
