"""Ahead-of-time compilation for every GPU generation: no GPU, no torch, the same bytes again, what a launcher needs."""

from __future__ import annotations

import base64
import collections
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fcn_export.errors import ExportError
from fcn_export.kernels import compiling as compiler

Record = dict[str, Any]
# What export/engine sidecars and packs promise to the runtime.
KEYS = {"name", "variant", "sm", "entry", "warps", "shared_bytes", "tile", "parameters", "cubin"}
POINTERS = ["*i32", "*fp32", "*i32", "*fp32"]
PARAMETERS = {
    "upsample_argmax": ["*fp16", "*u8", "*u8", *POINTERS, "*i32", "*i32", *["i32"] * 5],
    "resize": ["*u8", "*u8", *POINTERS, *["i32"] * 4, "i64", "i64", *["i32"] * 3],
    "nv12_to_rgb": ["*u8", "*u8", "*u8", "i64", "i64", "i32", "i32", *["fp32"] * 6, "i32"],
}


@pytest.fixture(scope="module")
def engine_records() -> dict[int, list[Record]]:
    """What an engine with float16 scores and up to 256 classes carries, for every generation."""
    records = compiler.compile_kernels(compiler.CAPABILITIES, scores="fp16", labels="u8")
    by_sm: dict[int, list[Record]] = collections.defaultdict(list)
    for record in records:
        by_sm[record["sm"]].append(record)
    return by_sm


def elf_sm(cubin: bytes) -> int:
    """The compute capability in an ELF header; its place in the flags moved with the ABI of CUDA 13."""
    assert cubin[:4] == b"\x7fELF" and struct.unpack_from("<H", cubin, 18)[0] == 190  # EM_CUDA
    (flags,) = struct.unpack_from("<I", cubin, 48)
    return flags >> 8 & 0xFF if cubin[8] >= 8 else flags & 0xFF


def test_capabilities_span_turing_to_blackwell() -> None:
    assert {75, 80, 86, 87, 89, 90, 100, 120} <= set(compiler.CAPABILITIES)


@pytest.mark.parametrize("sm", compiler.CAPABILITIES)
def test_engine_records(sm: int, engine_records: dict[int, list[Record]]) -> None:
    records = engine_records[sm]
    variants = ["fp16-u8-rows8", "fp16-u8-rows8-confidence", "fp16-u8-rows1", "fp16-u8-rows1-confidence", "u8", "u8"]
    assert [record["variant"] for record in records] == variants
    for record in records:
        cubin = base64.b64decode(record["cubin"], validate=True)
        assert record.keys() == KEYS and elf_sm(cubin) == sm
        assert record["parameters"] == PARAMETERS[record["name"]]
        assert b".text." + record["entry"].encode() in cubin
        assert record["warps"] in (1, 2, 4, 8) and record["shared_bytes"] == 0
        assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("sm", compiler.CAPABILITIES)
def test_kernels_stay_in_registers(sm: int, engine_records: dict[int, list[Record]], tmp_path: Path) -> None:
    triton = pytest.importorskip("triton")
    for record in engine_records[sm]:
        path = tmp_path / "kernel.cubin"
        path.write_bytes(base64.b64decode(record["cubin"]))
        usage = subprocess.run(
            [triton.knobs.nvidia.cuobjdump.path, "-res-usage", path], capture_output=True, text=True, check=True
        ).stdout
        found = dict(re.findall(r"(REG|STACK|LOCAL|SHARED):(\d+)", usage))
        assert int(found.pop("REG")) <= 64 and set(found.values()) == {"0"}, (record["variant"], usage)


def test_tile_is_what_one_program_serves(engine_records: dict[int, list[Record]]) -> None:
    tiles = {record["variant"]: record["tile"] for record in engine_records[90]}
    assert tiles["fp16-u8-rows8"][0] == 8 and tiles["fp16-u8-rows1"][0] == 1 and tiles["u8"][0] == 1


def test_rows_of_a_band_share_their_reads() -> None:
    """Four reads per class and thread, whatever the number of rows; nothing passes between threads."""
    (variant,) = (found for found in compiler._variants("fp16", "u8") if found.name == "fp16-u8-rows8")
    with compiler._clean_triton():
        assembly = compiler._compiled(variant, 80).asm["ptx"]
    copies_of_the_loop = variant.constants["UNROLL"] + 1  # and one for the classes left over
    assert assembly.count("ld.global.b16") == 4 * copies_of_the_loop
    assert assembly.count("max.f32") == 8 * copies_of_the_loop
    assert not re.search(r"shfl|bar\.sync|\.shared", assembly)


