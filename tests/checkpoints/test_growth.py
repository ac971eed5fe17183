"""An object that grows, slices and modes that are added: one run, compared over what both have."""

import h5py
import numpy as np
import pytest
import runs
from growing import ENGINES, grown, put

from ptyconv_cli import PtyconvError, analyze_run, frc
from ptyconv_cli.analysis.cache import Cache

pytestmark = pytest.mark.usefixtures("blank_pictures")


def whole(engine):
    return runs.analysis_of(ENGINES[engine][0])


@pytest.mark.parametrize(
    ("engine", "what"), [("ptychodus", "size"), ("ptychodus", "every"), ("phaser", "size"), ("PtyRAD", "size")]
)
def test_an_object_that_grows_changes_nothing(tmp_path, engine, what):
    """Whose part that was scanned is the same, to the last bit."""
    found, expected = analyze_run(grown(engine, what, tmp_path / "run"), device="cpu"), whole(engine)
    assert found.convergence_iters == expected.convergence_iters
    assert found.aligned_points == expected.aligned_points
    assert found.verdict.doublings == expected.verdict.doublings
    assert (found.verdict.sentence, found.verdict.keep) == (expected.verdict.sentence, expected.verdict.keep)
    assert found.warnings == expected.warnings
    shapes = [checkpoint.shapes["objp"] for checkpoint in (found.checkpoints[0], found.checkpoints[-1])]
    assert shapes[0] != shapes[1]
    assert {boundary.growth for boundary in found.boundaries} == {"size"}
    assert not any(boundary.difference for boundary in found.boundaries)
    before, after = (f"{height} × {width}" for _, _, height, width in shapes)
    assert found.boundaries[0].what.startswith(f"the object grew from {before} to ")
    assert found.boundaries[-1].what.endswith(f" to {after} px")
    moved = (shapes[1][-1] - shapes[0][-1]) // 2
    assert found.region == expected.region.moved((moved, moved), 0)


def test_one_that_grows_on_one_side_is_where_it_was(tmp_path):
    """Its middle moves, and scan positions are told from there."""
    found, expected = analyze_run(grown("ptychodus", "one side", tmp_path / "run"), device="cpu"), whole("ptychodus")
    for key, points in expected.points.items():
        for point, there in zip(found.points[key], points, strict=True):
            assert point.value == pytest.approx(there.value, rel=1e-6), key
    assert found.region == expected.region


@pytest.mark.parametrize("engine", list(ENGINES))
def test_the_object_goes_on_where_the_probe_has_more_modes(tmp_path, engine):
    found, expected = analyze_run(grown(engine, "modes", tmp_path / "run"), device="cpu"), whole(engine)
    niter = found.boundaries[0].niter
    assert [boundary.growth for boundary in found.boundaries] == ["modes"]
    assert "the probe has " in found.boundaries[0].what
    for key, points in expected.points.items():
        if not key.startswith("probe") or key == "probe_pos_shifts":
            assert found.points[key] == points
    # Of the probe the total intensity, of all modes, is compared: normalised, it hardly notices a weak copy of itself.
    assert len(found.points["probe"]) == len(expected.points["probe"])
    assert niter in [point.since for point in found.points["probe"]]


@pytest.mark.parametrize("engine", list(ENGINES))
def test_slices_that_were_resampled_cannot_be_compared_one_by_one(ptyconv, tmp_path, engine):
    run = grown(engine, "slices", tmp_path / "run")
    found = analyze_run(run, device="cpu")
    (boundary,) = found.boundaries
    assert boundary.growth == "slices"
    assert "slices, not 2" in boundary.what
    niters = [checkpoint.niter for checkpoint in found.checkpoints]
    first = niters[niters.index(boundary.niter) + 1]
    assert [point.niter for point in found.points["objp_fg"]] == [n for n in niters[1:] if n != first]
    assert "no change is computed across it. Their sums can be compared: ptyconv frc." in " ".join(found.warnings)
    # It is not as if the run had begun there: whether it has converged shows when it is twice as long.
    assert found.verdict.state == "insufficient"
    assert ptyconv("check", run).exit_code == 4


