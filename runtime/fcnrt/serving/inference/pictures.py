"""A picture in, its labels out: as a palette PNG, as an overlay, as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...contract.types import Array, UInt8Array
from ...errors import MediaError
from ...pictures.drawing import Drawing
from ...pictures.reading import read_image
from ...pictures.writing import jpeg_of, png_of_labels
from .limits import Refusal


class Output(NamedTuple):
    """A kind of answer: its content type, and what makes it of a frame, its labels and a palette."""

    content_type: str
    make: Callable[[UInt8Array, Array, UInt8Array], bytes]


OUTPUTS = {
    "labels": Output("image/png", lambda frame, labels, palette: png_of_labels(labels, palette)),
    "overlay": Output("image/jpeg", lambda frame, labels, palette: jpeg_of(Drawing(palette)(frame, labels))),
    "raw": Output(
        "application/octet-stream",
        lambda frame, labels, palette: labels.astype(labels.dtype.newbyteorder("<"), copy=False).tobytes(),
    ),
}


def chosen_output(query: str | None, accept: str) -> Output:
    """The kind that `?output=` names; else the first content type of `Accept` that there is, labels where any will do.

    Raises:
        Refusal: there is no such kind.
    """
    if query is not None:
        if query not in OUTPUTS:
            raise Refusal(400, f"output: expected {', '.join(OUTPUTS)}, got {query!r}")
        return OUTPUTS[query]
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    by_type = {output.content_type: output for output in OUTPUTS.values()}
    by_type |= {"*/*": OUTPUTS["labels"], "image/*": OUTPUTS["labels"], "": OUTPUTS["labels"]}
    for content_type in wanted:
        if content_type in by_type:
            return by_type[content_type]
    raise Refusal(406, f"Accept: expected {', '.join(out.content_type for out in OUTPUTS.values())}, got {accept!r}")


def decoded(body: bytes, most_pixels: int) -> UInt8Array:
    """A picture's bytes as a frame (H, W, 3) RGB, upright; raises Refusal."""
    try:
        frame = read_image(body, max_pixels=most_pixels)
    except MediaError as error:
        text = str(error)
        raise Refusal(413 if "megapixels" in text else 400, text.partition("; if you trust")[0]) from error
    return np.ascontiguousarray(frame)


def described(labels: Array, number_of_classes: int) -> dict[str, str]:
    """Headers that tell how raw labels are to be read."""
    return {
        "X-Labels-Shape": ",".join(map(str, labels.shape)),
        "X-Labels-Type": labels.dtype.name,
        "X-Labels-Classes": str(number_of_classes),
    }
