"""Archives: labels of `fcnrt segment`, damaged inputs as rows, runs that go on, workers that are killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.cli.main import main
from fcnrt.cluster.local import label_on_processes
from fcnrt.cluster.manifest import Manifest
from fcnrt.cluster.work import Item, Row, Settings
from fcnrt.errors import BackendError, MediaError
from fcnrt.pictures.reading import read_image

NAME = "torchvision fcn"


def missing_of(manifest: Manifest, items: list[Item]) -> list[Item]:
    """Those that no row says were done."""
    done = {*manifest.done()}
    return [item for item in items if item.source not in done]


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*_*")}


def test_batch_gives_what_segment_gives(
    exported: Export, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    model, out, expected = str(exported(NAME)), tmp_path / "out", tmp_path / "expected"
    assert main(["batch", model, str(archive), "-o", str(out), "--workers", "2"]) == 1
    assert "cut.png" in capsys.readouterr().err
    assert main(["segment", model, str(archive), "-o", str(expected), "--threads", "1"]) == 1
    names = sorted(path.name for path in expected.iterdir())
    assert len(names) == 11
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "manifest.jsonl", "table.parquet"])
    for name in names:
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name
    rows = {Path(row["path"]).name: row for row in parquet.read_table(out / "table.parquet").to_pylist()}
    assert rows["cut.png"]["error"] and not any(row["error"] for name, row in rows.items() if name != "cut.png")
    assert (rows["2.png"]["height"], rows["2.png"]["width"], rows["film.mp4"]["frames"]) == (49, 46, 3)
    assert sum(rows["2.png"][f"share: class {index}"] for index in range(7)) == pytest.approx(1, abs=1e-4)
    assert 1 / 7 <= rows["2.png"]["confidence"] <= 1


def test_a_second_run_does_what_is_missing(exported: Export, archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    model, out = str(exported(NAME)), tmp_path / "out"
    run = ["batch", model, str(archive / "[0-4].png"), "-o", str(out), "--workers", "1"]
    assert main(run) == 0
    before = times(out)
    (out / "2_labels.png").unlink()
    with (out / "manifest.jsonl").open("a") as manifest:
        manifest.write('{"path": "torn')
    assert main(run) == 0
    changed = {name for name, time in times(out).items() if before.get(name) != time}
    assert changed == {"2_labels.png", "2_overlay.png"}
    assert main(run) == 0 and main([*run, "--input-size", "40x40"]) == 0
    assert not before.items() & times(out).items()  # made with something else: all of it again


def test_other_inputs_of_the_same_name_are_others(
    exported: Export, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named from within their folders: neither taken for the ones before, nor put over their labels."""
    pytest.importorskip("pyarrow")
    run = ["batch", str(exported(NAME)), "cam.png", "-o", str(tmp_path / "out"), "--workers", "1", "--labels"]
    for day in ("1", "2"):
        (tmp_path / day).mkdir()
        shutil.copy(archive / f"{day}.png", tmp_path / day / "cam.png")
    monkeypatch.chdir(tmp_path / "1")
    assert main(run) == 0
    before = times(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "2")
    assert main(run) == 1 and times(tmp_path / "out") == before
    refused = f"{tmp_path}/2/cam.png: its outputs would replace those of {tmp_path}/1/cam.png in {tmp_path}/out; "
    assert f"{refused}give another folder, or both inputs at once" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main(["batch", run[1], "1/cam.png", "2/cam.png", *run[3:]]) == 0
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert found == {"cam_labels.png", "1/cam_labels.png", "2/cam_labels.png"}
    capsys.readouterr()
    assert main(["batch", run[1], "1/cam.png", *run[3:]]) == 0
    assert "1 of 1 were there already" in capsys.readouterr().out


