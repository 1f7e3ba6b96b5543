"""A live playlist: its segments play, old ones go, a restart continues it, other people's are left alone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from fcnrt.errors import MediaError
from fcnrt.pictures.drawing import Drawing
from fcnrt.pictures.palette import voc_palette
from fcnrt.video.frames import Frame, Labelled
from fcnrt.video.sinks.hls import HlsVideo
from fcnrt.video.sources.generated import Generated, read_stamp

SIZE = (98, 134)
LIVE = SimpleNamespace(name="here", live=True, rate=Fraction(5))


def write(path: Path, seconds: int) -> None:
    """Five frames a second, which carry their numbers."""
    sink = HlsVideo(path, LIVE, Drawing(voc_palette(21), 0.2))
    for made in Generated(f"test:{SIZE[0]}x{SIZE[1]}@5*{5 * seconds}"):
        frame = Frame(made.pixels, made.time, made.number, 0.0)
        sink.write(sink.draw(Labelled(frame, np.zeros(SIZE, np.uint8))))
    sink.close()
    sink.close()


def segments(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("name", ["live.m3u8", "camera:0 50%d.m3u8"])
def test_the_last_segments_play_and_others_are_gone(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, 30)
    listed = segments(path)
    assert listed == [f"{path.stem.replace('%', '_')}_{number:06d}.ts" for number in range(9, 15)]
    assert sorted(file.name for file in tmp_path.glob("*.ts"))[-6:] == listed and len(list(tmp_path.glob("*.ts"))) == 7
    with av.open(str(tmp_path / listed[0])) as container:
        numbers = [read_stamp(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert numbers == list(range(90, 100))


def test_a_restart_continues_the_playlist(tmp_path: Path) -> None:
    path = tmp_path / "live.m3u8"
    write(path, 4)
    write(path, 4)
    assert segments(path) == [f"live_{number:06d}.ts" for number in range(4)]
    assert "#EXT-X-DISCONTINUITY" in path.read_text()


def test_the_playlist_of_others_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "live.m3u8"
    path.write_text("#EXTM3U\n#EXTINF:2.0,\nprecious.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "precious.ts").touch()
    with pytest.raises(MediaError, match=r"live\.m3u8: expected a playlist of this program, or none"):
        HlsVideo(path, LIVE, Drawing(voc_palette(21)))
    assert (tmp_path / "precious.ts").exists() and "precious" in path.read_text()


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"live\.m3u8: cannot write: no such folder"):
        write(tmp_path / "none/live.m3u8", 1)


def test_no_frame_no_file(tmp_path: Path) -> None:
    HlsVideo(tmp_path / "live.m3u8", LIVE, Drawing(voc_palette(21))).close()
    assert list(tmp_path.iterdir()) == []
