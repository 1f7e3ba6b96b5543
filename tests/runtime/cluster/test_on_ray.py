"""A Ray cluster: labels of `fcnrt segment`, workers that are killed, errors in one line."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcnrt.cli.main import main
from fcnrt.cluster import knocking
from fcnrt.cluster.on_ray import Labeller
from fcnrt.cluster.work import Settings
from fcnrt.pictures.reading import read_image
from processes import run

pytest.importorskip("pyarrow")

NAME = "torchvision fcn"


def test_a_cluster_gives_what_segment_gives(
    ray_address: str, exported: Export, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet

    model, expected = str(exported(NAME)), tmp_path / "expected"
    command = ("-m", "fcnrt", "batch", model, "archive", "-o", "out", "--address", ray_address)
    ended = run(*command, folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == f"fcnrt: {archive}/cut.png: cannot read this picture: image file is truncated\n"
    assert re.search(r"^7 inputs in .* s, 1 failed -> out\n", ended.stdout)
    assert main(["segment", model, str(archive), "-o", str(expected), "--threads", "1"]) == 1
    names = sorted(path.name for path in expected.iterdir())
    assert len(names) == 11
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [*names, "manifest.jsonl", "table.parquet"]
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (expected / name).read_bytes(), name
    rows = {row["path"]: row for row in pyarrow.parquet.read_table(tmp_path / "out/table.parquet").to_pylist()}
    assert rows[f"{archive}/cut.png"]["error"] and rows[f"{archive}/film.mp4"]["frames"] == 3
    assert all(row["host"] and row["worker"] for row in rows.values())
    (tmp_path / "out/2_labels.png").unlink()
    again = run(*command, "--workers", "1", folder=tmp_path)
    assert again.stdout.startswith("2 inputs in ") and "5 of 7 were there already" in again.stdout
    assert (tmp_path / "out/2_labels.png").read_bytes() == (expected / "2_labels.png").read_bytes()


KILL = """
import contextlib, os, signal, sys
from pathlib import Path
from fcnrt.cluster import connection
from fcnrt.cluster.connection import connected, label_on_ray
from fcnrt.cluster.manifest import Manifest
from fcnrt.cluster.work import Item, Settings
from fcnrt.errors import BackendError

def missing_of(manifest, items):
    done = {*manifest.done()}
    return [item for item in items if item.source not in done or not os.path.exists(item.outputs[0][0])]

connection._MOST_BLOCKS, connection._BLOCKS, connection._USUAL_ROWS = 10, 4, 4  # so that there are two turns
address, model, count, kills, max_restarts = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
items = [Item(f"archive/link{index}.png", ((f"out/{index}_labels.png", "labels"),)) for index in range(count)]
with Manifest(Path("out"), "x") as manifest, connected(address):
    missing, done, killed = missing_of(manifest, items), 0, 0
    try:
        for row in label_on_ray(missing, Settings(model), 2, 1, None, max_restarts):
            manifest.add(row)
            done += 1
            if killed < kills and done > killed * len(missing) // (2 * kills):
                with contextlib.suppress(ProcessLookupError):  # a row of one that is gone already
                    os.kill(row.worker, signal.SIGKILL)
                    killed += 1
    except BackendError as error:
        print(error)
    print(len(missing), done, killed, len(missing_of(manifest, items)))
