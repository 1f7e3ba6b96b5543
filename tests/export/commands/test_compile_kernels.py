"""The command that compiles kernels into packs, and what it says when it cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fcn_export.commands import compile_kernels


def test_failure_of_the_compiler_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import triton

    def fail(*_: Any, **__: Any) -> None:
        print("the whole assembly")
        raise RuntimeError("PTXAS error: codegen\n`ptxas` stderr:\nptxas fatal   : Value 'sm_89' is not defined\nRepro")

    monkeypatch.setattr(triton, "compile", fail)
    assert compile_kernels.main(["-o", "nowhere", "--sm", "89"]) == 1
    output = capsys.readouterr()
    assert output.out == "" and len(output.err.splitlines()) == 1
    assert re.search(r"cannot compile upsample_argmax \S+ for sm_89 \(.*\); leave .* --tail graph", output.err)
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("arguments", [["--sm", "89"], ["-o", "x", "--sm", "88"], ["-o", "x", "--sm"]])
def test_wrong_arguments_end_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        compile_kernels.main(arguments)
    assert end.value.code == 2


def test_output_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compile_kernels, "compile_kernels", lambda sms: [])
    (tmp_path / "file").write_text("")
    assert compile_kernels.main(["-o", str(tmp_path / "file/folder"), "--sm", "89"]) == 1
    assert capsys.readouterr().err.startswith("compile_kernels: ")
