"""The demo's training: it learns, repeats by seed, and saves what the exporter recognises by its keys alone."""

import itertools

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

import demo_training
from fcn_bench.data import scenes
from fcn_export.commands import to_onnx

SIZE = (37, 53)


def pieces(count, size=SIZE):
    """A few batches of streets."""
    return list(itertools.islice(demo_training.scene_batches(3, batch=2, size=size), count))


def tiny_net():
    return demo_training.slim_fcn(len(scenes.CLASSES), seed=1)


def test_loss_falls():
    losses = demo_training.train(tiny_net(), pieces(1) * 12, steps=12, progress=False)
    assert len(losses) == 12
    assert losses[-1] < 0.6 * losses[0]


def test_same_seed_same_weights_other_seed_others():
    first, again = (demo_training.slim_fcn(10, seed=5).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["backbone.conv1.weight"], demo_training.slim_fcn(10, seed=6).backbone.conv1.weight)


def test_batches_repeat_by_seed_and_hold_no_scene_twice():
    first, again = pieces(3), pieces(3)
    for (frames, labels), (same_frames, same_labels) in zip(first, again, strict=True):
        assert frames.shape == (2, *SIZE, 3) and labels.shape == (2, *SIZE)
        np.testing.assert_array_equal(frames, same_frames)
        np.testing.assert_array_equal(labels, same_labels)
    assert len({frame.tobytes() for frames, _ in first for frame in frames}) == 6


@pytest.mark.parametrize(("threads", "left"), [(3, 2), (2, 1), (1, 1)])
def test_torch_gets_its_cores_back(threads, left):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with demo_training.a_core_left_free():
        assert torch.get_num_threads() == left
    assert torch.get_num_threads() == threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("step_seconds", "steps"), [(0.1, 600), (0.25, 300), (10.0, 300), (1e-6, 1200)])
def test_steps_are_what_a_minute_holds_but_enough_to_convince(step_seconds, steps):
    assert demo_training.steps_within(60, step_seconds) == steps


def test_a_step_is_timed_without_the_first_ones(monkeypatch):
    seconds = iter([0, 100, 200, 201, 203, 206])
    monkeypatch.setattr(demo_training.time, "perf_counter", lambda: float(next(seconds)))
    assert demo_training.seconds_per_step(1, SIZE, count=6) == pytest.approx((206 - 200) / 3)


def test_weights_shift_attention_to_rare_classes():
    weights = demo_training.balanced_weights(0, SIZE, count=4)
    assert weights.shape == (len(scenes.CLASSES),)
    assert weights[scenes.ROAD] < weights[scenes.CAR] < weights[scenes.SIGN]


def test_fewer_batches_than_steps_end_the_training():
    assert len(demo_training.train(tiny_net(), pieces(2), steps=5, progress=False)) == 2


def test_checkpoint_is_exported_by_its_keys_alone(tmp_path, capsys):
    net = tiny_net()
    demo_training.train(net, pieces(2), steps=2, progress=False)
    demo_training.save_checkpoint(net, tmp_path / "weights.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.bin"]
    assert to_onnx.main([str(tmp_path / "weights.bin"), "-o", str(tmp_path / "net.onnx")]) == 0
    assert "torchvision fcn" in capsys.readouterr().out


def test_training_mode_is_left_and_the_bar_is_silent_when_asked(capsys):
    net = tiny_net()
    demo_training.train(net, pieces(1), steps=1, progress=False)
    assert not net.training and capsys.readouterr().err == ""
