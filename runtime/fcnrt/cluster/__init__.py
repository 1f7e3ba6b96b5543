"""Archives of pictures and films, labelled by several workers: what is made once, whole, and written down."""

from .on_ray import label

__all__ = ["label"]
