"""Whether a file is found to end early, with doubles for what PyAV tells of it."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import pytest

from fcnrt.video.sources.av_claims import Claim

MILLISECOND = Fraction(1, 1000)


def _claim(
    *, form="matroska,webm", duration_s=10.0, stream_duration_s=None, tag=None, streams=1, frames=0, average_rate=25
):
    stream = SimpleNamespace(
        index=0,
        start_time=None,
        time_base=MILLISECOND,
        duration=stream_duration_s and round(stream_duration_s * 1000),
        metadata={"DURATION": tag} if tag else {},
        average_rate=average_rate,
        frames=frames,
    )
    container = SimpleNamespace(
        format=SimpleNamespace(name=form),
        duration=duration_s and round(duration_s * 1_000_000),
        streams=[stream] * streams,
    )
    return Claim(container, stream, Fraction(25))


def _packet(at_s, length_s=0.04, *, index=0, corrupt=False, pts=True):
    time = round(at_s * 1000)
    return SimpleNamespace(
        stream_index=index,
        pts=time if pts else None,
        dts=time,
        time_base=MILLISECOND,
        duration=round(length_s * 1000) if length_s else None,
        is_corrupt=corrupt,
    )


def _ends_early(claim, *packets):
    for packet in packets:
        claim.note(packet)
    return claim.ends_early


@pytest.mark.parametrize(
    ("facts", "last_s", "answer"),
    [
        ({}, 9.96, False),
        ({}, 9.80, False),  # 2 % may be missing
        ({}, 9.70, True),
        ({"duration_s": 1}, 0.96, False),
        ({"duration_s": 1}, 0.92, True),  # a frame
        ({"duration_s": 3600}, 3599.5, False),
        ({"duration_s": 3600}, 3598.5, True),  # a second
        ({"duration_s": None}, 1, False),
        ({"form": "mpegts"}, 1, False),  # estimated
        ({"form": "mov,mp4,m4a,3gp,3g2,mj2", "stream_duration_s": 9, "duration_s": 12}, 8.96, False),
        ({"form": "mov,mp4,m4a,3gp,3g2,mj2", "stream_duration_s": 9, "duration_s": 12}, 8.5, True),
        ({"tag": "00:00:09.000000000", "streams": 2}, 8.96, False),
        ({"tag": "00:00:09.000000000", "streams": 2}, 8.5, True),
        ({"tag": "01:01:09.5"}, 3669.46, False),
        ({"tag": "nonsense"}, 9.96, False),
    ],
)
def test_claims(facts, last_s, answer):
    assert _ends_early(_claim(**facts), _packet(0), _packet(last_s)) is answer


def test_other_streams_count_where_the_video_says_nothing_of_itself():
    assert not _ends_early(_claim(streams=2), _packet(3), _packet(9.5, index=1))
    assert _ends_early(_claim(streams=2), _packet(3), _packet(8.9, index=1))
    assert _ends_early(_claim(streams=2, tag="00:00:10"), _packet(3), _packet(9.96, index=1))


def test_a_file_that_ends_within_a_packet():
    assert _ends_early(_claim(), _packet(9.96, corrupt=True))
    assert not _ends_early(_claim(), _packet(9.92, corrupt=True), _packet(9.96))


def test_frames_may_be_long_and_of_unknown_length():
    slides = [_packet(at_s, None) for at_s in (0, 4, 8)]
    assert not _ends_early(_claim(duration_s=12), *slides)
    assert _ends_early(_claim(duration_s=20), *slides)


def test_packets_without_times():
    unknown = SimpleNamespace(stream_index=0, pts=None, dts=None)
    assert not _ends_early(_claim(), unknown, _packet(9.96, pts=False), unknown)


@pytest.mark.parametrize(
    ("facts", "count"),
    [
        ({}, 250),
        ({"average_rate": 10}, 100),
        ({"average_rate": None}, 250),
        ({"frames": 7}, 250),
        ({"duration_s": None, "frames": 7}, 7),
        ({"duration_s": None}, None),
        ({"stream_duration_s": 2}, 50),
    ],
)
def test_how_many_frames_there_will_be(facts, count):
    assert _claim(**facts).frame_count == count