def test_efficiency_is_told_of_one_segmenter_that_does_some_of_it(
    exported: Export, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    copies = [str(shutil.copy(archive / f"{index % 5}.png", tmp_path / f"{index}.png")) for index in range(24)]
    command = ["batch", str(exported(NAME)), *copies, "-o", str(tmp_path / "out"), "--workers", "2", "--labels"]
    assert main([*command, "--baseline", "10"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^24 inputs in .* s, 0 failed -> ", told) and "0 of 24 were there already" in told
    rows = [json.loads(line) for line in (tmp_path / "out/manifest.jsonl").read_text().splitlines()]
    alone = {row["worker"] for row in rows[:10]}
    assert len(alone) == 1 and alone.isdisjoint(row["worker"] for row in rows[10:])


def test_max_errors_and_other_folders(
    exported: Export, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    model = str(exported(NAME))
    run = ["batch", model, str(archive / "cut.png"), "-o"]
    assert main([*run, str(tmp_path / "out"), "--max-errors", "0"]) == 1
    assert "fcnrt: --max-errors 0: 1 inputs failed, 0 were done" in capsys.readouterr().err
    assert main([*run, str(archive)]) == 1
    assert f"-o {archive}: expected a new folder, or one of an earlier fcnrt batch" in capsys.readouterr().err


def test_outputs_that_cannot_be_and_lists_without_room(
    exported: Export, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "file").touch()
    run = ["batch", str(exported(NAME)), str(archive / "0.png"), "-o"]
    assert main([*run, f"{tmp_path}/file/out"]) == 1
    assert capsys.readouterr().err == f"fcnrt: -o {tmp_path}/file/out: cannot write there: Not a directory\n"
    for where in (f"{tmp_path}/file", f"{tmp_path}/new.v2", "s3://bucket/out"):
        with pytest.raises(SystemExit):
            main([*run, where])
        assert f"-o {where}: expected a folder of this machine" in capsys.readouterr().err
    monkeypatch.setattr("fcnrt.cli.archives._TABLE", "no room")
    assert main([*run, str(tmp_path / "out")]) == 1
    assert "cannot keep the list of inputs on the disk (" in capsys.readouterr().err


def items_of(archive: Path, out: Path, copies: int) -> list[Item]:
    items = []
    for index in range(copies):
        source = archive / f"{index % 5}.png"
        link = archive / f"link{index}.png"
        link.symlink_to(source)
        items.append(Item(str(link), ((str(out / f"{index}_labels.png"), "labels"),)))
    return items


def test_killed_workers_lose_nothing(exported: Export, archive: Path, tmp_path: Path) -> None:
    """Each row's worker is killed when its row comes, three times; every output is there once and whole."""
    out, settings = tmp_path / "out", Settings(exported(NAME))
    items, rows, kills = items_of(archive, out, 24), [], 3
    with Manifest(out, "x") as manifest:
        for row in label_on_processes(items, settings, workers=2, max_restarts=6):
            manifest.add(row)
            rows.append(row)
            if len(rows) % 6 == 0 and kills:
                kills -= 1
                os.kill(row.worker, signal.SIGKILL)
        assert not missing_of(manifest, items)
        with pytest.raises(MediaError, match="another run is writing there; wait for it"), Manifest(out, "x"):
            pass
    assert kills == 0 and len({row.path for row in rows}) == len(rows) == 24
    with fcnrt.Segmenter(exported(NAME), threads=1) as segment:
        for item in items:
            assert np.array_equal(fcnrt.read_labels(item.outputs[0][0]), segment(read_image(item.source)))
    assert len(list(out.iterdir())) == 25  # and nothing hidden


def test_workers_that_die_too_often_end_the_run(exported: Export, archive: Path, tmp_path: Path) -> None:
    items = items_of(archive, tmp_path / "out", 12)
    done = set()
    with pytest.raises(BackendError, match=r"workers died 1 times .* inputs are missing: run the same command again"):
        for row in label_on_processes(items, Settings(exported(NAME)), workers=1, max_restarts=0):
            done.add(row.path)
            os.kill(row.worker, signal.SIGKILL)
    rest = [item for item in items if item.source not in done]
    assert 0 < len(rest) < 12
    rows = list(label_on_processes(rest, Settings(exported(NAME)), workers=1))
    assert {row.path for row in rows} == {item.source for item in rest} and not any(row.error for row in rows)


RUN = """
import sys
from pathlib import Path
from fcnrt.cluster.local import label_on_processes
from fcnrt.cluster.work import Item, Settings

if __name__ == "__main__":
    model, out, *sources = sys.argv[1:]
    items = [Item(source, ((f"{out}/{index}_labels.png", "labels"),)) for index, source in enumerate(sources)]
    for row in label_on_processes(items, Settings(Path(model)), workers=2):
        print(row.worker, flush=True)
        sys.stdin.read()
"""


def test_workers_end_with_a_killed_parent(exported: Export, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(RUN)
    words = [tmp_path / "run.py", exported(NAME), tmp_path / "out", *archive.glob("[0-4].png")]
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *words], stdin=pipe, stdout=pipe, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert is_running(worker)
        parent.kill()
    while is_running(worker):  # the suite's own limit of time ends this where it does not
        time.sleep(0.05)


def is_running(process: int) -> bool:
    """Whether a process is there and no zombie, as it stays where nobody waits for orphans."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_a_worker_cannot_open_is_raised(tmp_path: Path) -> None:
    items = [Item("a.png", ((str(tmp_path / "a_labels.png"), "labels"),))]
    with pytest.raises(fcnrt.ModelFileError, match="no such file"):
        list(label_on_processes(items, Settings(tmp_path / "none.onnx"), workers=1))


def test_rows_are_json_lines(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("nonsense\n[1]\n{}\n")
    with Manifest(tmp_path, "x") as manifest:
        assert len(missing_of(manifest, [Item("a", ())])) == 1
        row = Row("a", 1, 5, 7, [1.0], 0.5, 0.1, 1e9, 1, "host", "")
        manifest.add(row)
        assert not missing_of(manifest, [Item("a", ())])
    last = json.loads((tmp_path / "manifest.jsonl").read_text().splitlines()[-1])
    assert last == {**asdict(row), "name": "", "made_with": "x"}
    with Manifest(tmp_path, "y") as manifest:
        assert len(missing_of(manifest, [Item("a", ())])) == 1


def test_what_is_missing_is_told(tmp_path: Path, hide_package: Any, capsys: pytest.CaptureFixture[str]) -> None:
    hide_package("pyarrow")
    assert main(["batch", "model.onnx", "street.png", "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(r"pyarrow is needed for this: .*\[batch\]'", error)
