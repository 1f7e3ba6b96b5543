"""Files in onnxruntime-web in a headless Chromium: python browser.py PACKAGES PROVIDER FOLDER FILE...

Run with tests/helpers on the path. PACKAGES is a folder in which npm has installed onnxruntime-web, PROVIDER is one of
GRAPHICS; without a GPU, SwiftShader computes in its place. Prints what inside.py prints.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from chromium import Tab, chromium
from files_server import serving

GRAPHICS = {
    "wasm": "--disable-gpu",
    "webgl": "--enable-unsafe-swiftshader --use-gl=angle --use-angle=swiftshader",
    "webgpu": "--enable-unsafe-webgpu --use-webgpu-adapter=swiftshader --use-vulkan=swiftshader "
    "--enable-features=Vulkan",
}
PAGE = """<!doctype html><script type="module">
import * as ort from "./node_modules/onnxruntime-web/dist/ort.PROVIDER.min.mjs";
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const options = { executionProviders: ["PROVIDER"] };
window.open_ = async (text) => { window.session = await ort.InferenceSession.create(bytes(text), options); };
window.label = async (text, type, shape) => {
  const data = type === "uint8" ? bytes(text) : new Float32Array(bytes(text).buffer);
  const { labels } = await session.run({ frames: new ort.Tensor(type, data, shape) });
  return [labels.dims, Array.from(labels.data)];
};
window.told = (promise) => promise.then((value) => ({ value }), (error) => ({ error: String(error.message ?? error) }));
</script>
"""


def main(packages: Path, provider: str, folder: Path, names: list[str]) -> None:
    (packages / "index.html").write_text(PAGE.replace("PROVIDER", provider))
    with contextlib.ExitStack() as stack:
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        browser = stack.enter_context(chromium(Path(profile), GRAPHICS[provider]))
        tab = browser.open(stack.enter_context(serving(packages)) + "/index.html")
        tab.await_("Boolean(window.told)")
        for name in names:
            print(json.dumps({"file": name, "shares": shares(tab, folder / name)}), flush=True)


def shares(tab: Tab, path: Path) -> dict[str, float | str]:
    """Of each shape, the share of labels that are equal, or an error."""
    opened = tab.evaluate(f"told(open_('{text_of(path.read_bytes())}'))")
    if "error" in opened:
        return {"every shape": opened["error"]}
    with np.load(path.with_suffix(".npz")) as cases:
        shapes = [shape for shape in cases.files if "labels" not in shape]
        return {shape: share(tab, cases[shape], cases[f"{shape} labels"]) for shape in shapes}


def share(tab: Tab, frames: np.ndarray, expected: np.ndarray) -> float | str:
    data = text_of(frames.tobytes())
    made: dict[str, Any] = tab.evaluate(f"told(label('{data}', '{frames.dtype}', {list(frames.shape)}))")
    if "error" in made:
        return str(made["error"])
    shape, labels = made["value"]
    if tuple(shape) != expected.shape:
        return f"labels of the shape {tuple(shape)}, expected {expected.shape}"
    return float((np.array(labels).reshape(shape) == expected).mean())


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
