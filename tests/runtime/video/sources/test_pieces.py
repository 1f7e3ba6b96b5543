"""Films in pieces: the frames of all pieces, one after the other, against those of the whole."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from clips import clip
from fcnrt.errors import MediaError
from fcnrt.video import open_source
from fcnrt.video.sources.pieces import Piece, PieceReader, divide

OPEN_GOP = {
    "preset": "medium",
    "x264-params": "open-gop=1:bframes=3:b-pyramid=normal:scenecut=0:keyint=12:min-keyint=12",
}
CRA = {"x265-params": "log-level=none:pools=1:frame-threads=1:open-gop=1:bframes=3:scenecut=0:keyint=12:min-keyint=12"}
CLOSED = {"x264-params": "bframes=3:scenecut=0:keyint=12:min-keyint=12"}
UNEVEN = [Fraction(n * n % 7 + 40 * n, 1000) for n in range(60)]

INTERLACED = {"codec": "mpeg2video", "options": {"flags": "+ildct+ilme", "field_order": "tt", "top": "1"}}

FILMS: dict[str, tuple[str, dict[str, Any]]] = {
    "all closed": ("a.mp4", {}),
    "b-frames": ("a.mp4", {"options": CLOSED, "b_frames": 3}),
    "open gop": ("a.mp4", {"options": OPEN_GOP, "b_frames": 3}),
    "open gop, mkv": ("a.mkv", {"options": OPEN_GOP, "b_frames": 3}),
    "open gop, ts": ("a.ts", {"options": OPEN_GOP, "b_frames": 3}),
    "hevc, open gop": ("a.mp4", {"codec": "hevc", "options": CRA, "b_frames": 3}),
    "hevc, open gop, mkv": ("a.mkv", {"codec": "hevc", "options": CRA, "b_frames": 3}),
    "vp9": ("a.webm", {"codec": "vp9"}),
    "mpeg2, b-frames": ("a.mpg", {"codec": "mpeg2video", "b_frames": 2}),
    "mpeg4": ("a.avi", {"codec": "mpeg4"}),
    "jpegs": ("a.mov", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
    "uneven": ("a.mp4", {"times": UNEVEN, "options": CLOSED, "b_frames": 3}),
    "uneven, mkv": ("a.mkv", {"times": UNEVEN}),
    "fragments": ("a.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "turned": ("a.mp4", {"rotation": 90}),
    "late": ("a.mp4", {"times": [5 + Fraction(n, 25) for n in range(60)], "audio_s": 2.0}),
    "with sound": ("a.mkv", {"audio_s": 2.5}),
}  # fmt: skip


def film(folder: Path, kind: str) -> Path:
    name, options = FILMS[kind]
    return clip(folder / name, frames=60, **options)


def frames(source: Any) -> list[Any]:
    with source:
        return list(source)


def pieced(path: Path, pieces: Iterable[Piece]) -> list[Any]:
    return [frame for piece in pieces for frame in frames(PieceReader(path, piece))]


def same(one: Any, other: Any) -> bool:
    return (one.number, one.time) == (other.number, other.time) and np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("kind", FILMS)
def test_pieces_have_the_frames_of_the_whole(kind: str, tmp_path: Path) -> None:
    path = film(tmp_path, kind)
    pieces, whole = divide(path, 0.6), frames(open_source(path))
    assert len(pieces) >= 3 and sum(piece.frames for piece in pieces) == len(whole) == 60
    assert all(same(*pair) for pair in zip(pieced(path, pieces), whole, strict=True))


def remuxed(path: Path, *sources: Path, start_s: float = 0, keys_left_out: int = 0) -> Path:
    """The same packets, one film behind the other; what comes before time 0 is hidden by an edit list."""
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as new:
        for source in sources:
            with av.open(str(source)) as old:
                stream = new.streams.video[0] if new.streams else new.add_stream_from_template(old.streams.video[0])
                packets = [packet for packet in old.demux(video=0) if packet.size]
                keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
                packets = packets[keys[keys_left_out] :]
                shift = round(start_s / packets[0].time_base) - packets[0].pts
                for packet in packets:
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    new.mux(packet)
            start_s += len(packets) / 25
    return path


def test_a_film_that_begins_in_an_open_gop(tmp_path: Path) -> None:
    """Its first pictures need some that are not there."""
    source = clip(tmp_path / "a.ts", frames=60, options=OPEN_GOP, b_frames=3)
    path = remuxed(tmp_path / "cut.ts", source, keys_left_out=1, start_s=1)
    pieces, whole = divide(path, 0.6), frames(open_source(path))
    assert len(pieces) == 2 and 0 < len(whole) <= 48
    assert all(same(*pair) for pair in zip(pieced(path, pieces), whole, strict=True))


def test_key_frames_from_which_nobody_can_start_are_told(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mkv", frames=60, options={"x264-params": "intra-refresh=1:keyint=12"})
    with pytest.raises(MediaError, match=r"cannot be divided: \d+ pictures in place of \d+"):
        pieced(path, divide(path, 0.6))


def test_an_edit_list_hides_frames_in_pieces_too(tmp_path: Path) -> None:
    source = clip(tmp_path / "a.mp4", frames=60, options=OPEN_GOP, b_frames=3)
    path = remuxed(tmp_path / "hidden.mp4", source, start_s=-0.3)
    pieces, whole = divide(path, 0.6), frames(open_source(path))
    assert len(pieces) >= 3 and 50 < len(whole) < 60
    assert all(same(*pair) for pair in zip(pieced(path, pieces), whole, strict=True))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3000])


NOT_DIVIDED: dict[str, tuple[str, dict[str, Any], Any]] = {
    "too short": ("a.mp4", {"frames": 20}, None),
    "one key frame": ("a.mp4", {"gop": 300, "options": {"x264-params": "scenecut=0"}}, None),
    "interlaced": ("a.mp4", INTERLACED, None),
    "no times": ("a.h264", {}, None),
    "cut off": ("a.mkv", {"container_options": {"live": "0"}}, cut_off),
    "times that jump": ("a.ts", {"times": [n * Fraction(1, 25) + 20 * (n > 30) for n in range(60)]}, None),
}


@pytest.mark.parametrize("kind", NOT_DIVIDED)
def test_what_is_not_divided(kind: str, tmp_path: Path) -> None:
    name, options, damage = NOT_DIVIDED[kind]
    path = clip(tmp_path / name, **{"frames": 60, **options})
    if damage:
        damage(path)
    assert divide(path, 0.6) == []


def test_what_is_no_film_is_not_divided(tmp_path: Path) -> None:
    assert divide("rtsp://127.0.0.1:9/none", 1) == []
    (tmp_path / "notes.mp4").write_text("no film")
    with pytest.raises(MediaError, match="expected a whole video"):
        divide(tmp_path / "notes.mp4", 1)


def test_a_cut_with_a_long_hold_before_it_is_passed_over(tmp_path: Path) -> None:
    """Writers repeat a picture each minute, which nobody would do before a cut."""
    times = [n * Fraction(1, 25) + 90 * (n >= 24) for n in range(60)]
    path = clip(tmp_path / "a.mp4", times=times)
    assert [piece.seconds for piece in divide(path, 0.9)] == [0, 90 + Fraction(36, 25)]


def test_a_piece_that_is_not_as_expected_says_so(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", frames=60)
    piece = divide(path, 0.6)[1]
    wrong = {
        "pictures of several sizes": piece._replace(height=7),
        f"{piece.frames} pictures in place of {piece.frames + 1}": piece._replace(frames=piece.frames + 1),
        "pictures that cannot be found again": piece._replace(nbytes=piece.nbytes + 1),
    }
    for text, other in wrong.items():
        with pytest.raises(MediaError, match=f"a.mp4: cannot be divided: {text}"):
            frames(PieceReader(path, other))


def test_pictures_that_turn_interlaced_make_a_film_one_piece(tmp_path: Path) -> None:
    """The first frame says nothing of it: who reads the piece finds out."""
    kinds = enumerate(({"codec": "mpeg2video"}, INTERLACED))
    parts = [clip(tmp_path / f"{which}.ts", frames=36, **options) for which, options in kinds]
    path = remuxed(tmp_path / "a.ts", *parts)
    pieces = divide(path, 0.6)
    assert len(pieces) > 2
    with pytest.raises(MediaError, match="cannot be divided: interlaced pictures"):
        pieced(path, pieces)
