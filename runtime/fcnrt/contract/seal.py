"""The seal of a model file: a digest over its graph, weights and facts, by which damage and changes show.

It tells accidents: a flipped bit, a lost page, another tool's edit. It is no signature: who can write the file can
seal it, as `fcnrt seal` does for a file that was changed on purpose.

The graph's part is checked before anything is made of the file. That of the weights, half a gigabyte in a VGG, while
the engine reads them. SHA-256 over all of them would be a quarter of what a load costs; so they are summed in squares
of words first, along rows and down columns, and the sums are digested: what changes fewer than four words, one row or
one column shows for sure, as do rows, columns and squares that changed places.
"""

from __future__ import annotations

import hashlib
import io
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import ModelFileError, fcnrt_command, short
from .certificate import KEY as CERTIFICATE
from .certificate import digest
from .spec import PREFIX
from .weights import Place, properties, with_property, without_properties, without_weights

KEY = "digest"  # in a sidecar, and behind the prefix in an ONNX file
PROPERTY = PREFIX + KEY
_COVERED = (PREFIX, "Image.")  # other tools' properties may come and go
_LENGTH_BYTES = 8
_SIDE = 256  # words of a square's row and column: half a megabyte, which stays in the cache


class Seal(NamedTuple):
    """Digests of a model file.

    Attributes:
        graph: of everything but large weights and what other tools add to the metadata.
        weights: of the large weights, in their order.
    """

    graph: str
    weights: str


def sealed(data: bytes) -> bytes:
    """An ONNX file with the seal of what it is now; raises ValueError where it is none, or damaged."""
    skeleton, places = without_weights(data)
    seal = Seal(graph_digest(skeleton), weights_digest(io.BytesIO(data), places))
    return with_property(data, PROPERTY, json.dumps(seal._asdict()))


def graph_digest(skeleton: bytes) -> str:
    """Of a model without its weights."""
    facts = {
        key: value
        for key, value in properties(skeleton).items()
        if key.startswith(_COVERED) and key not in (PROPERTY, PREFIX + CERTIFICATE)
    }
    return digest(without_properties(skeleton), facts)


def weights_digest(file: BinaryIO, places: Mapping[str, Place]) -> str:
    """Of the weights that were left in a file, which is read square by square; raises OSError."""
    total, square = hashlib.sha256(), memoryview(bytearray(_SIDE * _SIDE * np.uint64().nbytes))
    for offset, length in places.values():
        total.update(length.to_bytes(_LENGTH_BYTES, "little"))
        file.seek(offset)
        while length > 0 and (count := file.readinto(square[:length])):  # type: ignore[attr-defined]
            total.update(_sums(square[:count]))
            length -= count
    return total.hexdigest()


def _sums(square: memoryview) -> bytes:
    """Sums of rows and columns, and what is no whole row as it is."""
    data = np.frombuffer(square, np.uint8)
    rest = len(data) % (_SIDE * np.uint64().nbytes)
    words = data[: len(data) - rest].view("<u8").reshape(-1, _SIDE)
    return b"".join(part.tobytes() for part in (words.sum(axis=1), words.sum(axis=0), data[len(data) - rest :]))


def read_seal(text: str | None, source: str) -> Seal | None:
    """A file's seal, None where it has none; raises ModelFileError where it is damaged."""
    if text is None:
        return None
    try:
        return Seal(**json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise broken(source) from error


def broken(source: str) -> ModelFileError:
    """What to say of a file that is not what was sealed."""
    return ModelFileError(
        f"{source}: this file was changed or damaged after it was made; copy or export it again, or, if it was "
        f"changed on purpose, seal it: {seal_command(source)}"
    )


def seal_command(source: str | Path) -> str:
    """What to type to seal a file as it is."""
    return fcnrt_command(f"seal {shlex.quote(short(source))}")


def content_digest(content: Mapping[str, Any]) -> str:
    """Of a sidecar's JSON object: everything but the certificate and the seal itself."""
    return digest({key: value for key, value in content.items() if key not in (CERTIFICATE, KEY)})


def sealed_content(content: Mapping[str, Any]) -> dict[str, Any]:
    """A sidecar's JSON object with the seal of what it is now."""
    return {**content, KEY: content_digest(content)}
