"""The verdict tried on real runs of 400 to 1000 iterations, and on what users make of them: resumed, or slowed."""

import math

import h5py
import long_runs
import numpy as np
import pytest
from prefixes import Prefixes, contrasts_in, prefixes_of
from rarely import long_but

from ptyconv_cli.analysis.run import analyze_run
from ptyconv_cli.verdict.conclusion import exit_code


class WhenAsked(dict):
    """What is made of each key once it is asked for."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def __missing__(self, key):
        self[key] = self.make(key)
        return self[key]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long_runs")
    return WhenAsked(lambda name: long_runs.unpack(name, folder / name))


@pytest.fixture(scope="module")
def runs(folders) -> dict[str, Prefixes]:
    return WhenAsked(lambda name: prefixes_of(folders[name]))


def test_the_object_that_converges_is_called_so(runs):
    run = runs["converged"]
    wrong = [niter for niter in run.niters if niter >= 200 and run.verdict(niter).state != "converged"]
    assert wrong == []
    last = run.verdict(1000)
    assert exit_code(last) == 0
    assert last.remark == "The loss is 1.8 % higher than at iteration 74."


EXPECTED = {
    "converged": "converged",
    "fixed_positions": "converging",
    "pair_B": "moving",
    "veryhighlr": "converged",
}


@pytest.mark.parametrize("name", long_but(long_runs.NAMES, "converged", "veryhighlr"))
def test_the_last_verdict(runs, name):
    verdict = runs[name].verdict(runs[name].niters[-1])
    assert verdict.state == EXPECTED.get(name, "drifting")
    positions = verdict.doublings["probe_pos_shifts"]
    if verdict.state == "drifting":
        assert (
            f"Scan positions move as well, by {positions.points[-1].relative:.2f} px per doubling" in verdict.sentence
        )
        assert f"probe_pos_shifts.end_iter: {verdict.keep})" in verdict.advice
    if name in ("converged", "fixed_positions"):
        assert positions.state == "not optimised"


@pytest.mark.long
def test_the_example_of_the_docs(runs):
    """Of 800 iterations of `plain`: the figures were first got by a study of its own."""
    verdict = runs["plain"].verdict(800)
    shown = {key: {point.niter: point.relative for point in found.points} for key, found in verdict.doublings.items()}
    for key, expected in {
        "objp": (12, 12.9, 23),
        "obja": (6, 6.7, 18),
        "probe": (0.75, 1.6, 3.4),
        "probe_pos_shifts": (0.11, 0.17, 0.35),
    }.items():
        found = [shown[key][niter] for niter in (200, 400, 800)]
        assert found == pytest.approx(expected, rel=0.06, abs=0.005)


@pytest.mark.parametrize("name", long_but(long_runs.NAMES, "converged"))
def test_the_contrasts_are_the_brute_force_ones_at_every_checkpoint(runs, folders, name):
    for step in runs[name].steps[:: 1 if name == "converged" else 5]:
        expected = contrasts_in(step.header.path)
        # The one whose positions jitter is moved by fractions of a pixel.
        assert step.contrasts == pytest.approx(expected, rel=0.02 if name == "veryhighlr" else 1e-6)
        assert all(map(math.isfinite, step.contrasts.values()))


def rewritten(source, target, change) -> None:
    """Copy a checkpoint, and change the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "r+") as file:
        change(file)


def slowed(folder, target, after: int, factor: int) -> None:
    """A run whose learning rate is cut from an iteration on: from there it goes the same way, slower by a factor."""
    niters = sorted(int(path.stem[-4:]) for path in folder.glob("*.hdf5"))
    for niter in niters:
        if niter <= after:
            (target / f"model_iter{niter:04d}.hdf5").write_bytes((folder / f"model_iter{niter:04d}.hdf5").read_bytes())
            continue
        there = after + (niter - after) / factor
        low = max(known for known in niters if known <= there)
        high = min(known for known in niters if known > low)
        with (
            h5py.File(folder / f"model_iter{low:04d}.hdf5") as one,
            h5py.File(folder / f"model_iter{high:04d}.hdf5") as two,
        ):
            share = (there - low) / (high - low)
            tensors = {
                name: (1 - share) * one["optimizable_tensors"][name][()] + share * two["optimizable_tensors"][name][()]
                for name in ("obja", "objp", "probe", "probe_pos_shifts")
            }

        def change(file, tensors=tensors):
            for name, values in tensors.items():
                file["optimizable_tensors"][name][...] = values
                file[f"lr_iters/{name}"][after:] /= factor

        rewritten(folder / f"model_iter{niter:04d}.hdf5", target / f"model_iter{niter:04d}.hdf5", change)


