"""Analyzes runs with one damaged file, each in a process of its own: `make fuzz`, and a short round in the tests.

    python tests/support/fuzz.py [--count N] [--seed N]

Whatever the damage, the outcome is numbers or one clean error: no traceback, no crash, nothing that takes a core 20 s,
or 3 GB.
And no number is wrong: between whole files it is that of the whole run, but for rounding; and so it is at the damaged
file where the damage lies outside the tensors. HDF5 as PtyRAD writes it has no checksums: damage to the description of
where a tensor lies may go unnoticed, and is counted.
"""

import argparse
import io
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch
from runs import DATA, SAMPLE, SAMPLE_PT

import ptyconv_cli.analysis.compare  # noqa: F401  loaded here, so that the many processes need not load it
from ptyconv_cli.analysis.report import CHANGES_NAME, REPORT_NAME
from ptyconv_cli.checkpoints import headers as checkpoint_headers
from ptyconv_cli.cli.main import main as ptyconv

LIMIT = 20
"""Seconds of a core that an analysis may take."""

PATIENCE = 300
"""Seconds after which one that waits for ever is ended."""

MEMORY = 3 << 30
"""Bytes that it may ask for."""

PY4DSTEM = "ptychographic_reconstruction_root/ptychographic_reconstruction"
"""The group of a file of py4DSTEM that holds all else."""

TENSORS = (
    *(f"optimizable_tensors/{name}" for name in ("obja", "objp", "probe", "probe_pos_shifts")),
    *("object/data", "probe/data", "scan/data"),
    *("components/object/tensors/amp", "components/object/tensors/phase", "components/probe/tensors/modes"),
    "components/positions/tensors/shifts",
    *("object", "probe", "probe_position_x_m", "probe_position_y_m", "positions_px", "outputs/probe_positions"),
    *("content/obj/Sscan00G00/data", "content/probe/Sscan00G00/data"),
    *("obj", "translations", "obj_basis", "oversampling", "encoder_corrected"),
    *(f"state_dict/{flag}" for flag in ("exponentiate_obj", "phase_only", "fourier_probe")),
    *(f"{PY4DSTEM}/_{name}_emd/data" for name in ("object_iterations", "probe_iterations", "object", "probe")),
    f"{PY4DSTEM}/metadatabundle/preprocess_metadata/positions_px",
)
ALSO_READ = (
    *("niter", "loss_iters", "model_attributes/crop_pos", "model_attributes/dx"),
    *("type", "iter/total_iter", "iter/engine_iter", "object/sampling", "object/corner", "scan/initial"),
    *("components/positions/tensors/crop_pos", "model_meta/dx", "model_meta/length_unit"),
    *("loss_values", "loss_epochs", "loss", "init_positions_px", "obj_pixel_size_m", "slice_spacings_m"),
    *("outputs/fourier_error_out", "outputs/probe_positions_0", "p/dx_spec", "p/multi_slice_param/z_distance"),
    *(f"content/runtime/iter_info/00000/{name}" for name in ("iterations", "iteration", "error")),
    *(f"content/obj/Sscan00G00/{name}" for name in ("_psize", "_center", "padding")),
    *("epoch", "loss_history", "original_translations", "state_dict/min_translation", "error", "dxp"),
    f"{PY4DSTEM}/metadatabundle/preprocess_metadata/sampling",
    f"{PY4DSTEM}/metadatabundle/reconstruction_metadata/reconstruction_error",
    f"{PY4DSTEM}/_object_iterations_emd/dim2",
)
TOUCHED = "touched"
"""A folder that is made where code in a file is run."""

Parts = list[tuple[int, int]]
Points = dict[tuple[str, int, int], float | None]


SERIES = {
    "ptychodus": "ptychodus/product.0*.h5",
    "PEAR": "pear/*/*/recon_Niter*.h5",
    "fold_slice": "fold_slice/*/Niter*.mat",
    "ptypy": "ptypy/autosave/dumps/*/*.ptyr",
    "cdtools": "cdtools/recon_*.h5",
    "PtyLab": "ptylab/recon_*.hdf5",
    "py4DSTEM": "py4DSTEM/*/ptycho.h5",
    "quantem": "quantem/*/ptycho.zip",
}
"""Series of other engines: where their files are."""

ARCHIVES = "quantem archives"
"""A series of archives, each of which holds one state."""

WRITES_ARCHIVES = Path(__file__).with_name("quantem_archives.py")

AS_WRITTEN = ("HDF5", ".pt", "py4DSTEM", "quantem", ARCHIVES)
"""Whose files are copied as they are."""


