"""Rasters, such as satellite and aerial pictures: read by windows, labelled, and written with their place on Earth."""

from .labelling import label_raster
from .reading import Raster

__all__ = ["Raster", "label_raster"]