@pytest.mark.parametrize("engine", ["ptychodus", "phaser"])
def test_ring_correlation_is_of_their_sum(tmp_path, engine):
    """Which did not change where each slice became two."""
    run = grown(engine, "slices", tmp_path / "run")
    found, expected = frc(run), frc(ENGINES[engine][0])
    assert [(point.niter, point.other) for point in found.points] == [
        (point.niter, point.other) for point in expected.points
    ]
    for point, there in zip(found.points, expected.points, strict=True):
        assert point.frc == pytest.approx(there.frc, abs=2e-3)
    one = frc(run, slice_number=1)
    assert len(one.points) < len(expected.points)


@pytest.mark.parametrize("tensor", ["objp", "obja"])
def test_a_probe_that_is_only_read_beside_may_have_more_modes(tmp_path, tensor):
    run = grown("phaser", "modes", tmp_path / "run")
    found = analyze_run(run, tensors=[tensor], device="cpu")
    assert found.points[f"{tensor}_fg"] == whole("phaser").points[f"{tensor}_fg"]
    assert found.boundaries == []
    assert frc(run, tensor=tensor).points


def test_every_command_takes_it_for_one_run(ptyconv, tmp_path):
    run = grown("ptychodus", "every", tmp_path / "run")
    for command in (["analyze", run], ["maps", run], ["frc", run], ["report", run], ["plot", run]):
        result = ptyconv(*command)
        assert result.exit_code == 0, result.output
    assert ptyconv("check", run).exit_code == 3
    assert "1 run" in ptyconv("ls", run).stdout or "10     8 to 80" in ptyconv("ls", run).stdout


def test_the_cache_goes_on_after_it(tmp_path):
    run = grown("ptychodus", "every", tmp_path / "run")
    files = sorted(run.glob("*.h5"))
    late = files[6:]
    for path in late:
        path.rename(tmp_path / path.name)
    cache = Cache(run)
    analyze_run(run, device="cpu", cache=cache)
    cache.keep()
    for path in late:
        (tmp_path / path.name).rename(path)
    cache = Cache(run)
    again = analyze_run(run, device="cpu", cache=cache)
    assert again.known > 0
    assert again.aligned_points == whole("ptychodus").aligned_points


def _without_loss(file):
    put(file, "loss_values", np.zeros(0))
    put(file, "loss_epochs", np.zeros(0, "i8"))


def _other_loss(file):
    put(file, "loss_values", file["loss_values"][()] + 1)


def _smaller(file):
    put(file, "object", file["object"][()][..., 3:-3, 3:-3])


def _other_pixels(file):
    for side in ("height", "width"):
        file["object"].attrs[f"pixel_{side}_m"] *= 1.01


@pytest.mark.parametrize("change", [_without_loss, _other_loss, _smaller, _other_pixels])
def test_what_the_loss_does_not_go_on_in_or_is_no_growth_are_two_runs(tmp_path, change):
    run = grown("ptychodus", "size" if change in (_without_loss, _other_loss) else "", tmp_path / "run")
    for path in run.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            if len(file["loss_values"]) >= 48:
                change(file)
    with pytest.raises(PtyconvError, match="its checkpoints belong to 2 runs"):
        analyze_run(run, device="cpu")


def test_positions_that_did_not_move_as_one_are_another_scan(tmp_path):
    run = grown("PtyRAD", "size", tmp_path / "run")
    for path in run.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            if int(file["niter"][()]) >= 70:
                file["model_attributes/crop_pos"][0] += np.array([1, 0], "i4")
    with pytest.raises(PtyconvError, match="its checkpoints belong to 2 runs"):
        analyze_run(run, device="cpu")


