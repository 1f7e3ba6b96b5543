"""The programs in examples/, run as a reader would run them."""

from __future__ import annotations

import importlib.util
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import fcnrt
import processes
from exports import Export
from fcnrt.video import open_source
from places import EXAMPLES

ON_CPU = ("file_to_file.py", "photograph.py", "share_alarm.py", "torch_pipeline.py")
ON_GPU = ("nvdec_to_nvenc.py", "pycuda_pipeline.py")  # in tests/gpu/test_real_examples.py
ON_SERVERS = ("triton_client.py",)  # needs a tritonserver: by hand, see docs/servers.md
ON_RAY = ("cluster.py", "serve_cluster.py")
DEMO = ("demo.py", "demo_training.py")  # each has a file of tests beside this one
CLIP = "test:46x65@12.5*8"


@pytest.fixture
def model(exported: Export) -> str:
    return str(exported("torchvision fcn"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    with open_source(CLIP) as source, fcnrt.video.VideoWriter(path, source.rate, source.size, exact=True) as writer:
        for frame in source:
            writer.write(frame.pixels, frame.time)
    return path


def run(example: str, *arguments: object) -> str:
    command = [sys.executable, EXAMPLES / example, *arguments]
    environment = {"PYTHONPATH": str(Path(fcnrt.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=True, env=environment
    ).stdout


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_every_example_is_run_here_or_on_a_gpu() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(ON_CPU + ON_GPU + ON_SERVERS + ON_RAY + DEMO)


@pytest.mark.parametrize("example", ON_CPU + ON_GPU)
def test_without_arguments_an_example_says_how_it_is_called(example: str, tmp_path: Path) -> None:
    done = processes.run(EXAMPLES / example, folder=tmp_path)
    assert (
        done.returncode == 1 and f"python examples/{example} model." in done.stderr and "Traceback" not in done.stderr
    )


@pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed")
def test_photograph(model: str, tmp_path: Path) -> None:
    printed = run("photograph.py", model, tmp_path / "photograph.png").splitlines()
    shares = [float(line.split("%")[0]) for line in printed[:-1]]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(100, abs=0.5)
    with Image.open(tmp_path / "photograph.png") as made:
        assert made.width >= 3 * 640 and made.height > 427


def test_photograph_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps scikit-learn"):
        runpy.run_path(str(EXAMPLES / "photograph.py"))["photograph"]()


def test_file_to_file(model: str, clip: Path, tmp_path: Path) -> None:
    printed = run("file_to_file.py", model, clip, tmp_path / "overlay.mp4")
    assert "8 frames in " in printed and "write " in printed
    times = [time for time, _ in frames_of(tmp_path / "overlay.mp4")]
    assert times == pytest.approx([index / 12.5 for index in range(8)])


def test_share_alarm(model: str, clip: Path) -> None:
    with fcnrt.Segmenter(model) as segmenter, open_source(clip) as source:
        shares = [np.mean(segmenter(frame.pixels) == 0) for frame in source]
    limit = (min(shares) + max(shares)) / 2
    above = [False, *(share > limit for share in shares)]
    expected = [now for before, now in pairwise(above) if now != before]
    lines = run("share_alarm.py", model, clip, "class 0", limit).splitlines()
    assert expected and [("ALARM" in line) for line in lines] == expected


def test_torch_pipeline(model: str, clip: Path, tmp_path: Path) -> None:
    run("torch_pipeline.py", model, clip, "class 0", tmp_path / "keep.mkv")
    with fcnrt.Segmenter(model) as segmenter:
        for (_, given), (_, made) in zip(frames_of(clip), frames_of(tmp_path / "keep.mkv"), strict=True):
            grey = np.ptp(made[: given.shape[0], : given.shape[1]].astype(int), axis=2) < 24
            other = segmenter(given) != 0
            assert other.any() and grey[other].mean() > 0.9


def test_cluster(ray_address: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_address)
    (tmp_path / "pictures").mkdir()
    random = np.random.default_rng(0)
    for index in range(3):
        pixels = random.integers(0, 256, (33, 46 + index, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"pictures/{index}.png")
    done = processes.run(EXAMPLES / "cluster.py", model, "pictures", "labelled", "--share", "3", folder=tmp_path)
    shares = {}
    with fcnrt.Segmenter(model, threads=1) as segment:
        for index in range(3):
            labels = segment(np.array(Image.open(tmp_path / f"pictures/{index}.png")))
            assert np.array_equal(fcnrt.read_labels(tmp_path / f"labelled/{index}.png"), labels)
            shares[f"{index}.png"] = (labels == 3).mean()
    printed = [line.split() for line in done.stdout.splitlines() if ".png" in line]
    assert [Path(name).name for _, name in printed] == sorted(shares, key=lambda name: -shares[name])
    assert {Path(name).name: float(share) for share, name in printed} == pytest.approx(shares, abs=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="no Ray Serve: pip install 'ray[serve]'")
def test_serve_cluster(ray_address: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_address)
    pixels = np.random.default_rng(0).integers(0, 256, (33, 46, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "street.png")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, EXAMPLES / "serve_cluster.py", model, "--port", str(port)]
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=tmp_path, stdout=silent, stderr=silent) as server:
        answer = when_it_serves(f"http://127.0.0.1:{port}/segment", (tmp_path / "street.png").read_bytes())
        server.send_signal(signal.SIGINT)
    (tmp_path / "labels.png").write_bytes(answer)
    with fcnrt.Segmenter(model, threads=1) as segment:
        assert np.array_equal(fcnrt.read_labels(tmp_path / "labels.png"), segment(pixels))


def when_it_serves(address: str, body: bytes) -> bytes:
    """What is answered, once the server answers; the suite's own limit of time ends this where it does not."""
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, body)) as answer:
                return answer.read()
        except OSError:
            time.sleep(0.5)
