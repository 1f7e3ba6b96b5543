"""What the command line makes of which input; nothing is overwritten by surprise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MediaError
from ..pictures.inputs import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_inputs, is_video
from ..video.sources.addresses import camera, is_generated, is_stream, public

STDOUT = "-"
FILM_SUFFIXES = (".mp4", ".mkv", ".mov")


@dataclass(frozen=True)
class Job:
    """One input and what to make of it.

    Attributes:
        source: a picture's path, or what `open_source` takes.
        is_picture: whether it is one picture, not a sequence of frames.
        labels: a .png for a picture; a folder of them, or a video file, for a sequence; None for no labels.
        overlay: a .png for a picture, a video file for a sequence; None for no overlay.
        to_stdout: whether the labels go to the standard output, bare.
    """

    source: str
    is_picture: bool = False
    labels: Path | None = None
    overlay: Path | None = None
    to_stdout: bool = False

    @property
    def targets(self) -> list[Path]:
        return [path for path in (self.labels, self.overlay) if path is not None]


def plan_jobs(inputs: Sequence[str], output: str | None, *, labels: bool, overlay: bool) -> list[Job]:
    """Decide what is made of the inputs.

    Args:
        inputs: files, folders, glob patterns, cameras, addresses.
        output: a folder, which takes a file or two for each input; a video file or "-", which take one sequence; None
            for nothing.
        labels, overlay: what is wanted; neither means what suits the input.

    Returns:
        the jobs, in the order of the inputs.

    Raises:
        MediaError: an input is not there, or the output does not suit.
    """
    if is_folder(output):
        _check_folder(str(output))
        return [job for where in inputs for job in _jobs_for_folder(where, Path(str(output)), labels, overlay)]
    if len(inputs) > 1:
        raise MediaError(f"-o {output or '(none)'}: expected one input, got {len(inputs)}; name a folder for several")
    if labels and overlay:
        raise MediaError(f"-o {output or '(none)'}: expected --labels or --overlay, got both; name a folder for both")
    if output is None:
        return [Job(inputs[0])]
    if output == STDOUT:
        return [Job(inputs[0], to_stdout=True)]
    return [Job(inputs[0], labels=Path(output) if labels else None, overlay=None if labels else Path(output))]


def is_folder(output: str | None) -> bool:
    """Tell whether an output names a folder: not the standard output, and not a video file."""
    return output not in (None, STDOUT) and Path(str(output)).suffix.lower() not in FILM_SUFFIXES


def check_targets(jobs: Sequence[Job], force: bool) -> None:
    """Raise MediaError where a job would overwrite an input, what another job makes or, without `force`, anything."""
    makers: dict[Path, str] = {}
    inputs = {Path(job.source).resolve() for job in jobs if not is_stream(job.source)}
    protected = inputs.union(*(source.parents for source in inputs))
    for job in jobs:
        for target in job.targets:
            if target.resolve() in protected:
                raise MediaError(f"{target} would overwrite an input; choose another -o")
            if target in makers:
                both = f"{public(job.source)} and {public(makers[target])}"
                raise MediaError(f"{both} would both make {target}; name them in two calls")
            if target.exists() and not force:
                raise MediaError(f"{target} exists; add --force to overwrite it, or choose another -o")
            makers[target] = job.source


def _check_folder(output: str) -> None:
    """Raise MediaError where a folder is named by what looks like, or is, a file."""
    path, pictured = Path(output), IMAGE_SUFFIXES + VIDEO_SUFFIXES
    if not output or (not path.is_dir() and (path.exists() or path.suffix.lower() in pictured)):
        raise MediaError(
            f"-o {output or repr(output)}: expected a folder, a video ({', '.join(FILM_SUFFIXES)}) or -, "
            f"got {'a file' if path.is_file() else 'another name'}"
        )


def _jobs_for_folder(where: str, folder: Path, labels: bool, overlay: bool) -> list[Job]:
    if is_stream(where):
        return [_sequence_job(where, _stem(where), folder, labels, overlay)]
    return [
        _sequence_job(str(path), path.stem, folder, labels, overlay)
        if is_video(path)
        else _picture_job(path, folder, labels, overlay)
        for path in find_inputs([where])
    ]


def _picture_job(path: Path, folder: Path, labels: bool, overlay: bool) -> Job:
    both = not (labels or overlay)
    return Job(
        str(path),
        is_picture=True,
        labels=folder / f"{path.stem}_labels.png" if labels or both else None,
        overlay=folder / f"{path.stem}_overlay.png" if overlay or both else None,
    )


def _sequence_job(where: str, stem: str, folder: Path, labels: bool, overlay: bool) -> Job:
    return Job(
        where,
        labels=folder / f"{stem}_labels" if labels else None,
        overlay=folder / f"{stem}_overlay.mp4" if overlay or not labels else None,
    )


def _stem(address: str) -> str:
    """A file name for a stream: the last word of its path, or the host, or what kind of source it is."""
    if "://" in address:
        # Of what may be told: a file's name is no place for a password.
        host, _, path = public(address).partition("://")[2].partition("?")[0].partition("/")
        return re.sub(r"[^\w.-]+", "", Path(path).stem or host.rpartition(":")[0] or host) or "stream"
    if is_generated(address):
        return address.partition(":")[0]
    return f"{'video' if address.startswith('/') else 'camera'}{camera(address)}"
