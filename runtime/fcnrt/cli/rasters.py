"""What `fcnrt segment` does with rasters, which are read and written by windows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..errors import MediaError
from ..rasters import Raster, label_raster
from ..segmenter import Segmenter
from .jobs import Job
from .terminal import complain
from .tiles import tiles_shown

UNFIT = {"roi": "--roi", "show": "--show", "serve": "--serve", "events": "--events"}  # flags, by option


def check_rasters(jobs: Sequence[Job], options: argparse.Namespace) -> None:
    """Raise MediaError where something is asked of rasters that is not done by windows, or of others what is theirs."""
    if options.bands and not all(job.is_raster for job in jobs):
        raise MediaError("--bands is for TIFF and JPEG 2000 to labels as .tif: -o labels.tif")
    for option, flag in UNFIT.items():
        if getattr(options, option) and any(job.is_raster for job in jobs):
            raise MediaError(f"{flag}: labels as .tif are made by windows, without it; name a .png, or leave it out")


def do_raster(job: Job, segmenter: Segmenter, options: argparse.Namespace) -> None:
    """Make the file of labels; raises what `label_raster` raises."""
    (output,) = job.outputs
    with Raster(job.source, bands=options.bands, levels=options.levels) as raster:
        for note in raster.notes:
            complain(note)
        with tiles_shown(segmenter, raster.shape[:2], job.source):
            label_raster(segmenter, raster, Path(output.where), colours=options.label_format == "palette")
