"""Writes a run as PtyRAD does, at random pauses.

python tests/support/writer.py SOURCE TARGET PLANNED LONGEST_PAUSE SEED
"""

import random
import sys
import time
from pathlib import Path

import h5py


def main() -> None:
    source, target, planned, longest, seed = sys.argv[1:]
    draw = random.Random(seed)

    def pause(most: float = float(longest)) -> None:
        time.sleep(draw.uniform(0, most))

    pause()
    Path(target).mkdir(exist_ok=True)
    paths = [path for path in sorted(Path(source).glob("*.hdf5")) if int(path.stem[-4:]) <= int(planned)]
    for path in paths:
        pause()
        write_in_place(path, Path(target) / path.name, int(planned), pause)
        # The engine opens the file once more to say where it comes from.
        pause(0.1 if path == paths[-1] else float(longest))
        with unlocked(Path(target) / path.name) as file:
            file.attrs["provenance_json"] = "{}" + " " * draw.randrange(2000)


def unlocked(path: Path) -> h5py.File:
    """Open a file to add to it, once no reader has it locked."""
    while True:
        try:
            return h5py.File(path, "r+")
        except BlockingIOError:
            time.sleep(0.01)


def write_in_place(path: Path, target: Path, planned: int, pause) -> None:
    """Dataset by dataset, under the final name."""
    with h5py.File(path) as whole, h5py.File(target, "w") as file:
        names: list[str] = []
        whole.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        slow = set(names[:: max(len(names) // 4, 1)])
        for name in names:
            if name in slow:
                file.flush()
                pause()
            file[name] = whole[name][()]
        file["params/recon_params/NITER"][...] = planned


if __name__ == "__main__":
    main()
