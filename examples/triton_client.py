"""Label a picture on a Triton server; frame and labels go through shared memory of this machine.

python examples/triton_client.py fcn8s street.jpg labels.png --url localhost:8000

Needs `pip install 'tritonclient[http]'` and a server of this machine with what `fcnrt server-config` wrote.
"""

import argparse

import numpy as np


def main() -> None:
    """Send one frame and write its labels as a grey PNG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("picture")
    parser.add_argument("labels")
    parser.add_argument("--url", default="localhost:8000")
    options = parser.parse_args()

    import tritonclient.http as triton
    from PIL import Image

    frames = np.asarray(Image.open(options.picture).convert("RGB"))[None]  # (1, H, W, 3)
    client = triton.InferenceServerClient(options.url)
    with Shared(client, "frames", frames.nbytes) as given, Shared(client, "labels", frames[..., 0].size) as made:
        given.write(frames)
        inputs = [triton.InferInput("frames", frames.shape, "UINT8")]
        inputs[0].set_shared_memory("frames", frames.nbytes)
        outputs = [triton.InferRequestedOutput("labels", binary_data=True)]
        outputs[0].set_shared_memory("labels", frames[..., 0].size)
        client.infer(options.model, inputs, outputs=outputs)
        labels = made.read(np.uint8, frames.shape[:-1])
        Image.fromarray(labels[0]).save(options.labels)


class Shared:
    """A piece of system shared memory that a server knows by the same name."""

    def __init__(self, client, name: str, nbytes: int):
        import tritonclient.utils.shared_memory as memory

        self._memory, self._client, self._name, self._nbytes = memory, client, name, nbytes

    def __enter__(self) -> "Shared":
        self._handle = self._memory.create_shared_memory_region(self._name, f"/fcnrt_{self._name}", self._nbytes)
        self._client.register_system_shared_memory(self._name, f"/fcnrt_{self._name}", self._nbytes)
        return self

    def __exit__(self, *error: object) -> None:
        self._client.unregister_system_shared_memory(self._name)
        self._memory.destroy_shared_memory_region(self._handle)

    def write(self, array: np.ndarray) -> None:
        """Copy an array in."""
        self._memory.set_shared_memory_region(self._handle, [array])

    def read(self, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
        """A copy of what the server wrote."""
        return self._memory.get_contents_as_numpy(self._handle, dtype, shape).copy()


if __name__ == "__main__":
    main()
