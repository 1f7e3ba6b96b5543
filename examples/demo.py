"""The whole way in two or three minutes, without downloads: train, export, label, film.

python examples/demo.py
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fcnrt.cli.terminal import interrupts_end_at_once

with interrupts_end_at_once():  # torch takes seconds to load
    import numpy as np

    import demo_training
    from demo_training import SIZE
    from fcn_bench.arguments import whole_number
    from fcn_bench.data import scenes
    from fcn_bench.metrics import ConfusionMatrix
    from fcn_export.command_line import run_command
    from fcn_export.commands import to_onnx
    from fcnrt import Segmenter, legend, overlay
    from fcnrt.contract.types import UInt8Array
    from fcnrt.pictures.writing import write_image, write_labels
    from fcnrt.video import VideoWriter

# Streams of randomness; training has stream 0, so that nothing shown or measured was trained on.
UNSEEN, STREET, DRIVE = 1, 2, 3


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0, 1 where the export refuses, 2 for wrong arguments, 130 after Ctrl-C."""
    options = _parser().parse_args(argv)
    interruption = f"interrupted; the files written so far in {options.output} are whole"
    return run_command("demo", lambda: run(options), interruption=interruption)


def run(options: argparse.Namespace) -> bool:
    """The whole way; False where the exporter refuses, and has said why."""
    folder: Path = options.output
    folder.mkdir(parents=True, exist_ok=True)
    size = (options.height, options.width)
    checkpoint = train_slim(folder / "slim.pth", options.steps, options.seed, size)
    model = checkpoint.with_suffix(".onnx")
    if export(checkpoint, model) != 0:
        return False
    with Segmenter(model) as segment:
        measure(segment, options.scenes, options.seed, size)
        show(segment, folder, options.seed, size)
        film(segment, folder / "street_overlay.mp4", options.seconds, options.seed, size)
    print(f"look at {folder / 'street_comparison.png'} and {folder / 'street_overlay.mp4'}")
    return True


def train_slim(checkpoint: Path, steps: int | None, seed: int, size: tuple[int, int]) -> Path:
    """Train a slim FCN on generated streets, as long as about a minute allows, and save it as any script would."""
    print("training   a slim FCN on generated streets", end="", flush=True)
    with demo_training.a_core_left_free():
        if steps is None:
            steps = _steps_that_fit(seed, size)
        print(f", {steps} steps", flush=True)
        started = time.perf_counter()
        net = demo_training.slim_fcn(len(scenes.CLASSES), seed)
        batches = demo_training.scene_batches(seed, size=size)
        weights = demo_training.balanced_weights(seed, size)
        losses = demo_training.train(net, batches, steps, class_weights=weights)
    demo_training.save_checkpoint(net, checkpoint)
    seconds = time.perf_counter() - started
    print(f"trained    {checkpoint}: loss {np.mean(losses[-20:]):.3f} after {steps} steps, {seconds:.0f} s")
    return checkpoint


def _steps_that_fit(seed: int, size: tuple[int, int]) -> int:
    step_seconds = demo_training.seconds_per_step(seed, size)
    steps = demo_training.steps_within(demo_training.TRAINING_S, step_seconds)
    print(f"; {1e3 * step_seconds:.0f} ms a step here, so about {steps * step_seconds:.0f} s", end="")
    return steps


def export(checkpoint: Path, model: Path) -> int:
    """Checkpoint to ONNX, with the scenes' class names and colours; the exporter's exit status."""
    names, colours = checkpoint.with_name("classes.txt"), checkpoint.with_name("palette.txt")
    names.write_text("\n".join(scenes.CLASSES) + "\n")
    np.savetxt(colours, scenes.PALETTE, fmt="%d")
    return to_onnx.main([str(checkpoint), "-o", str(model), "--classes", str(names), "--palette", str(colours)])


def measure(segment: Segmenter, count: int, seed: int, size: tuple[int, int]) -> ConfusionMatrix:
    """Label scenes that the network has never seen, and count."""
    matrix = ConfusionMatrix(len(scenes.CLASSES))
    for index in range(count):
        frame_hwc, truth_hw = scenes.scene(_stream(seed, UNSEEN, index), *size)
        matrix.update(segment(frame_hwc), truth_hw)
    print(
        f"measured   mIoU {matrix.mean_iou():.3f}, pixel accuracy {matrix.pixel_accuracy():.3f} on {count} new scenes"
    )
    print(
        "           " + ", ".join(f"{name} {iou:.2f}" for name, iou in zip(scenes.CLASSES, matrix.iou(), strict=True))
    )
    return matrix


def show(segment: Segmenter, folder: Path, seed: int, size: tuple[int, int]) -> None:
    """Write one new street: the frame, its labels, the overlay, and all of it beside the truth."""
    frame_hwc, truth_hw = scenes.scene(_stream(seed, STREET), *size)
    labels_hw = segment(frame_hwc)
    write_image(folder / "street.png", frame_hwc)
    write_labels(folder / "street_labels.png", labels_hw, segment.palette)
    write_image(folder / "street_overlay.png", overlay(frame_hwc, labels_hw, segment.palette))
    write_image(folder / "street_comparison.png", compare(frame_hwc, truth_hw, labels_hw, segment))
    print(f"drew       street.png, _labels.png, _overlay.png and _comparison.png in {folder}")


def compare(frame_hwc: UInt8Array, truth_hw: UInt8Array, labels_hw: UInt8Array, segment: Segmenter) -> UInt8Array:
    """Frame, truth and prediction side by side, with the legend below, (H', W', 3)."""
    palette = segment.palette
    pictures = np.hstack([frame_hwc, palette[truth_hw], palette[labels_hw]])
    columns = max(1, pictures.shape[1] // 110)
    names = legend(segment.classes, palette, font_px=14, columns=min(columns, len(segment.classes)))
    width = max(pictures.shape[1], names.shape[1])
    rows = [
        np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255) for each in (pictures, names)
    ]
    return np.vstack(rows)


def film(segment: Segmenter, path: Path, seconds: float, seed: int, size: tuple[int, int]) -> float:
    """Drive along a new street, write the overlay as a video, and return the frames labelled per second."""
    count = max(1, round(seconds * scenes.FRAME_RATE))
    frames = [frame_hwc for frame_hwc, _ in scenes.drive(_stream(seed, DRIVE), count, *size)]
    started = time.perf_counter()
    labelled = list(segment.stream(frames))
    rate = len(frames) / (time.perf_counter() - started)
    palette = segment.palette
    with VideoWriter(path, scenes.FRAME_RATE, size) as video:
        for frame_hwc, labels_hw in labelled:
            video.write(overlay(frame_hwc, labels_hw, palette))
    print(f"filmed     {path}: {len(frames)} frames of {size[0]}x{size[1]}, labelled at {rate:.0f} frames per second")
    return rate


def _stream(seed: int, stream: int, index: int = 0) -> np.random.Generator:
    return np.random.default_rng((seed, stream, index))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demo.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder to write to (demo)")
    parser.add_argument("--steps", type=whole_number, help="of training (as many as a good minute allows here)")
    parser.add_argument("--scenes", type=whole_number, default=60, help="new scenes to measure on (60)")
    parser.add_argument("--seconds", type=float, default=4, help="length of the film (4)")
    parser.add_argument("--height", type=whole_number, default=SIZE[0], help=f"of the frames in pixels ({SIZE[0]})")
    parser.add_argument("--width", type=whole_number, default=SIZE[1], help=f"of the frames in pixels ({SIZE[1]})")
    parser.add_argument("--seed", type=int, default=0, help="of weights and scenes (0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
