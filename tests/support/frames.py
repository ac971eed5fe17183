"""Frames of runs, to look at in tests."""

from ptyconv_cli.analysis.frames import KINDS, frames_of_run
from ptyconv_cli.checkpoints.chain import Selection


def frames_in(run_dir, tensors=None, *, select=None, strict=False, chain=()):
    return frames_of_run(run_dir, Selection(tensors, None, select, strict), chain)


def seen_in(frames, device="cpu"):
    """All frames by iteration: each with its images by kind and layer, copied."""
    found = {}
    for frame in frames.read(device):
        images = {kind: {} for kind in KINDS}
        for kind, of_kind in frame.pictures:
            images[kind] |= {layer: image.copy() for layer, image in of_kind.items()}
        found[frame.header.niter] = (frame, images)
    return found
