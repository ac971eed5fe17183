"""The verdicts on a real run at each of its checkpoints, as if it had ended there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import long_runs
import numpy as np
from brute_force import in_frame

from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.analysis.run import analyze_run, verdict_of
from ptyconv_cli.analysis.steps import Step
from ptyconv_cli.quantities.settings import check_tolerances
from ptyconv_cli.results.history import EngineHistories
from ptyconv_cli.results.run_analysis import RunVerdict
from ptyconv_cli.verdict.segments import Counting


@dataclass
class Prefixes:
    """Of one run: what a verdict at each of its checkpoints needs, in order; `format` of its files."""

    steps: Sequence[Step]
    engine: EngineHistories
    counting: Mapping[str, Counting]
    format: str

    @property
    def niters(self) -> list[int]:
        return [step.header.niter for step in self.steps]

    def verdict(self, niter: int, tolerances=None) -> RunVerdict:
        count = self.niters.index(niter) + 1
        return verdict_of(self.steps[:count], self.engine, self.counting, check_tolerances(tolerances or {}))


def contrasts_in(path: Path) -> dict[str, float]:
    """What a checkpoint holds, by float64 brute force: dense least squares, explicit arrays."""
    with h5py.File(path) as file:
        tensors = {name: file["optimizable_tensors"][name][()] for name in ("obja", "objp", "probe")}
        corners = file["model_attributes/crop_pos"][()]
    region = long_runs.region_of(corners, tensors["probe"].shape)
    amplitude, phase = tensors["obja"][region].astype(float), tensors["objp"][region].astype(float)
    intensity = (np.abs(tensors["probe"].astype(complex)) ** 2).sum(0)
    contrast = object_contrast(amplitude, phase)
    return {"obja": contrast, "objp": contrast, "probe": float(np.sqrt(np.mean((intensity / intensity.mean()) ** 2)))}


def object_contrast(amplitude: np.ndarray, phase: np.ndarray, lit: np.ndarray | None = None) -> float:
    """Of a phase without offsets and ramp, and an amplitude in units of its mean."""
    lit = np.ones(phase.shape[-2:], bool) if lit is None else lit
    left = in_frame("objp", phase, lit)[..., lit]
    of_amplitude = in_frame("obja", 1 - amplitude, lit)[..., lit]
    of_amplitude = of_amplitude - of_amplitude.mean(-1, keepdims=True)
    return float(np.sqrt(np.mean(left**2) + np.mean(of_amplitude**2)))


def prefixes_of(run_dir: Path, **options) -> Prefixes:
    recorder = Cache(run_dir / "no such folder", fresh=True)
    analysis = analyze_run(run_dir, cache=recorder, device="cpu", **options)
    walked = recorder.pending.__self__
    steps = walked.found[-1].steps
    return Prefixes(steps, analysis.engine, walked.counting, steps[-1].header.format)