def test_every_variant_is_in_a_pack_and_a_fresh_process_makes_the_same_without_torch(
    engine_records: dict[int, list[Record]], tmp_path: Path
) -> None:
    code = (
        "import sys; from fcn_export.commands import compile_kernels\n"
        f"assert compile_kernels.main(['-o', {str(tmp_path / 'pack')!r}, '--sm', '89']) == 0\n"
        "assert 'triton' in sys.modules\n"
        "assert not {'torch', 'onnx', 'tensorrt'} & sys.modules.keys()\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TRITON_DEFAULT_FP_FUSION": "1"}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    (path,) = (tmp_path / "pack").iterdir()
    assert path.name == "sm_89.json" and re.fullmatch(rf"{path}  18 kernels, \d+ kB\n", run.stdout)
    records = json.loads(path.read_text())
    kinds = {
        f"{scores}-{labels}-rows{rows}" for scores in ("fp32", "fp16") for labels in ("u8", "u16") for rows in (8, 1)
    }
    assert [record["variant"] for record in records if record["name"] == "resize"] == ["u8"]
    assert {record["variant"] for record in records} == kinds | {f"{kind}-confidence" for kind in kinds} | {"u8"}
    here = engine_records[89]
    assert here == [record for record in records if record["variant"] in {made["variant"] for made in here}]


def test_cubins_tell_nothing_of_this_machine(engine_records: dict[int, list[Record]]) -> None:
    for record in (record for records in engine_records.values() for record in records):
        cubin = base64.b64decode(record["cubin"])
        assert b".py" not in cubin and os.fsencode(Path.home()) not in cubin and b"/tmp" not in cubin


def test_environment_and_cache_of_the_user_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("TRITON_DISABLE_LINE_INFO", raising=False)
    before = dict(os.environ)
    monkeypatch.setattr(compiler, "_variants", lambda scores, labels: list(all_variants(scores, labels))[-1:])
    assert [record["name"] for record in compiler.compile_kernels([75])] == ["nv12_to_rgb"]
    assert dict(os.environ) == before and not (tmp_path / "cache").exists()


all_variants = compiler._variants


@pytest.mark.parametrize(
    "arguments, text",
    [
        (([70],), r"sm: expected some of 75, 80, .*, got 70; .*--tail graph"),
        (([89, 88],), r"sm: expected some of .*, got 88"),
        ((["89"],), r"sm: expected some of .*, got '89'"),
        (([89], "fp64"), r"scores: expected fp32 or fp16, got 'fp64'"),
        (([89], "fp16", "u32"), r"labels: expected u8 or u16, got 'u32'"),
    ],
)
def test_wrong_choices_are_refused(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ExportError, match=text):
        compiler.compile_kernels(*arguments)


def test_missing_triton_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(
        ExportError, match=r"triton.*cannot be imported.*pip install triton, or build with --tail graph"
    ):
        compiler.compile_kernels([89])


def test_interpreted_kernels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from fcn_export.kernels import gpu_kernels

    monkeypatch.setattr(gpu_kernels, "upsample_argmax", lambda: None)
    with pytest.raises(ExportError, match="TRITON_INTERPRET is set"):
        compiler.compile_kernels([89], "fp16", "u8")


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("_SCRATCH", ("u64",), r"other parameters .* expected .*'u64', 'u64'\]; install triton"),
        ("_PTX_KIND", {"i32": "u64", "i64": "u64", "fp32": "f32"}, "other parameters"),
    ],
)
def test_another_calling_convention_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: Any, text: str
) -> None:
    monkeypatch.setattr(compiler, name, value)
    with pytest.raises(ExportError, match=text):
        compiler.compile_kernels([89], "fp16", "u8")


@pytest.mark.parametrize(
    "field, value, text", [("global_scratch_size", 64, "scratch bytes"), ("num_ctas", 2, "cluster")]
)
def test_needs_that_the_launcher_does_not_serve_are_refused(
    monkeypatch: pytest.MonkeyPatch, field: str, value: int, text: str
) -> None:
    compiled = compiler._compiled

    def changed(*arguments: Any) -> Any:
        kernel = compiled(*arguments)
        kernel.metadata = kernel.metadata._replace(**{field: value})
        return kernel

    monkeypatch.setattr(compiler, "_compiled", changed)
    with pytest.raises(ExportError, match=text):
        compiler.compile_kernels([89], "fp16", "u8")
