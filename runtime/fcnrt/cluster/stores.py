"""Inputs and outputs in object stores, s3://BUCKET/KEY and gs://BUCKET/KEY, through pyarrow's file systems."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import MediaError, first_line, needs

_ADDRESS = re.compile(r"(s3|gs)://([^/]*)/*(.*)", re.DOTALL)
_YES = ("1", "yes", "true")


class Listing(NamedTuple):
    """What an address names.

    Attributes:
        root: the folder that it searches, as an address.
        objects: addresses, in the order of their names.
    """

    root: str
    objects: list[str]


def is_stored(where: str) -> bool:
    """Whether a name is an address in an object store."""
    return bool(_ADDRESS.match(where))


def find_stored(address: str) -> Listing:
    """List objects.

    Args:
        address: of an object; of a folder (without its subfolders); or a pattern with `*`, `?` and `**`, which crosses
            folders.

    Raises:
        MediaError: nothing is there, or the store refuses.
        MissingDependency: pyarrow is not installed.
    """
    scheme, bucket, key = _parts(address)
    fixed = re.split(r"[*?]", key)[0].rpartition("/")[0] if _is_pattern(key) else key.rstrip("/")
    root = f"{scheme}://{bucket}/{fixed}".rstrip("/")
    found = list(_objects(address, root, recursive=_is_pattern(key)))
    if _is_pattern(key):
        matches = _pattern(key)
        found = [each for each in found if matches(_parts(each)[2])]
    elif found == [root]:
        root = root.rpartition("/")[0]
    if not found:
        raise MediaError(f"{address}: no such object or folder")
    return Listing(root, sorted(found))


def everything_below(address: str) -> set[str]:
    """The addresses of all objects in a folder, at any depth, and of the folders that they are in.

    Raises:
        MediaError: the store refuses.
    """
    found = set(_objects(address, address.rstrip("/"), recursive=True))
    return found | {folder for each in found for folder in _folders(each)}


def fetch(address: str, path: Path) -> None:
    """Copy an object to a file; raises OSError."""
    _copy(address, path, to_store=False)


def put(path: Path, address: str) -> None:
    """Copy a file to an object, which is there whole or not at all; raises OSError."""
    _copy(address, path, to_store=True)


def put_folder(folder: Path, address: str) -> None:
    """Copy the files of a folder to objects, in the place of those that were there; raises OSError."""
    store, path = _open(address)
    store.delete_dir_contents(path, missing_dir_ok=True)
    for file in sorted(folder.iterdir()):
        put(file, f"{address}/{file.name}")


def check_address(address: str) -> None:
    """Raise MediaError unless an address names a bucket, and no secrets."""
    _parts(address)


def _copy(address: str, path: Path, *, to_store: bool) -> None:
    import pyarrow.fs

    store, key = _open(address)
    local = pyarrow.fs.LocalFileSystem()
    if to_store:
        pyarrow.fs.copy_files(str(path), key, source_filesystem=local, destination_filesystem=store)
    else:
        pyarrow.fs.copy_files(key, str(path), source_filesystem=store, destination_filesystem=local)


def _objects(address: str, root: str, *, recursive: bool) -> Iterator[str]:
    """The object of that name, or those below it."""
    with needs("pyarrow", "fcnrt[batch]"):
        import pyarrow.fs
    scheme, _, _ = _parts(root)
    try:
        store, path = _open(root)
        (found,) = store.get_file_info([path])
        if found.type == pyarrow.fs.FileType.File:
            yield root
        if found.type == pyarrow.fs.FileType.Directory:
            for each in store.get_file_info(pyarrow.fs.FileSelector(path, recursive=recursive)):
                if each.type == pyarrow.fs.FileType.File:
                    yield f"{scheme}://{each.path}"
    except (OSError, ValueError) as error:
        raise MediaError(f"{address}: cannot be listed ({first_line(error)})") from error


def _open(address: str) -> tuple[Any, str]:
    scheme, bucket, key = _parts(address)
    return _store(scheme, bucket), f"{bucket}/{key}".rstrip("/")


@cache
def _store(scheme: str, bucket: str) -> Any:
    import pyarrow.fs

    if scheme != "s3":
        return pyarrow.fs.FileSystem.from_uri(f"{scheme}://{bucket}")[0]
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return pyarrow.fs.S3FileSystem(
        anonymous=os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() in _YES,
        endpoint_override=endpoint,
        region=region or (None if endpoint else pyarrow.fs.resolve_s3_region(bucket)),
        allow_delayed_open=True,  # one request for a small object instead of three
    )


def _parts(address: str) -> tuple[str, str, str]:
    match = _ADDRESS.match(address)
    if match is None or not match[2] or "@" in match[2]:
        raise MediaError(
            f"{address.rpartition('@')[2]}: expected s3://BUCKET/KEY; keys are taken from AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY or ~/.aws"
        )
    return match[1], match[2], match[3]


def _is_pattern(key: str) -> bool:
    return "*" in key or "?" in key


def _pattern(key: str) -> Callable[[str], Any]:
    """Match keys as the shell matches paths."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", key)
    return re.compile("".join(words.get(piece, re.escape(piece)) for piece in pieces), re.DOTALL).fullmatch


def _folders(address: str) -> Iterator[str]:
    while (address := address.rpartition("/")[0]).count("/") > 2:
        yield address
