"""How videos are encoded where the user has a say: with which codec, and how large or how good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import MediaError
from ..av_container import pyav
from .av_encoders import CONTAINERS, FILM_ENCODERS, STREAM_ENCODERS, Encoder, find_encoder

_USUAL_CODEC = "h264"
_QUALITY_OPTIONS = ("crf", "cq")
_TRIED_SIZE = (256, 256)  # every encoder takes it


class Coding(NamedTuple):
    """What is asked of an encoder; None leaves it to the program.

    Attributes:
        codec: h264, hevc or av1.
        bitrate: bits per second, on average.
        crf: constant quality, 0 for the best to `most_crf`.
    """

    codec: str | None = None
    bitrate: int | None = None
    crf: int | None = None

    @property
    def most_crf(self) -> int:
        """The largest `crf` of the codec."""
        return 63 if self.codec == "av1" else 51

    def film_encoders(self, path: str | Path) -> list[Encoder]:
        """The encoders for a file of this name that can do this, the preferred one first; raises MediaError."""
        codecs = CONTAINERS[Path(path).suffix.lower()].codecs
        return self._suitable({codec: FILM_ENCODERS[codec] for codec in codecs})

    def stream_encoders(self, codecs: Sequence[str] = tuple(STREAM_ENCODERS)) -> list[Encoder]:
        """The encoders for who watches now that can do this, the preferred one first; raises MediaError."""
        return self._suitable({codec: STREAM_ENCODERS[codec] for codec in codecs})

    def _suitable(self, table: Mapping[str, Sequence[Encoder]]) -> list[Encoder]:
        self._check(table)
        encoders = table[self.codec or _USUAL_CODEC]
        if self.bitrate is not None:
            return [_with(encoder, {"b": str(self.bitrate)}) for encoder in encoders]
        if self.crf is not None:
            crf = str(self.crf)
            return [_with(encoder, {encoder.quality: crf}) for encoder in encoders if encoder.quality]
        return list(encoders)

    def _check(self, table: Mapping[str, Sequence[Encoder]]) -> None:
        if (self.codec or _USUAL_CODEC) not in table:
            raise MediaError(f"expected --codec {' or '.join(table)} for this output, got {self.codec}")
        if self.bitrate is not None and self.crf is not None:
            raise MediaError("expected --bitrate or --crf, got both: one sets the size, the other the quality")
        if self.crf is not None and not 0 <= self.crf <= self.most_crf:
            raise MediaError(f"expected --crf from 0 to {self.most_crf}, got {self.crf}")


def check_encoders(encoders: Sequence[Encoder]) -> None:
    """Raise MediaError unless the installed FFmpeg has one of them."""
    find_encoder(pyav(), encoders, _TRIED_SIZE)


def _with(encoder: Encoder, options: Mapping[str, str]) -> Encoder:
    """An encoder with other options in the place of those for quality."""
    others = {name: value for name, value in encoder.options.items() if name not in _QUALITY_OPTIONS}
    return encoder._replace(options={**others, **options})