def number_of(path: Path) -> int | None:
    """The iteration in a file's name, None where the file holds a whole run."""
    numbers = re.findall(r"\d+", path.stem.removeprefix("ptycho"))
    return int(numbers[-1]) if numbers else None


class Damage(NamedTuple):
    """What was done to a file: `touches` tensors (whose numbers may then be any), the description, or nothing."""

    what: str
    touches: str


# --- damage -----------------------------------------------------------------------------------------------------------


def parts_of(path: Path) -> tuple[Parts, Parts]:
    """Return where in a file the numbers of the tensors are, and where all other numbers are."""
    tensors: Parts = []
    others: Parts = []
    if path.suffix == ".pt":
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for entry in archive.infolist():
                file.seek(entry.header_offset + 26)
                name_length, extra_length = np.frombuffer(file.read(4), "<u2").tolist()
                start = entry.header_offset + 30 + name_length + extra_length
                if not entry.filename.endswith(".pkl"):
                    tensors.append((start, start + entry.file_size))
        return tensors, others
    if path.suffix == ".zip":  # whose entries have checksums
        return tensors, others
    with h5py.File(path) as file:

        def visit(name: str, item: object) -> None:
            if not isinstance(item, h5py.Dataset):
                return
            start = item.id.get_offset()
            if start is not None:
                (tensors if name in TENSORS else others).append((start, start + item.id.get_storage_size()))

        file.visititems(visit)
    return tensors, others


def damage_bytes(path: Path, draw: random.Random) -> Damage:
    tensors, others = parts_of(path)
    content = bytearray(path.read_bytes())
    kind = draw.choice(["bits", "bits of the head", "bits of other numbers", "zeros", "truncated", "longer"])
    places: list[int] = []
    if kind == "truncated":
        del content[draw.randrange(len(content)) :]
    elif kind == "longer":
        content += draw.randbytes(draw.randrange(1, 5000))
    elif kind == "zeros":
        start = draw.randrange(len(content))
        places = list(range(start, min(start + draw.randrange(1, 2000), len(content))))
        content[start : places[-1] + 1] = bytes(len(places))
    else:
        low, high = 0, len(content)
        if kind == "bits of the head":
            high = min(high, 8192)
        elif kind == "bits of other numbers" and others:
            low, high = draw.choice([part for part in others if part[1] > part[0]])
        places = [draw.randrange(low, high) for _ in range(draw.randrange(1, 10))]
        for place in places:
            content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    in_tensors, in_others = (
        [any(low <= place < high for low, high in parts) for place in places] for parts in (tensors, others)
    )
    touches = "tensors" if any(in_tensors) else "nothing" if all(in_others) else "description"
    return Damage(kind, touches)


def changed(array: np.ndarray, draw: random.Random) -> tuple[str, np.ndarray | None, str]:
    """Return another array in place of one, None for none at all."""
    kind = draw.choice(["deleted", "int32", "float64", "complex", "big-endian", "longer", "shorter", "empty"])
    if kind == "deleted":
        return kind, None, "nothing"
    if kind in ("longer", "shorter", "empty"):
        size = {"longer": 2, "shorter": 0.5, "empty": 0}[kind]
        axis = draw.randrange(max(array.ndim, 1))
        shape = [int(size * n) if k == axis else n for k, n in enumerate(array.shape)]
        return kind, np.resize(array, shape), "tensors"
    kinds = {"int32": "i4", "float64": "f8", "complex": "c8", "big-endian": array.dtype.newbyteorder(">")}
    with np.errstate(all="ignore"):
        return kind, array.real.astype(kinds[kind]) if array.dtype.kind != "c" else array.astype("c16"), "nothing"


def damage_hdf5(path: Path, draw: random.Random) -> Damage:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        read = [name for name in names if name in TENSORS or name in ALSO_READ]
        name = draw.choice([*read, draw.choice(names)])
        if draw.random() < 0.2 or file[name].dtype.kind not in "fiuc":
            file.move(name, name + "_renamed")
            return Damage(f"renamed {name}", "nothing")
        kind, values, touches = changed(file[name][()] + np.zeros((), file[name].dtype), draw)
        del file[name]
        if values is not None:
            file[name] = values
    return Damage(f"{kind} {name}", touches)


