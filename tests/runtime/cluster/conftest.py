"""What the tests of archives share."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Pictures of several sizes, one of them cut off, and a film."""
    folder = tmp_path / "archive"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(5):
        size = (33 + 8 * index, 46, 3)
        cv2.imwrite(str(folder / f"{index}.png"), random.integers(0, 256, size, dtype=np.uint8))
    (folder / "cut.png").write_bytes((folder / "4.png").read_bytes()[:300])
    film = cv2.VideoWriter(str(folder / "film.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 48))
    for _ in range(3):
        film.write(random.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    film.release()
    return folder
