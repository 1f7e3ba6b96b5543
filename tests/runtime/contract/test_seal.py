"""Files that were changed after they were made: refused in one line, or what they say and do is what it was."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import exports
from exports import Export
from fcn_export.engines.source import read_source
from fcnrt import FcnrtError, ModelFileError, Segmenter
from fcnrt.backends import read_model
from fcnrt.cli.main import main
from fcnrt.contract.onnx_file import write_certificate
from fcnrt.contract.seal import seal_command, weights_digest
from fcnrt.contract.sidecar import sidecar_path
from fcnrt.contract.weights import LEAST, Place, with_property
from frames import frames_of
from simulated.host import MakeHost

BROKEN = "this file was changed or damaged after it was made; "
NAME = "d2l fcn32s"
FRAMES = frames_of(1, 45, 38)


@pytest.fixture
def model(exported: Export, tmp_path: Path) -> Path:
    return Path(shutil.copy(exported(NAME), tmp_path / "net.onnx"))


@pytest.fixture
def engine(make_host: MakeHost, exported: Export) -> Path:
    return make_host().model(exported(NAME))


def labels_of(path: Path) -> np.ndarray:
    with Segmenter(path, device="cpu", threads=1) as segment:
        return segment(FRAMES)


def flipped(data: bytearray, random: np.random.Generator) -> None:
    data[random.integers(len(data))] ^= 1 << random.integers(8)


def lost(data: bytearray, random: np.random.Generator) -> None:
    page = 4096 * random.integers(len(data) // 4096)
    data[page : page + 4096] = bytes(4096)


def swapped(data: bytearray, random: np.random.Generator) -> None:
    first, second = 512 * random.choice(len(data) // 512, 2, replace=False)
    one, other = data[first : first + 512], data[second : second + 512]
    data[first : first + 512], data[second : second + 512] = other, one


def cut(data: bytearray, random: np.random.Generator) -> None:
    del data[random.integers(len(data)) :]


@pytest.mark.parametrize("damage", [flipped, lost, swapped, cut])
def test_damage_gives_no_other_labels(damage: Callable[..., None], model: Path) -> None:
    whole, expected, random = model.read_bytes(), labels_of(model), np.random.default_rng(1)
    refused = 0
    for _ in range(30):
        data = bytearray(whole)
        damage(data, random)
        model.write_bytes(data)
        try:
            assert np.array_equal(labels_of(model), expected)
        except FcnrtError as error:
            refused += data != whole
            assert "\n" not in str(error) and str(error).startswith(str(model))
    assert refused >= 29


def edited(path: Path, edit: Callable[[onnx.ModelProto], Any]) -> Path:
    proto = onnx.load(path)
    edit(proto)
    onnx.save(proto, path)
    return path


def next_number(large: bool) -> Callable[[onnx.ModelProto], None]:
    def edit(proto: onnx.ModelProto) -> None:
        sizes = {tensor.name: len(tensor.raw_data) for tensor in proto.graph.initializer}
        tensor = next(
            tensor
            for tensor in proto.graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT and (sizes[tensor.name] >= LEAST) == large
        )
        values = numpy_helper.to_array(tensor).copy()
        values.flat[0] = np.nextafter(values.flat[0], np.inf)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return edit


def unsealed(path: Path) -> None:
    path.write_bytes(with_property(path.read_bytes(), "fcn.digest", None))


def fact(key: str, value: str) -> Callable[[onnx.ModelProto], None]:
    def edit(proto: onnx.ModelProto) -> None:
        next(entry for entry in proto.metadata_props if entry.key == key).value = value

    return edit


def added(key: str, value: str) -> Callable[[onnx.ModelProto], Any]:
    return lambda proto: proto.metadata_props.add(key=key, value=value)


EDITS = {
    "a weight": next_number(large=True),
    "a bias": next_number(large=False),
    "a stride": lambda proto: next(node for node in proto.graph.node if node.op_type == "MaxPool").attribute.pop(),
    "the tail": fact("fcn.tail", '{"kind": "none", "stride": 0, "offset": 18}'),
    "the pixel format": fact("Image.BitmapPixelFormat", "Bgr8"),
    "a second class list": added("fcn.classes", '["a", "b"]'),
    "a broken seal": fact("fcn.digest", '{"graph": "0"}'),
    "another seal": fact("fcn.digest", '{"graph": "0", "weights": "0"}'),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edits_are_refused_by_all_who_read(edit: Callable[[onnx.ModelProto], Any], model: Path) -> None:
    edited(model, edit)
    for use in (labels_of, lambda path: read_source(path, "kernel")):
        with pytest.raises(ModelFileError) as refusal:
            use(model)
        assert str(refusal.value) == (
            f"{model}: {BROKEN}copy or export it again, or, if it was changed on purpose, seal it: "
            f"{seal_command(model)}"
        )


def test_other_tools_properties_are_harmless(model: Path) -> None:
    expected = labels_of(model)
    edited(model, added("other.tool", "was here"))
    assert np.array_equal(labels_of(model), expected)


def test_a_file_without_a_seal_loads_with_a_word(model: Path) -> None:
    expected = labels_of(model)
    unsealed(model)
    with pytest.warns(RuntimeWarning, match=rf"net\.onnx: carries no digest, .* `{seal_command(model)}` adds one"):
        assert np.array_equal(labels_of(model), expected)
    assert main(["seal", str(model)]) == 0
    assert np.array_equal(labels_of(model), expected) and read_model(model).sealed


@pytest.mark.filterwarnings("default")
def test_a_file_without_a_seal_is_one_line_on_the_command_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unsealed(model)
    assert (
        main(["segment", str(model), "test:45x38*1", "-o", str(tmp_path / "out"), "--labels", "--device", "cpu"]) == 0
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"fcnrt: {model}: carries no digest, ")
    assert main(["info", str(model)]) == 0
    assert f"  digest      none; add one: {seal_command(model)}\n" in capsys.readouterr().out


def test_what_was_changed_on_purpose_is_sealed_and_loses_its_certificate(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_certificate(model, {"format": 1})
    names = json.dumps([f"thing {index}" for index in range(7)])
    edited(model, fact("fcn.classes", names))
    assert main(["info", str(model)]) == 1
    assert BROKEN in capsys.readouterr().err
    assert main(["seal", str(model)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{model}: sealed as it is\n  its certificate was of what it was before")
    assert read_model(model).spec.classes == tuple(json.loads(names)) and read_model(model).parity is None
    assert main(["info", str(model)]) == 0
    assert "  digest      as it was made\n" in capsys.readouterr().out
    assert main(["seal", str(model)]) == 0 and "certificate" not in capsys.readouterr().out


def test_a_seal_changes_nothing_else(model: Path) -> None:
    before = model.read_bytes()
    assert main(["seal", str(model)]) == 0
    assert model.read_bytes() == before
    link = model.with_name("link.onnx")
    link.symlink_to(model)
    assert main(["seal", str(link)]) == 0 and link.is_symlink()


@pytest.mark.parametrize("content", [b"", b"hello, world", b"\0" * 5000])
def test_what_is_no_model_is_not_sealed(content: bytes, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.write_bytes(content)
    assert main(["seal", str(model)]) == 1
    assert model.read_bytes() == content and len(capsys.readouterr().err.splitlines()) == 1


def test_what_is_no_exported_file_any_more_is_not_sealed(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited(model, lambda proto: proto.graph.ClearField("value_info"))
    before = model.read_bytes()
    assert main(["seal", str(model)]) == 1
    assert "changed by another tool" in capsys.readouterr().err and model.read_bytes() == before


def test_the_graph_is_refused_before_its_weights_are_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcnrt.contract.onnx_file.weights_digest", lambda *read: pytest.fail("weights were read"))
    with pytest.raises(ModelFileError, match=BROKEN):
        read_model(edited(model, EDITS["the tail"]))


def words_of(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 1 << 64, count, np.uint64)


def of_words(words: np.ndarray, cut: int = 3) -> str:
    data = words.tobytes()[:-cut]
    return weights_digest(io.BytesIO(b"name" + data), {"x": Place(4, len(data))})


@pytest.mark.parametrize("places", [(0, 256), (7, 7 + 512), (256, 256 * 256), (3, 256 * 256 * 2 + 300), (9, 10, 266)])
def test_words_that_changed_in_their_highest_bit_show(places: tuple[int, ...]) -> None:
    """Which sums alone, weighted by odd numbers or not, would not tell."""
    words = words_of(150_000)
    changed = words.copy()
    changed[list(places)] ^= np.uint64(1 << 63)
    assert of_words(changed) != of_words(words)


@pytest.mark.parametrize("length", [1, 256, 256 * 256, 70_000])
def test_parts_that_changed_places_show(length: int) -> None:
    words = words_of(150_000)
    changed = np.concatenate([words[length : 2 * length], words[:length], words[2 * length :]])
    assert of_words(changed) != of_words(words)


def test_a_cut_shows_and_the_place_in_the_file_does_not() -> None:
    data = words_of(1000).tobytes()
    expected = weights_digest(io.BytesIO(data), {"x": Place(0, 8000)})
    assert weights_digest(io.BytesIO(b"123" + data), {"other": Place(3, 8000)}) == expected
    assert weights_digest(io.BytesIO(data[:-1]), {"x": Place(0, 8000)}) != expected
    assert weights_digest(io.BytesIO(data), {"x": Place(0, 4000), "y": Place(4000, 4000)}) != expected


TAIL = r"says the tail \w+, stride \d+, offset \d+, but its graph has the tail none, stride 0, offset 16"
FACTS = {
    "a class less": ("fcn.classes", '["a", "b", "c", "d", "e", "f"]', "expected input frames"),
    "another tail": ("fcn.tail", '{"kind": "align_corners", "stride": 0, "offset": 0}', TAIL),
    "another stride": ("fcn.tail", '{"kind": "deconv", "stride": 32, "offset": 31}', TAIL),
    "another offset": ("fcn.tail", '{"kind": "deconv", "stride": 8, "offset": 131}', TAIL),
    "no tail": ("fcn.tail", '{"kind": "none", "stride": 0, "offset": 0}', TAIL),
    "no palette": ("fcn.palette", '"rainbow"', "expected one of voc, cityscapes, camvid, generated, got 'rainbow'"),
    "a colour less": ("fcn.palette", "[[1, 2, 3]]", "1 colours for 7 classes"),
    "two means": ("fcn.mean", "[0.5, 0.5]", "expected three values"),
    "a giant number": ("fcn.min_size", "9" * 3000, "expected a whole number from 1 to 4096"),
}


@pytest.mark.parametrize("name", FACTS)
def test_facts_of_another_file_are_refused_though_they_are_sealed(name: str, model: Path) -> None:
    key, value, expected = FACTS[name]
    exports.save(changed_facts(model, key, value), model)
    with pytest.raises(ModelFileError, match=expected) as refusal:
        read_model(model)
    assert len(str(refusal.value)) < 500


def changed_facts(model: Path, key: str, value: str) -> onnx.ModelProto:
    proto = onnx.load(model)
    fact(key, value)(proto)
    return proto


# Engines: the seal lies in the sidecar.


def change_sidecar(engine: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(sidecar_path(engine).read_text())
    edit(content)
    sidecar_path(engine).write_text(json.dumps(content))


SIDECAR_EDITS = {
    "tail": lambda content: content["model"].update(tail={"kind": "align_corners", "stride": 0, "offset": 0}),
    "classes": lambda content: content["model"]["classes"].pop(),
    "scores": lambda content: content["engine"].update(scores="fp16"),
    "profiles": lambda content: content["engine"]["profiles"][0]["max"].__setitem__(0, 9),
    "kernels": lambda content: content["kernels"].pop(),
    "seal": lambda content: content.update(digest=None),
}


@pytest.mark.parametrize("edit", SIDECAR_EDITS.values(), ids=SIDECAR_EDITS)
def test_edited_sidecars_are_refused(edit: Callable[[dict[str, Any]], Any], engine: Path) -> None:
    change_sidecar(engine, edit)
    with pytest.raises(ModelFileError, match=f"{engine}: {BROKEN}"):
        Segmenter(engine, device="cuda")


SIDECAR_FACTS = {
    "tail": (lambda facts: facts["model"]["tail"].update(kind="align_corners", offset=0), "its scores are"),
    "stride": (lambda facts: facts["model"].update(tail={"kind": "deconv", "stride": 64, "offset": 16}), "its scores"),
    "classes": (lambda facts: facts["model"]["classes"].pop(), r"and 6 classes as its sidecar says, got FLOAT and 7"),
    "scores": (lambda facts: facts["engine"].update(scores="fp16"), r"expected scores of type HALF .*, got FLOAT"),
    "output": (lambda facts: facts["engine"].update(output="labels"), r"expected tensors \['frames', 'labels'\]"),
    "profiles": (lambda facts: facts["engine"]["profiles"].append(facts["engine"]["profiles"][0]), "and 2 profiles"),
}  # fmt: skip


@pytest.mark.parametrize("name", SIDECAR_FACTS)
def test_sidecars_of_other_engines_are_refused_though_they_are_sealed(name: str, engine: Path) -> None:
    edit, expected = SIDECAR_FACTS[name]
    change_sidecar(engine, edit)
    assert main(["seal", str(engine)]) == 0
    with pytest.raises(ModelFileError, match=expected):
        Segmenter(engine, device="cuda")(np.zeros((64, 96, 3), np.uint8))  # a tail is told before a kernel goes by it


def test_sidecars_are_sealed_again(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_sidecar(engine, lambda content: content["model"].update(palette="generated"))
    assert main(["seal", str(engine)]) == 0
    assert read_model(engine).sealed and read_model(engine).spec.palette == "generated"
    engine.write_bytes(b"another plan")
    assert main(["seal", str(engine)]) == 1
    assert "not the engine that " in capsys.readouterr().err


def test_a_sidecar_without_a_seal_loads_with_a_word(engine: Path) -> None:
    change_sidecar(engine, lambda content: content.pop("digest"))
    with pytest.warns(RuntimeWarning, match="carries no digest"), Segmenter(engine, device="cuda") as segment:
        assert segment(FRAMES[0]).shape == FRAMES.shape[1:3]


def test_names_of_files_cannot_write_on_the_terminal(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edited(model, fact("fcn.classes", json.dumps(["\x1b[2J", *("x\ny\u202e",) * 6])))
    edited(model, fact("fcn.tool", json.dumps("a\rb")))
    exports.save(onnx.load(model), model)
    assert main(["info", str(model)]) == 0
    printed = capsys.readouterr().out
    assert r"7: \x1b[2J, x\ny\u202e" in printed and r"made by a\rb" in printed
    assert all(letter.isprintable() for line in printed.split("\n") for letter in line)


def test_a_certificate_and_the_model_are_of_the_same_bytes(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is swapped between two reads could pass with a certificate that is not its own."""
    reads: list[Path] = []
    read = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *how, **more: reads.append(path) or read(path, *how, **more))
    with pytest.raises(ModelFileError, match="not certified"):
        Segmenter(model, device="cpu", require_parity=0.1)
    assert reads == [model]


def test_the_advice_to_seal_works_as_it_is_printed(model: Path, tmp_path: Path) -> None:
    spaced = tmp_path / "a file.onnx"
    shutil.copy(model, spaced)
    edited(spaced, fact("fcn.palette", '"voc"'))
    with pytest.raises(ModelFileError) as refusal:
        read_model(spaced)
    advice = str(refusal.value).partition("seal it: ")[2]
    subprocess.run(advice, shell=True, check=True, capture_output=True)
    assert read_model(spaced).sealed
