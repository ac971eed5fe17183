"""One checkpoint."""

import numpy as np
import runs

from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.results.run_analysis import Region


def test_a_closed_checkpoint_leaves_its_numbers():
    with open_checkpoint(runs.SAMPLE / "model_iter0010.hdf5") as checkpoint:
        probe, positions = checkpoint.read("probe", Region(0, 1, 0, 1)), checkpoint.crop_pos()
    assert probe.dtype == np.complex64
    assert probe.shape == (2, 32, 32)
    assert positions.shape == (120, 2)
