"""Compile the GPU kernels ahead of time into records that a runtime without a compiler can launch.

python export/compile_kernels.py -o runtime/fcnrt/gpu/packs
python export/compile_kernels.py -o kernels --sm 87 89

Needs Triton, but neither a GPU nor torch.
"""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fcnrt.contract.kernel_records import LABELS, upsampling_variant
from fcnrt.contract.precision import FLOATS
from fcnrt.errors import pip_install

from ..errors import ExportError

# Compute capabilities that Triton and its ptxas compile for: Turing to Blackwell. LLVM ends the process at others.
CAPABILITIES = (75, 80, 86, 87, 89, 90, 100, 103, 110, 120, 121)
SCORES = tuple(map(str, FLOATS))
MAX_SHARED_BYTES = 48 * 1024  # more would need an attribute set before the launch
# PTX kinds of Triton's argument types; pointers are addresses.
_PTX_KIND = {"i32": "u32", "i64": "u64", "fp32": "f32"}
# Triton appends the addresses of two scratch areas to every kernel's parameters; ours need none, the launcher sends 0.
_SCRATCH = ("u64", "u64")


@dataclass(frozen=True)
class Variant:
    """One kernel to compile: function of gpu_kernels.py, argument types in order, constants, threads."""

    kernel: str
    name: str
    parameters: tuple[str, ...]
    constants: dict[str, int]
    warps: int

    @property
    def tile(self) -> list[int]:
        """Rows and columns of pixels that one program serves."""
        return [self.constants.get("ROWS", 1), self.constants["COLS"]]


def compile_kernels(sms: Sequence[int], scores: str | None = None, labels: str | None = None) -> list[dict[str, Any]]:
    """Compile every kernel for some GPU generations.

    Args:
        sms: compute capabilities among CAPABILITIES, 89 for 8.9.
        scores: element type of the scores, "fp32" or "fp16"; None for both.
        labels: element type of the labels, "u8" or "u16"; None for both.

    Returns:
        Records as JSON objects, in the order of `sms`; the same bytes on every call. A record has `name`, `variant`,
        `sm`, `entry` (the cubin's symbol), `warps`, `shared_bytes`, `tile` (rows, columns of pixels per program),
        `parameters` (Triton's types of the arguments, which two null pointers follow) and `cubin` (base64).

    Raises:
        ExportError: Triton is missing, cannot compile for one of `sms`, or passes arguments in an unknown way.
    """
    _check_choices(sms, scores, labels)
    with _clean_triton():
        return [_record(variant, sm) for sm in sms for variant in _variants(scores, labels)]


def _variants(scores: str | None, labels: str | None) -> Iterator[Variant]:
    kinds = itertools.product((scores,) if scores else SCORES, (labels,) if labels else LABELS, (8, 1), (False, True))
    for kind in kinds:
        yield _upsample_argmax(*kind)
    bytes_, tables, strides, size = "*u8", ("*i32", "*fp32") * 2, ("i64", "i64"), ("i32", "i32")
    resize = (bytes_, bytes_, *tables, *size, *size, *strides, *size, "i32")
    yield Variant("resize", "u8", resize, {"COLS": 256}, warps=4)
    nv12 = (bytes_, bytes_, bytes_, *strides, *size, *("fp32",) * 6, "i32")
    yield Variant("nv12_to_rgb", "u8", nv12, {"COLS": 256}, warps=4)


