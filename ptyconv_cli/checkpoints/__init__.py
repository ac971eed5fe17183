"""Checkpoint files: which there are in a run folder, and how each kind is read."""

from pathlib import Path

import torch

from ptyconv_cli.checkpoints.ptyrad import Checkpoint, Tree


def open_checkpoint(path: Path, device: torch.device) -> Checkpoint:
    """Open a checkpoint file as a model with its tensors on `device`; raise CheckpointError where that fails."""
    return Checkpoint(TREES[path.suffix](path), device)


def _open_hdf5(path: Path) -> Tree:
    from ptyconv_cli.checkpoints.hdf5 import Hdf5Tree

    return Hdf5Tree(path)


def _open_pt(path: Path) -> Tree:
    from ptyconv_cli.checkpoints.pt import PtTree

    return PtTree(path)


TREES = {".hdf5": _open_hdf5, ".h5": _open_hdf5, ".pt": _open_pt}
