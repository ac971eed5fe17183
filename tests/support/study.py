"""A study in which each run goes another way."""

import shutil
from pathlib import Path

import runs
from toy import write_run


def write_study(root: Path) -> Path:
    """Write runs below a folder: two that are whole, one with a damaged file, one too short, and a folder with two."""
    for name, niters in {"a": [2, 4, 6], "b": [2, 4, 6, 8], "damaged": [2, 4, 6], "short": [2]}.items():
        (root / name).mkdir(parents=True)
        write_run(root / name, niters)
    (root / "damaged" / "model_iter0004.hdf5").write_bytes(b"no checkpoint")
    shutil.copytree(runs.DATA / "resume" / "mixed_in_one_folder", root / "mix")
    return root