@pytest.mark.parametrize("what", ["slices", "size"])
def test_where_nothing_of_what_came_after_can_be_read_the_rest_counts(ptyconv, tmp_path, what):
    """As of a job that grows, and whose newest file is damaged."""
    run = grown("ptychodus", what, tmp_path / "run")
    for path in [run / "product.h5", *sorted(run.glob("product.0*.h5"))[6:]]:
        path.unlink()
    damaged = run / "product.000048.h5"
    with h5py.File(damaged, "r+") as file:
        content = file["object"][()]
        del file["object"]
        data = file.create_dataset("object", data=content, chunks=content.shape, compression="gzip")
        offset = data.id.get_chunk_info(0).byte_offset
        data.attrs.update(dict.fromkeys(("center_y_m", "center_x_m"), 0.0))
        data.attrs.update(dict.fromkeys(("pixel_height_m", "pixel_width_m"), 3.494e-11))
    with damaged.open("r+b") as raw:
        raw.seek(offset)
        raw.write(b"damaged!" * 8)
    for path in run.glob("product.0*.h5"):
        with h5py.File(path, "r+") as file:
            file["object"].attrs.update(dict.fromkeys(("pixel_height_m", "pixel_width_m"), 3.494e-11))
            file["object"].attrs.update(dict.fromkeys(("center_y_m", "center_x_m"), 0.0))
    found = analyze_run(run, device="cpu")
    assert [checkpoint.niter for checkpoint in found.checkpoints] == [8, 16, 24, 32, 40]
    assert found.boundaries == []
    assert found.left_out[-1].file == damaged.name
    assert ptyconv("check", run).exit_code in (3, 4)


@pytest.mark.parametrize("tensor", ["probe", "probe_pos_shifts"])
@pytest.mark.parametrize("engine", list(ENGINES))
def test_it_is_one_run_for_those_who_ask_for_probe_or_positions_alone(tmp_path, engine, tensor):
    found = analyze_run(grown(engine, "size", tmp_path / "run"), tensors=[tensor], device="cpu")
    assert found.points[tensor] == whole(engine).points[tensor]


def test_where_settings_changed_too_that_is_what_the_boundary_is(tmp_path):
    """A resumed run that grew: its settings changed, as is said."""
    first = runs.DATA / "resume" / "first"
    plain = analyze_run(runs.DATA / "resume" / "resumed", chain=[first], device="cpu")
    assert [(one.niter, one.growth) for one in plain.boundaries] == [(10, "")]
    run = grown("phaser", "size", tmp_path / "run")
    for path in run.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            done = int(file["iter/total_iter"][()])
            if done > 10:
                put(file, "iter/engine_iter", np.uint64(done - 10))
    (boundary,) = analyze_run(run, device="cpu").boundaries
    assert (boundary.what, boundary.difference, boundary.growth) == ("the engine changed", "", "")


def test_one_slice_of_other_depths_is_not_compared(tmp_path):
    run = grown("ptychodus", "slices", tmp_path / "run")
    found = frc(ENGINES["ptychodus"][0], run, slice_number=2)
    assert [point.niter for point in found.points] == [8, 16, 24, 32, 40]
    assert any("because the numbers of slices differ there: iterations 48, 56" in text for text in found.warnings)
    with pytest.raises(PtyconvError, match="have 2 and 4 slices, which are of other depths: compare their sums"):
        frc(ENGINES["ptychodus"][0] / "product.000080.h5", run / "product.000080.h5", slice_number=2)


@pytest.mark.parametrize("what", ["size", "one side"])
@pytest.mark.parametrize("walk", [-1, 1])
def test_positions_that_walk_while_the_object_grows_are_no_growth(tmp_path, what, walk):
    """All of them by a pixel between two saves: seen in their change, and not taken for where the object lies."""
    run, plain = (grown("ptychodus", kind, tmp_path / (kind or "plain")) for kind in (what, ""))
    for path in (*run.glob("*.h5"), *plain.glob("*.h5")):
        with h5py.File(path, "r+") as file:
            if len(file["loss_values"]) >= 48:
                for axis, side in (("y", "height"), ("x", "width")):
                    file[f"probe_position_{axis}_m"][...] += walk * file["object"].attrs[f"pixel_{side}_m"]
    found, expected = (analyze_run(one, device="cpu") for one in (run, plain))
    assert found.boundaries[0].growth == "size"
    for key, points in expected.points.items():
        for point, there in zip(found.points[key], points, strict=True):
            assert point.value == pytest.approx(there.value, rel=1e-6), key