def test_a_run_whose_rate_was_cut_to_a_tenth_is_limited_by_it(folders, tmp_path):
    """Of 12 % per doubling: from the step on 1.5 % are left, and going on as before it would be 23."""
    slowed(folders["plain"], tmp_path, after=400, factor=10)
    run = prefixes_of(tmp_path)
    last = run.verdict(800)
    assert last.doublings["objp"].points[-1].relative < 5
    assert (last.state, exit_code(last)) == ("step-limited", 3)
    assert "constant learning rate" in last.advice
    assert {run.verdict(niter).state for niter in run.niters if niter > 500} <= {"step-limited", "converging", "moving"}


def split(folder, first, second, at: int) -> None:
    """A run in two: the second was resumed from the last checkpoint of the first, and counts from 1."""
    for path in sorted(folder.glob("*.hdf5")):
        niter = int(path.stem[-4:])
        if niter <= at:
            (first / path.name).write_bytes(path.read_bytes())
            continue

        def change(file, niter=niter):
            file["niter"][...] = niter - at
            for name in ("loss_iters", "iter_times"):
                values = file[name][()][at:]
                del file[name]
                file[name] = values
            file["loss_iters"][:, 0] -= at
            for name in list(file["lr_iters"]):
                values = file["lr_iters"][name][()][at:] - (at if name == "niter" else 0)
                del file[f"lr_iters/{name}"]
                file[f"lr_iters/{name}"] = values
            file["params/init_params/obj_params"] = str(first / f"model_iter{at:04d}.hdf5")

        rewritten(path, second / f"model_iter{niter - at:04d}.hdf5", change)


def test_a_run_that_was_resumed_is_judged_as_in_one_piece(folders, runs, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    split(folders["fixed_positions"], first, second, 200)
    whole = runs["fixed_positions"].verdict(400)
    joined = analyze_run(second, chain="auto", device="cpu").verdict
    assert (joined.state, joined.sentence, joined.keep) == (whole.state, whole.sentence, whole.keep)
    for key, found in joined.doublings.items():
        assert found.points == whole.doublings[key].points
    alone = analyze_run(second, device="cpu").verdict
    assert alone.doublings["objp"].points[-1].relative < 5, "counted from the resume on it looks converged"
    assert (alone.state, exit_code(alone)) == ("insufficient", 4)
    assert "the iterations before that are not counted" in alone.sentence
    assert "--chain auto" in alone.advice


@pytest.mark.parametrize("kept", [range(100, 700, 100), (20, 60, 180, 540), (440, 480, 520, 560, 600)])
def test_however_it_was_saved_there_is_a_verdict_or_the_iteration_that_is_missing(folders, tmp_path, kept):
    for niter in kept:
        source = folders["midlr"] / f"model_iter{niter:04d}.hdf5"
        if source.exists():
            (tmp_path / source.name).write_bytes(source.read_bytes())
    niters = sorted(int(path.stem[-4:]) for path in tmp_path.glob("*.hdf5"))
    run = prefixes_of(tmp_path)
    for niter in run.niters[1:]:
        verdict = run.verdict(niter)
        has_half = any(1.4 <= niter / earlier <= 4 for earlier in niters if earlier < niter)
        before = [earlier for earlier in niters if earlier < niter and any(1.4 <= earlier / e <= 4 for e in niters)]
        assert (verdict.state != "insufficient") == any(1.4 <= niter / earlier <= 4 for earlier in before)
        if has_half and verdict.state == "insufficient":
            assert "there is no doubling before to compare that with" in verdict.sentence
        if not has_half:
            assert f"between iterations {math.ceil(niter / 4)} and {math.floor(niter / 1.4)}" in verdict.sentence


def test_restarts_of_the_rate_are_judged_at_equal_phases(folders, tmp_path):
    """Every 50 iterations; within each the object swings by a tenth of its contrast, and comes back."""
    niters = list(range(20, 1001, 20))
    phase = {niter: (niter % 50) / 50 for niter in niters}
    random = np.random.default_rng(0)
    swing = random.normal(
        size=h5py.File(folders["converged"] / "model_iter0020.hdf5")["optimizable_tensors/objp"].shape
    )
    for niter in niters:

        def change(file, niter=niter):
            file["optimizable_tensors/objp"][...] += 0.007 * phase[niter] * swing
            for name in ("obja", "objp", "probe"):
                file[f"lr_iters/{name}"][...] = 1e-3 * (1 - (np.arange(niter) % 50) / 50)

        rewritten(
            folders["converged"] / f"model_iter{niter:04d}.hdf5", tmp_path / f"model_iter{niter:04d}.hdf5", change
        )
    run = prefixes_of(tmp_path)
    assert run.counting["objp"].cycle == 50
    states = {niter: run.verdict(niter).state for niter in niters if niter >= 400}
    assert set(states.values()) == {"converged"}, states
    points = run.verdict(1000).doublings["objp"].points
    assert {(point.niter - point.since) % 50 for point in points if point.niter >= 400} == {0}