def damage_pt(path: Path, draw: random.Random) -> Damage:
    content = torch.load(path, weights_only=False)  # our own file
    group = draw.choice([content["optimizable_tensors"], content["optimizable_tensors"], content["model_attributes"]])
    name = draw.choice([name for name, value in group.items() if isinstance(value, torch.Tensor)])
    tensor = group.pop(name)
    if draw.random() < 0.2:
        group[name + "_renamed"] = tensor
        kind, touches = "renamed", "nothing"
    else:
        kind, values, touches = changed(tensor.cpu().numpy(), draw)
        if values is not None:
            group[name] = torch.from_numpy(np.ascontiguousarray(values, values.dtype.newbyteorder("=")))
    torch.save(content, path)
    return Damage(f"{kind} {name}", touches)


class MakesAFolder:
    """What runs code when a pickle is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def damage_zip(path: Path, draw: random.Random) -> Damage:
    """Change an entry of a zip file, which gets the checksum of what is in it then."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    kind = draw.choice(["deleted", "renamed", "shorter", "bits", "bits", "smuggled"])
    name = draw.choice(list(entries))
    if kind == "smuggled":
        name = draw.choice([name for name in entries if name.endswith(("module/c/0", "tensor/c/0"))])
        smuggled = io.BytesIO()
        torch.save(MakesAFolder(path.parent.parent / TOUCHED), smuggled)
        entries[name] = smuggled.getvalue()
        described = name.removesuffix("c/0") + "zarr.json"
        size = f"[{len(entries[name])}]".encode()
        entries[described] = re.sub(rb"(shape\": )\[\s*\d+\s*\]", rb"\1" + size, entries[described])
    content = bytearray(entries.pop(name))
    if kind == "shorter":
        del content[draw.randrange(len(content) + 1) :]
    elif kind == "bits":
        for _ in range(draw.randrange(1, 4) if content else 0):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    if kind != "deleted":
        entries[name + "_renamed" if kind == "renamed" else name] = bytes(content)
    with zipfile.ZipFile(path, "w") as archive:
        for entry, of_entry in entries.items():
            archive.writestr(entry, of_entry)
    return Damage(f"{kind} {name}", "description" if name.endswith(".json") else "tensors")


def copy_as_written(path: Path, folder: Path) -> None:
    """Copy a file that tests/data/thin.py packed, as its engine wrote it: no engine packs or divides arrays.

    A packed array is found by an index of its parts, which has no checksum either and takes a good deal of the file.
    """
    with h5py.File(path) as packed, h5py.File(folder / path.name, "w") as file:

        def write(name: str, item: h5py.Group | h5py.Dataset) -> None:
            made = (
                file.create_dataset(name, data=item[()]) if isinstance(item, h5py.Dataset) else file.create_group(name)
            )
            made.attrs.update(item.attrs)

        file.attrs.update(packed.attrs)
        packed.visititems(write)


# --- analysis ---------------------------------------------------------------------------------------------------------


def analyze(run_dir: Path, out: Path) -> tuple[int | None, str]:
    """Analyze in a process of its own; return its exit code, None if it took too long, and what it said."""
    said = out.parent / "said.txt"
    child = os.fork()
    if not child:
        with said.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 1))
        checkpoint_headers.PATIENCE = ()
        code = 99
        try:
            ptyconv(["analyze", str(run_dir), "-o", str(out), "--no-plot", "--device", "cpu", "-q"])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 98
        except BaseException as error:
            os.write(2, f"Traceback: {error!r}".encode())
        finally:
            os._exit(code)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return None if code == -signal.SIGXCPU else code, said.read_text(errors="replace")
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return None, said.read_text(errors="replace")


def points_in(out: Path) -> Points:
    def refuse(token: str) -> None:
        raise ValueError(f"{token} is no JSON")

    json.loads((out / CHANGES_NAME).read_text(), parse_constant=refuse)
    report = json.loads((out / REPORT_NAME).read_text(), parse_constant=refuse)
    series = report["series"].items()
    return {(key, p["since"], p["niter"]): p["value"] for key, found in series for p in found["points"]}


