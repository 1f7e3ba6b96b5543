"""What the files that are made of several inputs are called, so that no two have one name."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..video.addresses import STDIN, camera, is_generated, public


class Source(NamedTuple):
    """An input: a file with the folder that it was found under, or a stream, which has none."""

    where: str
    root: Path | None = None


def output_names(sources: Sequence[Source]) -> list[str]:
    """Name what is made of each input: a path without suffix, to go under the output's folder.

    Files keep their place under the folder that they were found in. Where two would have one name, all keep their place
    under the folder that all have in common; where two still would, those take their suffix into the name. Streams are
    called after the end of their address, or after their host too.
    """
    names = [plain_name(source) for source in sources]
    if _clashes(names):
        common = _common_folder(sources)
        names = [plain_name(source if source.root is None else Source(source.where, common)) for source in sources]
    clashes = _clashes(names)
    named = zip(sources, names, strict=True)
    return [longer_name(source, name) if folded(name) in clashes else name for source, name in named]


def plain_name(source: Source) -> str:
    """A file's path below its root, without suffix; what a stream is called."""
    return _stream_name(source.where) if source.root is None else _under(source.root, source.where)


def _under(folder: Path, where: str) -> str:
    """A file's path below a folder, without its suffix; its name alone where it is not below it."""
    path = Path(os.path.relpath(where, folder))
    return str((Path(path.name) if ".." in path.parts else path).with_suffix(""))


def _common_folder(sources: Sequence[Source]) -> Path:
    folders = [Path(source.where).absolute().parent for source in sources if source.root]
    return Path(os.path.commonpath(folders)) if folders else Path()


def folded(name: str) -> str:
    """Equal for names that some disks take for one."""
    return name.casefold()


def _clashes(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(map(folded, names)).items() if count > 1}


def longer_name(source: Source, name: str) -> str:
    """A name that tells a file from others that are called so but for their suffix, or a stream by its host."""
    return f"{_host(source.where)}_{name}" if source.root is None else name + Path(source.where).suffix


def _stream_name(address: str) -> str:
    """The last word of an address's path, or the host, or what kind of source it is."""
    if "://" in address:
        # Of what may be told: a file's name is no place for a password.
        host, _, path = public(address).partition("://")[2].partition("?")[0].partition("/")
        return _plain(Path(path).stem or host.rpartition(":")[0] or host) or "stream"
    if address == STDIN:
        return "stdin"
    if is_generated(address):
        return address.partition(":")[0]
    if camera(address) is None:
        return Path(address).stem
    return f"{'video' if address.startswith('/') else 'camera'}{camera(address)}"


def _host(address: str) -> str:
    """Host and port of an address, or of other streams all that is told of them."""
    return _plain(public(address).partition("://")[2].partition("/")[0] or address)


def _plain(text: str) -> str:
    return re.sub(r"[^\w.-]+", "", text)
