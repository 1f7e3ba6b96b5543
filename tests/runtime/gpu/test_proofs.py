"""The proofs at load: right kernels pass, and whatever is wrong with one of them, it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import fcnrt
from fcn_export.kernels.compiling import Variant
from fcnrt.contract.precision import FLOATS, Precision
from fcnrt.gpu.cuda import Gpu, Stream
from fcnrt.gpu.kernels import Kernels
from fcnrt.gpu.proofs import prove_nv12, prove_resizing, prove_upsampling
from fcnrt.ops.reference import Nv12Coefficients
from simulated import MODES, SimulatedCuda, kernel_functions, simulated_cuda
from simulated.kernel_functions import Maker, bound, kernel_records, numpy_kernel
from simulated.kernels import KernelFunction
from simulated.memory import Memory
from simulated.triton_kernels import interpreted_kernel

Change = Callable[[SimpleNamespace], None]
PROOFS = {
    "upsample_argmax": lambda kernels, stream: prove_upsampling(kernels, stream, 21, Precision.FP32),
    "resize": prove_resizing,
    "nv12_to_rgb": prove_nv12,
}


@pytest.fixture(params=["lazy"])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCuda]:
    """A simulation; when a test is over and has let go of what it made, nothing may be left on the device."""
    with simulated_cuda(monkeypatch, mode=request.param) as simulated:
        yield simulated


every_mode = pytest.mark.parametrize("gpu", MODES, indirect=True)


def prove(gpu: SimulatedCuda, make: Maker, *proofs: Any) -> None:
    """Run proofs on new kernels."""
    device = Gpu(0)
    with device.current():
        kernels, stream = Kernels(device, kernel_records(gpu, make=make)), Stream(device)
        for proof in proofs:
            proof(kernels, stream)


def labels_of(classes: int, scores_type: Precision) -> Callable[[Kernels, Stream], None]:
    return lambda kernels, stream: prove_upsampling(kernels, stream, classes, scores_type)


def broken(change: Change, *variants: str) -> Maker:
    """Kernels whose results are changed, in all variants or in those whose names hold one of some words."""

    def make(memory: Memory, variant: Variant) -> KernelFunction:
        right = numpy_kernel(memory, variant)

        def run(grid: Any, *arguments: Any) -> None:
            right(grid, *arguments)
            change(bound(memory, variant, grid, arguments))

        named = any(word in f"{variant.name}-" for word in variants)
        return run if named or not variants else right

    return make


def misled(kernel: str, change: Callable[[list[Any]], None]) -> Maker:
    """Kernels of which one computes with other arguments than it is given."""

    def make(memory: Memory, variant: Variant) -> KernelFunction:
        right = numpy_kernel(memory, variant)

        def run(grid: Any, *arguments: Any) -> None:
            values = list(arguments)
            if variant.kernel == kernel:
                change(values)
            right(grid, *values)

        return run

    return make


@every_mode
def test_right_kernels_pass(gpu: SimulatedCuda) -> None:
    proofs = [labels_of(classes, kind) for classes in (1, 2, 21, 256, 300, 5000) for kind in FLOATS]
    prove(gpu, numpy_kernel, *proofs, prove_resizing, prove_nv12)


def test_the_real_kernels_pass(gpu: SimulatedCuda) -> None:
    prove(
        gpu, interpreted_kernel, labels_of(3, Precision.FP32), labels_of(3, Precision.FP16), prove_resizing, prove_nv12
    )


def next_class(given: SimpleNamespace) -> None:
    given.labels[...] = (given.labels + 1) % given.sizes[0]


def one_pixel(given: SimpleNamespace) -> None:
    given.labels[-1, -1, -1] ^= 1


def no_class(given: SimpleNamespace) -> None:
    given.labels[...] = 255


def highest_of_ties(given: SimpleNamespace) -> None:
    """As a kernel that compares with >= where it should with >."""
    for labels, scores in zip(given.labels, given.scores, strict=True):
        logits = kernel_functions._logits(given, scores.astype(np.float32))
        labels[...] = given.sizes[0] - 1 - logits[::-1].argmax(axis=0)


def first_frame_again(given: SimpleNamespace) -> None:
    given.labels[1:] = given.labels[0]


def untouched(given: SimpleNamespace) -> None:
    given.labels[...] = 0


def less_sure(given: SimpleNamespace) -> None:
    if given.confidence is not None:
        given.confidence[...] -= 2


def certain(given: SimpleNamespace) -> None:
    if given.confidence is not None:
        given.confidence[...] = 255


def alarmed(given: SimpleNamespace) -> None:
    given.nonfinite[0] = 1


def careless(given: SimpleNamespace) -> None:
    given.nonfinite[0] = 0


def assert_refused(kernel: str, gpu: SimulatedCuda, make: Maker, proof: Any = None) -> None:
    expected = (
        f"kernel {kernel} computes wrong values on Simulated GPU (cuda:0) and is not used; "
        "build the engine with --tail graph"
    )
    with pytest.raises(fcnrt.BackendError, match=f"^{re.escape(expected)}$"):
        prove(gpu, make, proof or PROOFS[kernel])


@pytest.mark.parametrize("variants", [(), ("rows8-",), ("rows1-",), ("rows8-confidence",), ("rows1-confidence",)])
@pytest.mark.parametrize("change", [next_class, one_pixel, no_class, first_frame_again, untouched, highest_of_ties])
def test_wrong_labels_are_refused(change: Change, variants: Sequence[str], gpu: SimulatedCuda) -> None:
    assert_refused("upsample_argmax", gpu, broken(change, *variants))


@pytest.mark.parametrize("variants", [(), ("rows8",), ("rows1",)])
@pytest.mark.parametrize("change", [less_sure, certain])
def test_wrong_confidence_is_refused(change: Change, variants: Sequence[str], gpu: SimulatedCuda) -> None:
    assert_refused("upsample_argmax", gpu, broken(change, *variants))


@pytest.mark.parametrize("variants", [("rows8-",), ("rows1-",)])
@pytest.mark.parametrize("change", [alarmed, careless])
def test_a_wrong_flag_is_refused(change: Change, variants: Sequence[str], gpu: SimulatedCuda) -> None:
    """The flag is what keeps the labels of NaN from being taken for labels."""
    assert_refused("upsample_argmax", gpu, broken(change, *variants))


def test_labels_cut_to_a_byte_are_refused(gpu: SimulatedCuda) -> None:
    def cut(given: SimpleNamespace) -> None:
        given.labels[...] &= 255

    assert_refused("upsample_argmax", gpu, broken(cut), labels_of(300, Precision.FP16))


def test_only_the_kernels_of_the_model_are_proved(gpu: SimulatedCuda) -> None:
    make = broken(next_class, "fp16", "u16")
    prove(gpu, make, labels_of(21, Precision.FP32))
    for classes, scores_type in ((21, Precision.FP16), (257, Precision.FP32)):
        assert_refused("upsample_argmax", gpu, make, labels_of(classes, scores_type))


@pytest.mark.parametrize("axis", [1, 2])
def test_frames_shifted_by_a_pixel_are_refused(axis: int, gpu: SimulatedCuda) -> None:
    def shift(given: SimpleNamespace) -> None:
        given.target[...] = np.roll(given.target, 1, axis)

    assert_refused("resize", gpu, broken(shift, "u8-"))


@pytest.mark.parametrize("swap", [0, 1])
@pytest.mark.parametrize("kernel", ["resize", "nv12_to_rgb"])
def test_an_ignored_order_of_channels_is_refused(kernel: str, swap: int, gpu: SimulatedCuda) -> None:
    def ignore(arguments: list[Any]) -> None:
        arguments[-1] = swap

    assert_refused(kernel, gpu, misled(kernel, ignore))


def test_one_frame_resized_for_all_is_refused(gpu: SimulatedCuda) -> None:
    def repeat(given: SimpleNamespace) -> None:
        given.target[...] = given.target[:1]

    assert_refused("resize", gpu, broken(repeat, "u8-"))


@pytest.mark.parametrize("position", range(7, 13), ids=Nv12Coefficients._fields)
def test_an_ignored_coefficient_is_refused(position: int, gpu: SimulatedCuda) -> None:
    def ignore(arguments: list[Any]) -> None:
        arguments[position] = 1.0 if position == 8 else 0.0  # a gain of 1, else nothing

    assert_refused("nv12_to_rgb", gpu, misled("nv12_to_rgb", ignore))


def test_u_and_v_exchanged_are_refused(gpu: SimulatedCuda) -> None:
    def exchange(arguments: list[Any]) -> None:
        red_v, green_u, green_v, blue_u = arguments[9:13]
        arguments[9:13] = [blue_u, green_v, green_u, red_v]

    assert_refused("nv12_to_rgb", gpu, misled("nv12_to_rgb", exchange))


@pytest.mark.parametrize("kernel", PROOFS)
def test_a_missing_kernel_is_named(kernel: str, gpu: SimulatedCuda) -> None:
    device = Gpu(0)
    text = rf"no kernel {kernel} \S+ for compute capability 8\.9; build the engine again .* or with --tail graph"
    with device.current(), pytest.raises(fcnrt.BackendError, match=text):
        PROOFS[kernel](Kernels(device, []), Stream(device))
