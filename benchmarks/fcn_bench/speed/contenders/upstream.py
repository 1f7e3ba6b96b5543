"""The network of a checkpoint as upstream defines it, in torch: where everybody who does not use fcnrt starts from."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path

from fcn_export.checkpoint_options import CheckpointOptions
from fcn_export.errors import ExportError
from fcn_export.families import Fcn, InputContract

from .base import CannotRun, Setup


def network(setup: Setup) -> tuple[Fcn, InputContract]:
    """A network of its own for each caller, in eval mode, and what its input was normalised by in training."""
    if setup.checkpoint is None:
        raise CannotRun("needs --checkpoint, the file that the model was exported from")
    try:
        net, contract = _loaded(setup.checkpoint, setup.reading)
    except ExportError as error:
        raise CannotRun(str(error)) from error
    return copy.deepcopy(net), contract


@lru_cache(1)
def _loaded(path: Path, reading: CheckpointOptions) -> tuple[Fcn, InputContract]:
    from fcn_export.checkpoints.opening import open_checkpoint

    opened = open_checkpoint(str(path), reading)
    return opened.net, opened.contract
