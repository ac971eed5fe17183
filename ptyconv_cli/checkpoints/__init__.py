"""Checkpoint files: which there are in a run folder, and how each kind is read."""

from pathlib import Path

import torch

from ptyconv_cli.checkpoints.ptyrad import Checkpoint, Tree
from ptyconv_cli.device import HostBuffers


def open_checkpoint(path: Path, device: torch.device, host_buffers: HostBuffers | None = None) -> Checkpoint:
    """Open a checkpoint file as a model with its tensors on `device`; raise CheckpointError where that fails.

    `host_buffers`: what its tensors pass through on their way to a GPU, to be used again for other checkpoints.
    """
    return Checkpoint(TREES[path.suffix](path), device, host_buffers)


def _open_hdf5(path: Path) -> Tree:
    from ptyconv_cli.checkpoints.hdf5 import Hdf5Tree

    return Hdf5Tree(path)


def _open_pt(path: Path) -> Tree:
    from ptyconv_cli.checkpoints.pt import PtTree

    return PtTree(path)


TREES = {".hdf5": _open_hdf5, ".h5": _open_hdf5, ".pt": _open_pt}
