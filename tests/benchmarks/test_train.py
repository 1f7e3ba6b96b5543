"""The training loop: it learns, ignores void, and saves what the exporter recognises by its keys alone."""

import itertools

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")

import scenes
import to_onnx
import train

SIZE = (37, 53)


def pieces(count, size=SIZE):
    """A few batches of streets."""
    return list(itertools.islice(train.scene_batches(3, batch=2, size=size), count))


def tiny_net():
    return train.slim_fcn(len(scenes.CLASSES), seed=1)


def test_loss_falls():
    losses = train.train(tiny_net(), pieces(1) * 12, steps=12, progress=False)
    assert len(losses) == 12
    assert losses[-1] < 0.6 * losses[0]


def test_same_seed_same_weights_other_seed_others():
    first, again = (train.slim_fcn(10, seed=5).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["backbone.conv1.weight"], train.slim_fcn(10, seed=6).backbone.conv1.weight)


def test_batches_repeat_by_seed_and_hold_no_scene_twice():
    first, again = pieces(3), pieces(3)
    for (frames, labels), (same_frames, same_labels) in zip(first, again, strict=True):
        assert frames.shape == (2, *SIZE, 3) and labels.shape == (2, *SIZE)
        np.testing.assert_array_equal(frames, same_frames)
        np.testing.assert_array_equal(labels, same_labels)
    assert len({frame.tobytes() for frames, _ in first for frame in frames}) == 6


def test_void_pixels_do_not_count():
    logits = torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 4, (1, 5, 7), generator=torch.Generator().manual_seed(1))
    labels[:, 2:] = 255
    expected = train.pixel_loss(logits[:, :, :2], labels[:, :2])
    torch.testing.assert_close(train.pixel_loss(logits, labels), expected, rtol=0, atol=1e-7)


def test_void_pixels_teach_nothing():
    logits = torch.zeros(1, 4, 5, 7, requires_grad=True)
    labels = torch.zeros(1, 5, 7, dtype=torch.long)
    labels[:, 2:] = 255
    train.pixel_loss(logits, labels).backward()
    assert (logits.grad[:, :, 2:] == 0).all() and (logits.grad[:, :, :2] != 0).all()


def test_torch_gets_its_cores_back():
    threads = torch.get_num_threads()
    with train.a_core_left_free():
        assert torch.get_num_threads() == max(1, threads - 1)
    assert torch.get_num_threads() == threads


def test_weights_shift_attention_to_rare_classes():
    weights = train.balanced_weights(0, SIZE, count=4)
    assert weights.shape == (len(scenes.CLASSES),)
    assert weights[scenes.ROAD] < weights[scenes.CAR] < weights[scenes.SIGN]


def test_fewer_batches_than_steps_end_the_training():
    assert len(train.train(tiny_net(), pieces(2), steps=5, progress=False)) == 2


def test_checkpoint_is_exported_by_its_keys_alone(tmp_path, capsys):
    net = tiny_net()
    train.train(net, pieces(2), steps=2, progress=False)
    train.save_checkpoint(net, tmp_path / "weights.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.bin"]
    assert to_onnx.main([str(tmp_path / "weights.bin"), "-o", str(tmp_path / "net.onnx")]) == 0
    assert "torchvision fcn" in capsys.readouterr().out


def test_training_mode_is_left_and_the_bar_is_silent_when_asked(capsys):
    net = tiny_net()
    train.train(net, pieces(1), steps=1, progress=False)
    assert not net.training and capsys.readouterr().err == ""


def test_command_line(tmp_path, monkeypatch, capsys):
    batches = pieces(2)
    monkeypatch.setattr(train, "scene_batches", lambda seed: batches)
    monkeypatch.setattr(train, "balanced_weights", lambda seed: None)
    path = tmp_path / "made" / "slim.pth"
    assert train.main(["-o", str(path), "--steps", "2", "--seed", "4"]) == 0
    assert path.is_file()
    assert f"next: python export/to_onnx.py {path}" in capsys.readouterr().out


@pytest.mark.parametrize("steps", ["0", "-3", "many"])
def test_wrong_steps_are_refused(steps, capsys):
    with pytest.raises(SystemExit) as stop:
        train.main([f"--steps={steps}"])
    assert stop.value.code == 2
    assert f"expected a whole number from 1 up, got {steps!r}" in capsys.readouterr().err
