"""Archives in object stores, against an S3 server of the loopback: the same bytes, the same resumption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exports import Export
from fcnrt.cli.main import main
from fcnrt.cluster import stores
from fcnrt.cluster.places import Place, readable
from fcnrt.errors import MediaError
from object_store import s3_server
from processes import run

NAME = "torchvision fcn"
KEYS = ("0.png", "a b/1#.png", "a b/2.png", "a b/film.mp4", "a b/notes.txt", "cut.png")


@pytest.fixture
def store(archive: Path) -> Iterator[Any]:
    """A bucket with some of the archive, in folders."""
    stores._store.cache_clear()
    with s3_server() as client:
        for key in KEYS:
            content = (archive / Path(key).name.replace("#", "")).read_bytes() if key[-1] != "t" else b"text"
            with client.open_output_stream(f"archive/in/{key}") as file:
                file.write(content)
        yield client
    stores._store.cache_clear()


def keys_below(client: Any, folder: str) -> dict[str, bytes]:
    import pyarrow.fs

    found = client.get_file_info(pyarrow.fs.FileSelector(folder, recursive=True, allow_not_found=True))
    files = [each.path for each in found if each.type == pyarrow.fs.FileType.File]
    return {path.removeprefix(f"{folder}/"): client.open_input_stream(path).readall() for path in files}


@pytest.mark.parametrize("content", [[], ["--labels"]], ids=["both", "labels"])
def test_a_store_gives_what_files_give(
    content: list[str], store: Any, exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, mirror = str(exported(NAME)), tmp_path / "mirror"
    for key, data in keys_below(store, "archive/in").items():
        (mirror / key).parent.mkdir(parents=True, exist_ok=True)
        (mirror / key).write_bytes(data)
    assert main(["batch", model, f"{mirror}/**/*", "-o", str(tmp_path / "expected"), "--workers", "1", *content]) == 1
    capsys.readouterr()
    command = ["batch", model, "s3://archive/in/**/*", "-o", str(tmp_path / "account"), "--workers", "1", *content]
    command += ["--store", "s3://archive/out/"]
    assert main(command) == 1
    ended = capsys.readouterr()
    assert "s3://archive/in/cut.png: cannot read this picture" in ended.err and "/tmp" not in ended.err
    assert "s3://archive/in: passed over 1, no pictures or videos: a b/notes.txt" in ended.err
    made = keys_below(store, "archive/out")
    kept = {path for path in (tmp_path / "expected").rglob("*") if path.is_file() and path.suffix in (".png", ".mp4")}
    assert made == {str(path.relative_to(tmp_path / "expected")): path.read_bytes() for path in kept}
    assert sorted(path.name for path in (tmp_path / "account").iterdir()) == ["manifest.jsonl", "table.parquet"]

    store.delete_file("archive/out/a b/2_labels.png")
    assert main(command) == 1
    assert "3 of 5 were there already" in capsys.readouterr().out
    assert keys_below(store, "archive/out") == made


def test_workers_of_ray_read_and_write_stores(store: Any, exported: Export, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'fcnrt[ray]'")
    command = ("batch", exported(NAME), "s3://archive/in/a b/*.png", "-o", "out", "--store", "s3://archive/out")
    ended = run("-m", "fcnrt", *command, "--labels", "--address", "local", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert list(keys_below(store, "archive/out")) == ["1#_labels.png", "2_labels.png"]


def test_what_is_found(store: Any) -> None:
    def found(pattern: str) -> list[str]:
        return [each.removeprefix("s3://archive/in/") for each in stores.find_stored(pattern).objects]

    assert found("s3://archive/in") == found("s3://archive/in/") == found("s3://archive/in/*") == ["0.png", "cut.png"]
    assert found("s3://archive/in/a b/1#.png") == ["a b/1#.png"]
    assert found("s3://archive/in/**/*.png") == ["0.png", "a b/1#.png", "a b/2.png", "cut.png"]
    assert found("s3://archive/in/a*/?.png") == ["a b/2.png"]
    assert stores.find_stored("s3://archive/in/0.png").root == "s3://archive/in"
    with pytest.raises(MediaError, match="s3://archive/none: no such object or folder"):
        found("s3://archive/none")
    assert stores.everything_below("s3://archive/in/a b") == {
        *(f"s3://archive/in/{key}" for key in KEYS if key.startswith("a b/")), "s3://archive/in/a b", "s3://archive/in"
    }  # fmt: skip


def test_buckets_that_are_not_there_and_anonymous_readers(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MediaError, match="s3://none/: no such object or folder"):
        stores.find_stored("s3://none/")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_NO_SIGN_REQUEST", "YES")
    stores._store.cache_clear()
    with readable("s3://archive/in/0.png") as copy:
        assert Path(copy).read_bytes() == keys_below(store, "archive/in")["0.png"]
    assert not Path(copy).exists()


@pytest.mark.parametrize("address", ["s3://", "s3:///key", "s3://key:secret@bucket/folder"])
def test_wrong_addresses_are_refused_without_their_secrets(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["batch", "model.onnx", "street.png", "-o", str(tmp_path / "out"), "--store", address])
    error = capsys.readouterr().err
    assert "expected s3://BUCKET/KEY; keys are taken from AWS_ACCESS_KEY_ID" in error and "secret" not in error


def test_an_output_that_was_not_finished_leaves_nothing(store: Any) -> None:
    with pytest.raises(ZeroDivisionError), Place("s3://archive/out/a.png") as place:
        place.part.write_bytes(b"half")
        raise ZeroDivisionError
    assert not keys_below(store, "archive/out") and not place.part.parent.exists()


def test_folders_of_labels_replace_what_was_there(store: Any) -> None:
    for names in (["0.png", "1.png"], ["0.png"]):
        with Place("s3://archive/out/film_labels") as place:
            place.part.mkdir()
            for name in names:
                (place.part / name).write_bytes(b"labels")
            place.finish()
    assert keys_below(store, "archive/out") == {"film_labels/0.png": b"labels"}
