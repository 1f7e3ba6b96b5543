"""What the command line makes of which input; nothing is overwritten by surprise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import MediaError
from ..pictures.inputs import IMAGE_SUFFIXES, find_inputs, is_video
from ..video.addresses import camera, is_generated, is_stream, public
from ..video.sinks import FOLDER, PICTURE, Content, Target, find_target


class Output(NamedTuple):
    """A place that a job writes to, as `open_sink` takes it, and what goes there."""

    where: str
    content: Content


@dataclass(frozen=True)
class Job:
    """One input and what to make of it.

    Attributes:
        source: a picture's path, or what `open_source` takes.
        outputs: where to.
        is_picture: whether it is one picture, not a sequence of frames.
    """

    source: str
    outputs: tuple[Output, ...] = ()
    is_picture: bool = False

    @property
    def files(self) -> list[Path]:
        """The files and folders among its outputs."""
        return [Path(output.where) for output in self.outputs if find_target(output.where).on_disk]


def plan_jobs(inputs: Sequence[str], output: str | None, *, labels: bool, overlay: bool) -> list[Job]:
    """Decide what is made of the inputs.

    Args:
        inputs: files, folders, glob patterns, cameras, addresses.
        output: a folder, which takes a file or two for each input; any other place that frames can go to, which takes
            one input; None for nothing.
        labels, overlay: what is wanted; neither means what suits the input.

    Returns:
        the jobs, in the order of the inputs.

    Raises:
        MediaError: an input is not there, or the output does not suit.
    """
    target = None if output is None else _target(output)
    if target is FOLDER:
        return [job for where in inputs for job in _jobs_for_folder(where, Path(str(output)), labels, overlay)]
    name = f"-o {output or '(none)'}"
    if len(inputs) > 1:
        raise MediaError(f"{name}: expected one input, got {len(inputs)}; name a folder for several")
    if labels and overlay:
        raise MediaError(f"{name}: expected --labels or --overlay, got both; name a folder for both")
    if target is None:
        return [Job(inputs[0])]
    content: Content = "labels" if labels else "overlay" if overlay else next(iter(target.sinks))
    _check_output(str(output), target, content, inputs[0])
    return [Job(inputs[0], (Output(str(output), content),), is_picture=target is PICTURE)]


def is_folder(output: str | None) -> bool:
    """Whether an output is a folder for the files of all inputs."""
    return output is not None and _target(output) is FOLDER


def check_targets(jobs: Sequence[Job], force: bool) -> None:
    """Raise MediaError where a job would overwrite an input, what another job makes or, without `force`, anything."""
    makers: dict[Path, str] = {}
    inputs = {Path(job.source).resolve() for job in jobs if not is_stream(job.source)}
    protected = inputs.union(*(source.parents for source in inputs))
    for job in jobs:
        for target in job.files:
            if target.resolve() in protected:
                raise MediaError(f"{target} would overwrite an input; choose another -o")
            if target in makers:
                both = f"{public(job.source)} and {public(makers[target])}"
                raise MediaError(f"{both} would both make {target}; name them in two calls")
            if target.exists() and not force:
                raise MediaError(f"{target} exists; add --force to overwrite it, or choose another -o")
            makers[target] = job.source


def _target(output: str) -> Target:
    try:
        return find_target(output)
    except MediaError as error:
        raise MediaError(f"-o {error}") from None


def _check_output(output: str, target: Target, content: Content, where: str) -> None:
    """Raise MediaError where an output cannot have this content, or one picture is to hold more than that."""
    target.check(output, content)
    if target is PICTURE and (is_stream(where) or Path(where).suffix.lower() not in IMAGE_SUFFIXES):
        raise MediaError(f"-o {output}: expected one picture as input, got {public(where)}; name a folder or a video")


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
        _outputs(
            labels=folder / f"{path.stem}_labels.png" if labels or both else None,
            overlay=folder / f"{path.stem}_overlay.png" if overlay or both else None,
        ),
        is_picture=True,
    )


def _sequence_job(where: str, stem: str, folder: Path, labels: bool, overlay: bool) -> Job:
    return Job(
        where,
        _outputs(
            labels=folder / f"{stem}_labels" if labels else None,
            overlay=folder / f"{stem}_overlay.mp4" if overlay or not labels else None,
        ),
    )


def _outputs(overlay: Path | None, labels: Path | None) -> tuple[Output, ...]:
    places: tuple[tuple[Path | None, Content], ...] = ((overlay, "overlay"), (labels, "labels"))
    return tuple(Output(str(path), content) for path, content in places if path)


def _stem(address: str) -> str:
    """A file name for a stream: the last word of its path, or the host, or what kind of source it is."""
    if "://" in address:
        # Of what may be told: a file's name is no place for a password.
        host, _, path = public(address).partition("://")[2].partition("?")[0].partition("/")
        return re.sub(r"[^\w.-]+", "", Path(path).stem or host.rpartition(":")[0] or host) or "stream"
    if is_generated(address):
        return address.partition(":")[0]
    return f"{'video' if address.startswith('/') else 'camera'}{camera(address)}"
