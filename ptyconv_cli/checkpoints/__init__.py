"""Checkpoint files: which there are in a run folder, how each kind is read. Only for `.pt` files torch is loaded."""

from pathlib import Path

from ptyconv_cli.checkpoints.ptyrad import Checkpoint, Tree


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint file; raise CheckpointError where that fails."""
    return Checkpoint(TREES[path.suffix](path))


def _open_hdf5(path: Path) -> Tree:
    from ptyconv_cli.checkpoints.hdf5 import Hdf5Tree

    return Hdf5Tree(path)


def _open_pt(path: Path) -> Tree:
    from ptyconv_cli.checkpoints.pt import PtTree

    return PtTree(path)


TREES = {".hdf5": _open_hdf5, ".h5": _open_hdf5, ".pt": _open_pt}
