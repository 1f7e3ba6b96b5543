"""What the command line makes of which input; nothing is overwritten by surprise."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import MediaError
from ..pictures.inputs import find, is_video
from ..pictures.kinds import kind_of
from ..rasters.reading import RASTER_SUFFIXES
from ..rasters.writing import LABEL_SUFFIXES
from ..video.addresses import is_stream, public
from ..video.sinks import FILM, FOLDER, PICTURE, Content, Target, check_coding, find_target
from ..video.sinks.av_coding import Coding
from .names import Source, output_names

NAME = "{name}"  # in an output for several inputs, each input's own


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
        is_raster: whether it is read, and its labels are written, by windows.
    """

    source: str
    outputs: tuple[Output, ...] = ()
    is_picture: bool = False
    is_raster: bool = False

    @property
    def files(self) -> list[Path]:
        """The files and folders among its outputs."""
        return [Path(output.where) for output in self.outputs if find_target(output.where).on_disk]


class Plan(NamedTuple):
    """All jobs of one call, and one line for each thing that was passed over."""

    jobs: list[Job]
    notes: list[str]


def plan_jobs(inputs: Sequence[str], output: str | None, *, labels: bool, overlay: bool) -> Plan:
    """Decide what is made of the inputs.

    Args:
        inputs: files, folders, glob patterns, cameras, addresses.
        output: a folder, which takes a file or two for each input; any other place that frames can go to, which takes
            one input, or several where it has {name} in it; None for nothing.
        labels, overlay: what is wanted; neither means what suits the input.

    Returns:
        the jobs, in the order of the inputs, and what was passed over.

    Raises:
        MediaError: an input is not there, or the output does not suit.
    """
    target = None if output is None else _target(output)
    if target is FOLDER:
        return _plan_for_folder(inputs, Path(str(output)), labels, overlay)
    name = f"-o {output or '(none)'}"
    if target is None and not (labels or overlay):
        return Plan([Job(where) for where in inputs], [])
    if len(inputs) > 1 and NAME in str(output):
        return _plan_for_names(inputs, str(output), labels, overlay)
    if len(inputs) > 1:
        raise MediaError(f"{name}: expected one input, got {len(inputs)}; name a folder for several, or write {{name}}")
    if labels and overlay:
        raise MediaError(f"{name}: expected --labels or --overlay, got both; name a folder for both")
    if target is None:
        return Plan([Job(inputs[0])], [])
    return Plan([_only_job(inputs[0], str(output), target, labels, overlay)], [])


def _only_job(where: str, output: str, target: Target, labels: bool, overlay: bool) -> Job:
    """One output of one input."""
    is_raster = not is_stream(where) and target is PICTURE and _ends_in(RASTER_SUFFIXES, where)
    of_raster = is_raster and _ends_in(LABEL_SUFFIXES, output) and not overlay
    content: Content = "labels" if labels or of_raster else "overlay" if overlay else next(iter(target.sinks))
    _check_output(output, target, content, where)
    if target is PICTURE and content == "labels" and not (of_raster or _ends_in((".png",), output)):
        raise MediaError(f"-o {output}: expected a name that ends in .png for labels, or in .tif for those of a TIFF")
    return Job(where, (Output(output, content),), is_picture=target is PICTURE, is_raster=of_raster)


def _ends_in(suffixes: tuple[str, ...], where: str) -> bool:
    return Path(where).suffix.lower() in suffixes


def _plan_for_names(inputs: Sequence[str], output: str, labels: bool, overlay: bool) -> Plan:
    """One output for each input, with the input's name in it."""
    names = output_names([Source(where) for where in inputs])
    plans = [
        plan_jobs([where], output.replace(NAME, name), labels=labels, overlay=overlay)
        for where, name in zip(inputs, names, strict=True)
    ]
    return Plan([job for plan in plans for job in plan.jobs], [])


def is_folder(output: str | None) -> bool:
    """Whether an output is a folder for the files of all inputs."""
    return output is not None and _target(output) is FOLDER


def check_targets(jobs: Sequence[Job], force: bool, *, in_parts: bool = False) -> None:
    """Raise MediaError where a job would overwrite an input, what another job makes or, without `force`, anything.

    Films that come in parts get names that nothing has yet.
    """
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
            replaced = target.exists() and not (in_parts and _target(str(target)) is FILM)
            if replaced and not force:
                raise MediaError(f"{target} exists; add --force to overwrite it, or choose another -o")
            makers[target] = job.source


def check_codings(jobs: Sequence[Job], coding: Coding) -> None:
    """Raise MediaError where something is asked of encoders that an output's cannot do."""
    if coding == Coding():
        return
    outputs = [output for job in jobs if not job.is_picture or len(jobs) == 1 for output in job.outputs]
    if not outputs:
        raise MediaError("--codec, --bitrate, --crf are for videos: no output is one")
    for where, content in outputs:
        check_coding(where, content, coding)


def _target(output: str) -> Target:
    try:
        return find_target(output)
    except MediaError as error:
        raise MediaError(f"-o {error}") from None


def _check_output(output: str, target: Target, content: Content, where: str) -> None:
    """Raise MediaError where an output cannot have this content, or one picture is to hold more than that."""
    target.check(output, content)
    if target is PICTURE and (is_stream(where) or kind_of(where) != "picture"):
        raise MediaError(f"-o {output}: expected one picture as input, got {public(where)}; name a folder or a video")


def _plan_for_folder(inputs: Sequence[str], folder: Path, labels: bool, overlay: bool) -> Plan:
    """A file or two in the folder for each input."""
    sources: list[Source] = []
    notes: list[str] = []
    for where in inputs:
        if is_stream(where):
            sources.append(Source(where))
            continue
        found = find(where)
        sources.extend(Source(str(path), found.root) for path in found.paths)
        notes.extend([found.note] if found.note else [])
    return Plan(jobs_in(str(folder), sources, labels=labels, overlay=overlay), notes)


def jobs_in(folder: str, sources: Sequence[Source], *, labels: bool, overlay: bool) -> list[Job]:
    """A file or two in a folder for each source, which is taken once."""
    each = {os.path.abspath(source.where) if source.root else source: source for source in sources}
    sources = list(each.values())
    return [
        job_of(source, os.path.join(folder, name), is_moving(source), labels=labels, overlay=overlay)
        for source, name in zip(sources, output_names(sources), strict=True)
    ]


def is_moving(source: Source) -> bool:
    """Whether a source is a sequence of frames, not one picture; looks into its file."""
    return source.root is None or is_video(source.where)


def job_of(source: Source, name: str, moves: bool, *, labels: bool, overlay: bool) -> Job:
    """A file or two for a source, named by a path without suffix, which is a sequence of frames or one picture."""
    if moves:
        films = _outputs(
            overlay=f"{name}_overlay.mp4" if overlay or not labels else None,
            labels=f"{name}_labels" if labels else None,
        )
        return Job(source.where, films)
    both = not (labels or overlay)
    pictures = _outputs(
        overlay=f"{name}_overlay.png" if overlay or both else None,
        labels=f"{name}_labels.png" if labels or both else None,
    )
    return Job(source.where, pictures, is_picture=True)


def _outputs(overlay: str | None, labels: str | None) -> tuple[Output, ...]:
    places: tuple[tuple[str | None, Content], ...] = ((overlay, "overlay"), (labels, "labels"))
    return tuple(Output(where, content) for where, content in places if where)