def _upsample_argmax(scores: str, labels: str, rows: int, confidence: bool) -> Variant:
    name = upsampling_variant(scores, labels, rows, confidence)
    tables = ("*i32", "*fp32") * 2
    parameters = (f"*{scores}", f"*{labels}", "*u8", *tables, "*i32", "*i32", *("i32",) * 5)
    # One column per thread and warps side by side, so that the rows of a column are one thread's and share its reads.
    # Four classes in flight hide the latency of their reads; with the softmax there are registers for two.
    cols = 64 if rows > 1 else 128
    constants = {"ROWS": rows, "COLS": cols, "UNROLL": 2 if confidence else 4, "CONFIDENCE": int(confidence)}
    return Variant("upsample_argmax", name, parameters, constants, warps=cols // 32)


def _check_choices(sms: Sequence[int], scores: str | None, labels: str | None) -> None:
    unknown = [sm for sm in sms if sm not in CAPABILITIES]
    if unknown:
        known = ", ".join(map(str, CAPABILITIES))
        raise ExportError(f"sm: expected some of {known}, got {unknown[0]!r}; build for those, or with --tail graph")
    for name, choices, value in (("scores", SCORES, scores), ("labels", LABELS, labels)):
        if value is not None and value not in choices:
            raise ExportError(f"{name}: expected {' or '.join(choices)}, got {value!r}; leave it out for both")


@contextlib.contextmanager
def _clean_triton() -> Iterator[None]:
    """Triton without its cache in the user's home, and without this machine's paths in what it writes."""
    with tempfile.TemporaryDirectory(prefix="fcnrt-triton-") as cache:
        settings = {"TRITON_CACHE_DIR": cache, "TRITON_DISABLE_LINE_INFO": "1"}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield
        finally:
            os.environ.update({name: value for name, value in before.items() if value is not None})
            for name in (name for name, value in before.items() if value is None):
                del os.environ[name]


def _record(variant: Variant, sm: int) -> dict[str, Any]:
    compiled = _compiled(variant, sm)
    metadata = compiled.metadata
    _check_launch(compiled, variant)
    return {
        "name": variant.kernel,
        "variant": variant.name,
        "sm": sm,
        "entry": metadata.name,
        "warps": metadata.num_warps,
        "shared_bytes": metadata.shared,
        "tile": variant.tile,
        "parameters": list(variant.parameters),
        "cubin": base64.b64encode(compiled.asm["cubin"]).decode("ascii"),
    }


def _compiled(variant: Variant, sm: int) -> Any:
    """The compiled kernel, as Triton's CompiledKernel."""
    triton, function = _triton_function(variant.kernel)
    names = function.arg_names
    types = (*variant.parameters, *("constexpr",) * len(variant.constants))
    source = triton.compiler.ASTSource(
        fn=function,
        signature=dict(zip(names, types, strict=True)),
        constexprs={(names.index(name),): value for name, value in variant.constants.items()},
    )
    target = triton.backends.compiler.GPUTarget("cuda", sm, 32)
    # Fusion would leave it to each generation's compiler which products are rounded before they are added.
    # Stages are Triton's copies through shared memory for matrix products, of which there are none here.
    options = {"num_warps": variant.warps, "num_stages": 1, "enable_fp_fusion": False}
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # at an error Triton prints the whole assembly
            return triton.compile(source, target=target, options=options)
    except Exception as error:  # Triton's errors have no common base
        reason = next((line for line in str(error).splitlines() if "fatal" in line or "error" in line), repr(error))
        raise ExportError(
            f"triton {triton.__version__} cannot compile {variant.kernel} {variant.name} for sm_{sm} "
            f"({reason.strip()}); leave this capability out, or build with --tail graph"
        ) from error


def _triton_function(name: str) -> tuple[Any, Any]:
    try:
        import triton
        import triton.backends.compiler
        import triton.compiler
    except ImportError as error:
        raise ExportError(
            f"triton, which compiles the GPU kernels, cannot be imported ({error}); {pip_install('triton')}, "
            "or build with --tail graph"
        ) from error
    from . import gpu_kernels

    function = getattr(gpu_kernels, name)
    if not isinstance(function, triton.JITFunction):
        raise ExportError("TRITON_INTERPRET is set, which compiles nothing; unset it")
    return triton, function


def _check_launch(compiled: Any, variant: Variant) -> None:
    """See that the launcher's convention is this Triton's: parameters, threads, no scratch memory to allocate.

    Raises:
        ExportError: it is not.
    """
    metadata, assembly = compiled.metadata, compiled.asm["ptx"]
    header = assembly[assembly.index(".entry") :].split("{")[0]
    kinds = ["u64" if kind.startswith("*") else _PTX_KIND[kind] for kind in variant.parameters]
    scratch = [getattr(metadata, name, None) for name in ("global_scratch_size", "profile_scratch_size")]
    checks = (
        ("parameters", re.findall(r"\.param \.(\w+)", header), [*kinds, *_SCRATCH]),
        ("entry", re.findall(r"\.entry (\w+)", header), [metadata.name]),
        ("threads", re.findall(r"\.reqntid (\d+)", header), [str(metadata.num_warps * 32)]),
        ("scratch bytes", scratch, [0, 0]),
        ("blocks per cluster", metadata.num_ctas, 1),
        ("shared bytes beyond the default", max(0, metadata.shared - MAX_SHARED_BYTES), 0),
    )
    for what, found, expected in checks:
        if found != expected:
            raise ExportError(
                f"triton compiles {variant.kernel} {variant.name} with other {what} than the launcher expects: "
                f"expected {expected}, got {found}; install triton 3.8, or build with --tail graph"
            )