def verdict(
    code: int | None,
    said: str,
    out: Path,
    right: Points,
    victim: int | None,
    damage: Damage,
    without: Points | None = None,
) -> str:
    """Say what came of it; what begins with FAILED must not happen.

    `victim`: the iteration of the damaged file, None where that holds the whole run; `without`: what is right where the
    file is left out, as a phase that wraps is then continued from further back.
    """
    if (out.parent / TOUCHED).exists():
        return "FAILED: code in the file was run"
    if code is None:
        return "FAILED: took too long"
    if code not in (0, 1) or "Traceback" in said:
        return f"FAILED: ended with {code}: {said[-300:]}"
    of_runs = list(out.glob("run*/")) if "its checkpoints belong to" in said else []
    if code == 1 and not of_runs:
        clean = said.startswith("Error: ") and not out.exists()
        return "an error" if clean else f"FAILED: no clean error: {said[-300:]}"
    found = {place: value for folder in of_runs or [out] for place, value in points_in(folder).items()}
    others = without or {}
    wrong = {
        place
        for place, value in found.items()
        if place in right and not (is_same(value, right[place]) or is_same(value, others.get(place, right[place])))
    }
    if without is not None and damage.touches != "nothing":  # a phase that wraps goes on from the damaged one
        wrong = {place for place in wrong if victim in place or not place[0].startswith("objp")}
    if any(victim not in (None, *place) for place in wrong):
        return f"FAILED: wrong numbers between whole files: {sorted(wrong)}"
    if wrong and damage.touches == "nothing":
        return f"FAILED: wrong numbers, though no tensor was touched: {sorted(wrong)}"
    at_victim = any(victim in (None, *place) for place in found)
    if wrong:
        return "other numbers, of damaged tensors" if damage.touches == "tensors" else "UNNOTICED: other numbers"
    return "the right numbers" if at_victim else "the file left out"


def is_same(one: float | None, other: float | None) -> bool:
    """Say whether two values are the same, but for the rounding of a phase that is continued from another snapshot."""
    return one == other or (one is not None and other is not None and math.isclose(one, other, rel_tol=1e-12))


def fuzz(count: int, seed: int) -> Counter[tuple[str, str]]:
    """Return how often what came of damage to what."""
    outcomes: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole: dict[str, Points] = {}
        without: dict[tuple[str, str], Points] = {}
        bases = {"HDF5": [SAMPLE / f"model_iter{n:04d}.hdf5" for n in (10, 20, 30, 40)]}
        bases[".pt"] = sorted(SAMPLE_PT.glob("*.pt"))[:4]
        bases["v2"] = sorted((DATA / "ptyrad-v2" / "pixel").iterdir())[:4]
        bases["phaser"] = sorted((DATA / "phaser" / "lsqml").iterdir())[:4]
        for name, pattern in SERIES.items():
            files = sorted((DATA / "engines").glob(pattern), key=number_of)
            bases[name] = files[:4]
        (Path(folder) / "archives").mkdir()
        # In a process of its own, for zarr has threads, which forking would lose.
        subprocess.run([sys.executable, WRITES_ARCHIVES, Path(folder) / "archives"], check=True)
        bases[ARCHIVES] = sorted((Path(folder) / "archives").iterdir(), key=number_of)
        for number in range(-len(bases), count):
            draw = random.Random(f"{seed} {number}")
            base = list(bases)[number % len(bases)]
            work = Path(folder) / "work"
            shutil.rmtree(work, ignore_errors=True)
            (work / "run").mkdir(parents=True)
            for path in bases[base]:
                (shutil.copy if base in AS_WRITTEN else copy_as_written)(path, work / "run")
            if number < 0:  # first the whole runs
                code, said = analyze(work / "run", work / "out")
                assert code == 0, said
                whole[base] = points_in(work / "out")
                continue
            # The scanned region of others than PtyRAD comes from positions of the first file, numbers like others.
            first_counts = base in ("phaser", ARCHIVES, *SERIES) and len(bases[base]) > 1
            victim = work / "run" / draw.choice(bases[base][first_counts:]).name
            if base in SERIES and len(bases[base]) > 1 and (base, victim.name) not in without:
                hidden = victim.rename(work / "hidden")
                code, said = analyze(work / "run", work / "out")
                assert code == 0, said
                without[base, victim.name] = points_in(work / "out")
                hidden.rename(victim)
                shutil.rmtree(work / "out")
            by_names = {".pt": damage_pt, ".zip": damage_zip}.get(victim.suffix, damage_hdf5)
            damage = draw.choice([damage_bytes, by_names])(victim, draw)
            code, said = analyze(work / "run", work / "out")
            outcome = verdict(
                code, said, work / "out", whole[base], number_of(victim), damage, without.get((base, victim.name))
            )
            if outcome.startswith(("FAILED", "UNNOTICED")):
                print(f"seed {seed}, number {number}, {base}, {victim.name}, {damage.what}: {outcome}", flush=True)
            outcomes[f"{base}, {damage.touches}", outcome.split(":")[0]] += 1
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    outcomes = fuzz(options.count, options.seed)
    print(f"\n{'damage to':<30}{'outcome':<40}times")
    for (touches, outcome), times in sorted(outcomes.items()):
        print(f"{touches:<30}{outcome:<40}{times}")
    if any(outcome == "FAILED" for _, outcome in outcomes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
