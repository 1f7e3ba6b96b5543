"""Long films in pieces: what is made of them against what is made of the whole, with workers killed on the way."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clips import clip
from exports import Export
from fcnrt.cli.main import main
from fcnrt.cluster.films import FOLDER, Films
from fcnrt.cluster.local import divide_on_processes, label_on_processes
from fcnrt.cluster.work import Item, Row, Settings, Worker
from fcnrt.video import open_source
from processes import run

av = pytest.importorskip("av", reason="pip install 'fcnrt[video]'")
pytest.importorskip("pyarrow")

NAME = "torchvision fcn"
SIZE = (34, 46)


def street(folder: Path, **options: Any) -> Path:
    """Sixty frames with B-frames, an open GOP every twelve, and sound."""
    parameters = "open-gop=1:bframes=3:scenecut=0:keyint=12:min-keyint=12"
    coding = {"preset": "medium", "x264-params": parameters}
    folder.mkdir(exist_ok=True)
    return clip(
        folder / "street.mp4", frames=60, size=SIZE, options=coding, b_frames=3, audio_s=2.5, rotation=90, **options
    )


def packets(path: Path, kind: str) -> list[tuple[Any, ...]]:
    with av.open(str(path)) as container:
        (stream,) = getattr(container.streams, kind)
        facts = (stream.time_base, stream.start_time, stream.duration, stream.codec_context.extradata)
        size = 0 if kind == "video" else 1  # pictures are encoded otherwise where they begin a piece
        return [facts, *((each.pts, each.dts, each.size * size) for each in container.demux(stream) if each.size)]


def check_equal(made: Path, expected: Path) -> None:
    """Labels byte for byte; overlays with the times, sizes and sound of the whole, and close to its pictures."""
    names = sorted(path.name for path in (expected / "street_labels").iterdir())
    assert len(names) == 60 and names == sorted(path.name for path in (made / "street_labels").iterdir())
    for name in names:
        assert (made / "street_labels" / name).read_bytes() == (expected / "street_labels" / name).read_bytes()
    film, whole = made / "street_overlay.mp4", expected / "street_overlay.mp4"
    for kind in ("video", "audio"):
        assert packets(film, kind) == packets(whole, kind)
    pairs = list(zip(open_source(film), open_source(whole), strict=True))
    assert all(one.pixels.shape == other.pixels.shape and one.time == other.time for one, other in pairs)
    assert max(np.abs(one.pixels.astype(int) - other.pixels).mean() for one, other in pairs) < 8


def test_a_film_in_pieces_is_the_whole_film(
    exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet

    street(tmp_path / "films")
    model, out, expected = str(exported(NAME)), tmp_path / "out", tmp_path / "expected"
    command = ["batch", model, str(tmp_path / "films"), "--labels", "--overlay", "--workers", "2", "-o"]
    assert main([*command, str(out), "--piece-time", "0.6"]) == 0
    assert "1 inputs in " in capsys.readouterr().out
    assert main([*command, str(tmp_path / "as one"), "--piece-time", "1h"]) == 0
    both = ["--labels", "--overlay", "--threads", "1"]
    assert main(["segment", model, str(tmp_path / "films"), "-o", str(expected), *both]) == 0
    check_equal(out, expected)
    assert sorted(path.name for path in out.iterdir() if "street" not in path.name) == [
        "manifest.jsonl",
        "table.parquet",
    ]
    (row,), (whole,) = (
        pyarrow.parquet.read_table(folder / "table.parquet").to_pylist() for folder in (out, tmp_path / "as one")
    )
    assert row["seconds"] > 0 and {*row} == {*whole}
    for name in {*row} - {"seconds", "finished", "worker"}:
        assert row[name] == (pytest.approx(whole[name], abs=2e-6) if isinstance(row[name], float) else whole[name])


def in_pieces(films: Films, source: Path, out: Path) -> list[Item]:
    outputs: Any = ((str(out / "street_labels"), "labels"), (str(out / "street_overlay.mp4"), "overlay"))
    item = Item(str(source), outputs, is_film=True)
    ((same, pieces),) = divide_on_processes([item], 0.4, workers=1)
    assert same == item and len(pieces) == 5
    films.add(item, pieces)
    return list(films.in_pieces([item]))


def test_pieces_that_were_made_are_not_made_again(exported: Export, tmp_path: Path) -> None:
    """Workers are killed on the way, the run ends early, and another one goes on."""
    source, out, settings = street(tmp_path / "films"), tmp_path / "out", Settings(exported(NAME))
    pieces = in_pieces(Films(out, "x"), source, out)
    rows: list[Row] = []
    for row in label_on_processes(pieces[:3], settings, workers=2, max_restarts=2):
        rows.append(row)
        if len(rows) == 1:
            os.kill(row.worker, signal.SIGKILL)
    assert len(rows) == 3 and not any(row.error for row in rows)
    films = Films(out, "x")
    missing = in_pieces(films, source, out)
    assert missing == pieces[3:] and not list(films.complete())
    assert in_pieces(Films(out, "another model"), source, out) != pieces
    found = [each for row in label_on_processes(missing, settings, workers=1) for each in films.take(row)]
    (row,) = found
    assert (row.path, row.frames, row.error) == (str(source), 60, "") and not films.whole
    assert sorted(path.name for path in out.iterdir()) == [FOLDER, "street_labels", "street_overlay.mp4"]
    assert not list((out / FOLDER).iterdir())
    assert main(["segment", str(exported(NAME)), str(source), "-o", str(tmp_path / "expected"), "--labels",
                 "--overlay", "--threads", "1"]) == 0  # fmt: skip
    check_equal(out, tmp_path / "expected")


def test_what_an_earlier_run_made_all_pieces_of_is_put_together(exported: Export, tmp_path: Path) -> None:
    source, out, worker = street(tmp_path / "films"), tmp_path / "out", Worker(Settings(exported(NAME)))
    for item in in_pieces(Films(out, "x"), source, out):
        assert not worker.do(item).error
    worker.close()
    films = Films(out, "x")
    assert not in_pieces(films, source, out)
    (row,) = films.complete()
    assert row.frames == 60 and len(list((out / "street_labels").iterdir())) == 60


@pytest.mark.parametrize("content", ["labels", "overlay"])
def test_parts_that_were_damaged_make_no_film(content: str, exported: Export, tmp_path: Path) -> None:
    source, out, worker = street(tmp_path / "films"), tmp_path / "out", Worker(Settings(exported(NAME)))
    items = in_pieces(Films(out, "x"), source, out)
    for item in items:
        assert not worker.do(item).error
    worker.close()
    outputs = {content: Path(where) for where, content in items[1].outputs}
    damaged = outputs["overlay"] if content == "overlay" else outputs["labels"] / "000003.png"
    damaged.write_bytes(b"cut off") if content == "overlay" else damaged.unlink()
    films = Films(out, "x")
    assert not in_pieces(films, source, out) and not list(films.complete())
    ((item, reason),) = films.whole
    assert (item.source, item.piece) == (str(source), None) and str(out) in reason
    assert not (out / "street_overlay.mp4").exists() and not list(out.glob(".fcnrt-*"))


def test_a_full_disk_is_told_of_the_output_of_which_nothing_is_kept(exported: Export, tmp_path: Path) -> None:
    source, worker = street(tmp_path / "films"), Worker(Settings(exported(NAME)))
    item = Item(str(source), ((str(tmp_path / "out.mp4"), "overlay"),), is_film=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        row = worker.do(item)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        worker.close()
    assert row.error == f"{tmp_path}/out.mp4: File too large"
    assert [path.name for path in tmp_path.iterdir()] == ["films"]


def test_a_film_with_damage_is_labelled_as_a_whole(
    exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = street(tmp_path / "films")
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        hit = next(each for each in container.demux(video=0) if each.pts * each.time_base > 1 and each.size > 200)
    data[hit.pos + 8 : hit.pos + hit.size] = bytes(hit.size - 8)
    source.write_bytes(data)
    model, out, expected = str(exported(NAME)), tmp_path / "out", tmp_path / "expected"
    command = ["batch", model, str(source), "--labels", "--workers", "2", "-o", str(out), "--piece-time", "0.4"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert f"{source}: labelled as a whole: {source}: cannot be divided: " in told.err
    assert main(["segment", model, str(source), "-o", f"{expected}/", "--labels", "--threads", "1"]) == 0
    made = {path.name: path.read_bytes() for path in (out / "street_labels").iterdir()}
    assert made == {path.name: path.read_bytes() for path in (expected / "street_labels").iterdir()}
    assert len(made) > 30
    assert sorted(path.name for path in out.iterdir()) == ["manifest.jsonl", "street_labels", "table.parquet"]


def test_a_cluster_labels_films_in_pieces(ray_address: str, exported: Export, tmp_path: Path) -> None:
    street(tmp_path / "films")
    model, both = exported(NAME), ("--labels", "--overlay")
    command = ("batch", model, "films", "-o", "out", *both, "--piece-time", "0.6", "--address", ray_address)
    ended = run("-m", "fcnrt", *command, folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    expected = tmp_path / "expected"
    assert main(["segment", str(model), str(tmp_path / "films"), "-o", str(expected), *both, "--threads", "1"]) == 0
    check_equal(tmp_path / "out", expected)