"""


def kill(folder: Path, address: str, model: Path, *numbers: int) -> list[str]:
    """Label `count` links in a process that kills workers `kills` times; the lines that it prints."""
    (folder / "kill.py").write_text(KILL)
    ended = run("kill.py", address, model, *map(str, numbers), folder=folder)
    assert not ended.stderr
    return ended.stdout.splitlines()


def test_killed_workers_lose_nothing(
    ray_address: str, exported: Export, archive: Path, tmp_path: Path, kills: int = 3, count: int = 64
) -> None:
    """Killed in their work, and more often than is allowed; then what is missing is done, and nothing else."""
    for index in range(count):
        (archive / f"link{index}.png").symlink_to(archive / f"{index % 5}.png")
    told, numbers = kill(tmp_path, ray_address, exported(NAME), count, 1, 0)
    assert re.match(r"a worker died more often than --max-restarts allows .*\d+ inputs are missing: run the same", told)
    _, done, killed, missing = map(int, numbers.split())
    assert killed == 1 and 0 < done < count and missing == count - done
    (numbers,) = kill(tmp_path, ray_address, exported(NAME), count, kills, kills)
    assert numbers == f"{missing} {missing} {kills} 0"
    with fcnrt.Segmenter(exported(NAME), threads=1) as segment:
        for index in range(count):
            labels = fcnrt.read_labels(tmp_path / f"out/{index}_labels.png")
            assert np.array_equal(labels, segment(read_image(archive / f"{index % 5}.png")))
    assert len(list((tmp_path / "out").iterdir())) == count + 1  # and nothing hidden


def test_what_a_worker_cannot_open_is_one_line(
    ray_address: str, exported: Export, archive: Path, tmp_path: Path
) -> None:
    command = ("-m", "fcnrt", "batch", exported(NAME), "archive", "-o", "out", "--address", ray_address)
    ended = run(*command, "--device", "cuda", folder=tmp_path)
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1 and ended.stderr.startswith("fcnrt: ")
    assert "cuda" in ended.stderr
    ended = run(*command, "--gpus-per-worker", "1", folder=tmp_path)
    assert ended.stderr == (
        "fcnrt: --gpus-per-worker 1: the cluster has 0; ask for less, or name --workers if it grows\n"
    )


@pytest.mark.parametrize("address", ["ray://127.0.0.1:9", "127.0.0.1:9", "nowhere"])
def test_other_addresses(address: str, exported: Export, archive: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="pip install 'fcnrt[ray]'")
    ended = run("-m", "fcnrt", "batch", exported(NAME), "archive", "-o", "out", "--address", address, folder=tmp_path)
    assert ended.returncode == 1 and ended.stderr.count("\n") == 1
    assert f"--address {address}: cannot connect to Ray there" in ended.stderr


@contextlib.contextmanager
def listening(kind: str) -> Iterator[int]:
    """A port of something else than Ray."""

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                held.append(connection)
                if kind == "http":
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                if kind == "hangs up":
                    connection.close()

    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    ("kind", "told"), [("http", "is not Ray"), ("hangs up", "is not Ray"), ("silent", "is silent for 0.2 s")]
)
def test_what_is_no_cluster_is_told_without_asking_ray(kind: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knocking, "_PATIENCE_S", 0.2)
    with listening(kind) as port, pytest.raises(OSError, match=f"what listens there {told}"):
        knocking.knock(f"127.0.0.1:{port}")


def test_a_cluster_answers(ray_address: str) -> None:
    knocking.knock(ray_address)


@pytest.mark.parametrize("address", ["nowhere", ":6379", "127.0.0.1:99999", "http://127.0.0.1/a:1", "::"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match=f"got {address}"):
        knocking.knock(address)


def test_another_model_on_a_host_is_refused(exported: Export) -> None:
    labeller = Labeller(Settings(exported(NAME)), "digest of another")
    with pytest.raises(fcnrt.ModelFileError, match="this host has another file there; copy one to all hosts"):
        labeller(None)


def test_room_is_kept_by_ray_alone(exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["batch", str(exported(NAME)), "street.png", "-o", str(tmp_path / "out"), "--gpus-per-worker", "1"])
    assert "--cpus-per-worker and --gpus-per-worker need --address" in capsys.readouterr().err


def test_ray_that_is_missing_is_told(
    hide_package: Any, exported: Export, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hide_package("ray")
    command = ["batch", str(exported(NAME)), str(archive), "-o", str(tmp_path / "out"), "--address", "local"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and re.search(r"ray is needed for this: .*\[ray\]'", error)
