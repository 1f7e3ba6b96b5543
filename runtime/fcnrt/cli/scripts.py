"""The commands whose work is another package's: the same parser and function as the script of that name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from ..errors import one_line, pip_install

SCRIPTS = {  # command: (module, extra that it needs, what it does)
    "export": ("fcn_export.commands.to_onnx", "export", "make a checkpoint an ONNX file"),
    "build": ("fcn_export.commands.build_engine", "engine", "make an ONNX file a TensorRT engine"),
    "server-config": ("fcn_export.commands.to_server", "cpu", "write what Triton or DeepStream needs to serve a model"),
    "train": ("fcn_bench.commands.train", "bench", "train an FCN of any family"),
    "parity": ("fcn_bench.commands.parity", "bench", "hold models against their checkpoint"),
    "bench": ("fcn_bench.commands.latency", "bench", "time a model beside other engines"),
    "report": ("fcn_bench.commands.report", "bench", "make one page of all results"),
}


def run_script(command: str, words: Sequence[str]) -> int:
    """Run a command with its own arguments; the status is the script's."""
    module, extra, _ = SCRIPTS[command]
    program = f"fcnrt {command}"
    try:
        main = importlib.import_module(module).main
    except ModuleNotFoundError as missing:
        print(f"{program}: needs {one_line(missing.name)}: {pip_install(f'fcnrt[{extra}]')}", file=sys.stderr)
        return 1
    return int(main(list(words), program))
