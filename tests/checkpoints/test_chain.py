"""Runs that were resumed, on one axis of iterations."""

import json
import shlex
import shutil
from contextlib import suppress

import h5py
import pytest
import runs
from rarely import long_after
from toy import ToyModel, write_hdf5, write_run

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.analysis.reading import read_results
from ptyconv_cli.checkpoints.opening import open_checkpoint
from ptyconv_cli.results.history import EngineHistories

pytestmark = pytest.mark.usefixtures("blank_pictures")

RESUME = runs.DATA / "resume"
FIRST, RESUMED = RESUME / "first", RESUME / "resumed"


def values(analysis, key="objp_fg"):
    return {(p.since, p.niter): p.value for p in analysis.points[key]}


@pytest.mark.parametrize("chain", [[FIRST], "auto"])
@pytest.mark.parametrize("name", long_after(1, ["resumed", "resumed_with_optimizer"]))
def test_a_resumed_run_follows_its_parent(chain, name):
    """Its scan positions are jittered anew, so nothing is compared across the boundary."""
    analysis = analyze_run(RESUME / name, chain=chain, device="cpu")
    first, second = (analyze_run(folder, device="cpu") for folder in (FIRST, RESUME / name))
    expected = values(first) | {(10 + since, 10 + niter): value for (since, niter), value in values(second).items()}
    assert values(analysis) == expected
    assert [c.niter for c in analysis.checkpoints] == [2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert [c.file for c in analysis.checkpoints][4:6] == ["../first/model_iter0010.hdf5", "model_iter0002.hdf5"]
    (boundary,) = analysis.boundaries
    assert boundary.niter == 10
    assert boundary.difference == "the scan positions (crop_pos) differ"
    assert any("no change is computed across" in warning for warning in analysis.warnings)
    assert [niter for niter, _ in analysis.engine.loss] == list(range(1, 19))
    assert dict(analysis.engine.loss)[11] == second.engine.loss[0][1]
    live = analysis.live_agreement["objp_fg"]
    assert live.compared == 7
    assert live.max_relative_difference < 1e-5
    assert analysis.trajectories["objp"].niters == [12, 14, 16, 18]
    points = analysis.verdict.doublings["objp"].points
    assert [(p.niter, p.since) for p in points] == [(14, 12), (16, 14), (18, 14)], "they count from the boundary"


def test_a_run_resumed_in_its_parents_folder_is_told_apart_and_joined():
    mixed = RESUME / "mixed_in_one_folder"
    analysis = analyze_run(mixed, select="1", chain="auto", device="cpu")
    assert [c.niter for c in analysis.checkpoints] == [8, 10, 12, 14, 16]
    assert [(p.since, p.niter) for p in analysis.points["probe"]] == [(8, 10), (12, 14), (14, 16)]
    assert [(boundary.niter, boundary.what) for boundary in analysis.boundaries] == [(10, "a resumed run begins")]


def provenance(*names):
    return json.dumps({"obj": [{"uid": f"uid of {name}", "run_name": f"output/{name}"} for name in names]})


def write_chain(folder, at=6, niters=(2, 4, 6)):
    """A toy run `a`, and `b`, which goes on from its iteration `at`; the geometry stays."""
    model = ToyModel()
    states = {}
    for run, until in (("a", 6), ("b", max(niters))):
        (folder / run).mkdir()
        if run == "b":
            model = states[at]
        for niter in range(1, until + 1):
            model.update()
            if niter in niters:
                path = folder / run / f"model_iter{niter:04d}.hdf5"
                write_hdf5(path, model, niter)
                came = [f"a/model_iter{at:04d}.hdf5"] if run == "b" else []
                with h5py.File(path, "r+") as file:
                    file.attrs["provenance_json"] = provenance(*came, f"{run}/{path.name}")
                    file["loss_iters"][:, 1] += run == "b"
                if run == "a" and niter == at:
                    states[niter] = copy_of(model)
    return folder / "a", folder / "b"


def copy_of(model):
    other = ToyModel()
    for name, tensor in model.optimizable_tensors.items():
        other.optimizable_tensors[name].data.copy_(tensor.data)
    return other


def test_a_change_across_a_boundary_of_one_geometry_is_like_any_other(tmp_path):
    first, second = write_chain(tmp_path)
    analysis = analyze_run(second, chain=[first], device="cpu")
    # The same files under the names of one run, whose loss goes on.
    one = tmp_path / "one"
    one.mkdir()
    for folder, before in ((first, 0), (second, 6)):
        for path in folder.iterdir():
            niter = int(path.stem[-4:]) + before
            target = shutil.copy(path, one / f"model_iter{niter:04d}.hdf5")
            with h5py.File(target, "r+") as file:
                del file["niter"], file["loss_iters"]
                file["niter"] = niter
    straight = analyze_run(one, device="cpu")
    assert analysis.points == straight.points
    assert analysis.aligned_points == straight.aligned_points
    assert analysis.trajectories == straight.trajectories
    assert [(boundary.niter, boundary.what, boundary.difference) for boundary in analysis.boundaries] == [
        (6, "run b continues a", "")
    ]
    assert not any("across" in warning for warning in analysis.warnings)


@pytest.mark.parametrize("chain", ["explicit", "auto"])
def test_what_comes_after_the_parent_is_left_out(tmp_path, chain):
    first, second = write_chain(tmp_path, at=4)
    analysis = analyze_run(second, chain=[first] if chain == "explicit" else "auto", device="cpu")
    assert [c.niter for c in analysis.checkpoints] == [2, 4, 6, 8, 10]
    assert [(file.file, file.niter) for file in analysis.left_out] == [("../a/model_iter0006.hdf5", 6)]
    assert any("a: iterations after 4 were left out" in warning for warning in analysis.warnings)
    assert [niter for niter, _ in analysis.engine.loss] == list(range(1, 11))
    assert dict(analysis.engine.loss)[5] == pytest.approx(2)


def test_the_parent_need_not_be_among_the_files_asked_for(tmp_path):
    first, second = write_chain(tmp_path)
    analysis = analyze_run(second, chain=[first], every=4, device="cpu")
    assert [c.niter for c in analysis.checkpoints] == [4, 10]


def test_renamed_folders_are_found_by_what_is_in_them(tmp_path):
    first, second = write_chain(tmp_path)
    first.rename(tmp_path / "renamed")
    assert len(analyze_run(second, chain="auto", device="cpu").checkpoints) == 6
    with h5py.File(tmp_path / "renamed" / "model_iter0006.hdf5", "r+") as file:
        file.attrs["provenance_json"] = provenance("of another/model_iter0006.hdf5")
    analysis = analyze_run(second, chain="auto", device="cpu")
    assert len(analysis.checkpoints) == 3
    said = "b was resumed from output/a/model_iter0006.hdf5, which was not found beside it."
    assert said in analysis.warnings


def test_old_versions_are_found_by_name(tmp_path):
    first, second = write_chain(tmp_path)
    for path in [*first.iterdir(), *second.iterdir()]:
        with h5py.File(path, "r+") as file:
            del file.attrs["provenance_json"]
            if path.parent == second:
                file["params/init_params/obj_params"] = "output\\a\\model_iter0006.hdf5"
    assert len(analyze_run(second, chain="auto", device="cpu").checkpoints) == 6
    first.rename(tmp_path / "renamed")
    assert len(analyze_run(second, chain="auto", device="cpu").checkpoints) == 3


def test_runs_that_say_nothing_of_each_other_are_joined_as_asked(tmp_path):
    first, second = write_chain(tmp_path)
    for path in second.iterdir():
        with h5py.File(path, "r+") as file:
            file.attrs["provenance_json"] = provenance(f"b/{path.name}")
    analysis = analyze_run(first, chain=[second], device="cpu")
    assert [c.niter for c in analysis.checkpoints] == [2, 4, 6, 8, 10, 12]
    said = "a doesn't say that it was resumed. As asked, it is joined to the last checkpoint of b."
    assert said in analysis.warnings


@pytest.mark.parametrize("by_name", [False, True])
def test_a_chain_in_the_wrong_order_is_refused(ptyconv, tmp_path, by_name):
    first, second = write_chain(tmp_path)
    for path in [*first.iterdir(), *second.iterdir()] if by_name else []:
        with h5py.File(path, "r+") as file:
            del file.attrs["provenance_json"]
            if path.parent == second:
                file["params/init_params/obj_params"] = "output/a/model_iter0006.hdf5"
    result = ptyconv("analyze", "--chain", second, first, "-o", tmp_path / "out")
    assert result.exit_code == 1
    order = shlex.join([str(first), str(second)])
    said = f"{second}: was resumed from the run after it, which must come first:\n  --chain {order}"
    assert result.stderr == f"Error: {said}\n"
    assert not (tmp_path / "out").exists()


def test_a_resumed_run_says_so(ptyconv, tmp_path):
    first, second = write_chain(tmp_path)
    said = "\nThis run was resumed from a/model_iter0006.hdf5.\n"
    command = f"To see both runs on one axis:\n  ptyconv analyze --chain auto {shlex.quote(str(second))}\n"
    result = ptyconv("analyze", second, "-o", tmp_path / "out" / "b", "--no-plot")
    assert said + command in result.stdout
    assert ptyconv("analyze", *shlex.split(command)[-3:], "-o", tmp_path / "out" / "b", "--no-plot").exit_code == 0
    for quiet in (["-q", second], ["--chain", "auto", second], ["--chain", first, second], [first]):
        assert "resumed from" not in ptyconv("analyze", *quiet, "-o", tmp_path / "out" / "c", "--no-plot").output
    study = ptyconv("analyze", tmp_path, "-o", tmp_path / "out", "--no-plot")
    assert (
        "1 of these runs was resumed from a run beside it.\nTo put such runs on one axis: --chain auto\n"
        in study.stdout
    )
    first.rename(tmp_path.parent / "elsewhere")
    result = ptyconv("analyze", second, "-o", tmp_path / "out" / "b", "--no-plot")
    assert said + "Its folder was not found beside this one.\n" in result.stdout
    assert f"ptyconv analyze --chain FIRST {shlex.quote(str(second))}\n" in result.stdout


def test_to_say_so_costs_one_look_into_a_run_that_was_not_resumed(tmp_path, monkeypatch):
    write_run(tmp_path / "run", [2, 4, 6])
    opened = []

    def opening(path):
        opened.append(path.name)
        return open_checkpoint(path)

    monkeypatch.setattr("ptyconv_cli.checkpoints.grouping.open_checkpoint", opening)
    analyze_run(tmp_path / "run", device="cpu")
    assert opened == ["model_iter0002.hdf5"]


@pytest.mark.parametrize("text", ["[]", "{", '{"obj": 3}', '{"obj": [3]}', '{"obj": [{"run_name": 3}]}', "[" * 10000])
def test_a_provenance_that_is_none_says_nothing(tmp_path, text):
    _, second = write_chain(tmp_path)
    for path in second.iterdir():
        with h5py.File(path, "r+") as file:
            file.attrs["provenance_json"] = text
    assert len(analyze_run(second, chain="auto", device="cpu").checkpoints) == 3


def test_runs_that_name_each_other_end(tmp_path):
    first, second = write_chain(tmp_path)
    for path in first.iterdir():
        with h5py.File(path, "r+") as file:
            file.attrs["provenance_json"] = provenance("b/model_iter0006.hdf5", f"a/{path.name}")
    assert len(analyze_run(second, chain="auto", device="cpu").checkpoints) == 6


def test_a_parent_is_looked_for_only_beside_the_run(tmp_path):
    first, second = write_chain(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(first, elsewhere / "a")
    for path in second.iterdir():
        with h5py.File(path, "r+") as file:
            del file.attrs["provenance_json"]
            file["params/init_params/obj_params"] = str(elsewhere / "a" / "model_iter0006.hdf5")
    assert len(analyze_run(second, chain="auto", device="cpu").checkpoints) == 3


def test_chains_are_asked_for_in_words_that_are_understood(ptyconv):
    with pytest.raises(ValueError, match="chain must be a list of folders, or 'auto'"):
        analyze_run(RESUMED, chain="first", device="cpu")
    with pytest.raises(PtyconvError, match="no such file or folder"):
        analyze_run(RESUMED, chain=[RESUME / "nothing"], device="cpu")
    result = ptyconv("analyze", FIRST, RESUMED)
    assert result.exit_code == 2
    assert "to join runs that were resumed: --chain FIRST SECOND" in result.stderr


def test_the_command_line_marks_boundaries(ptyconv, tmp_path):
    result = ptyconv("analyze", "--chain", FIRST, RESUMED, "-o", tmp_path)
    assert result.exit_code == 0
    assert "resumed: 9 checkpoints, iterations 2 to 18\n" in result.stdout
    assert "run boundary after 10: run resumed continues first (not compared across)\n" in result.stdout
    report = json.loads((tmp_path / "convergence_report.json").read_text())
    assert report["boundaries"] == [
        {
            "niter": 10,
            "what": "run resumed continues first",
            "difference": "the scan positions (crop_pos) differ",
            "growth": "",
        }
    ]
    results = read_results(tmp_path)
    assert [boundary.niter for boundary in results.boundaries] == [10]
    assert ptyconv("plot", tmp_path).exit_code == 0
    assert ptyconv("check", "--chain", "auto", RESUMED).exit_code == 3


@pytest.mark.parametrize("options", [{"every": 6}, {"every": 4}, {"select": "model_iter000[246]*"}])
def test_a_parent_that_is_not_asked_for_ends_the_search(options):
    mixed = RESUME / "mixed_in_one_folder"
    if "every" in options:
        options = {**options, "select": "1"}
    with suppress(PtyconvError):  # too few are left
        analyze_run(mixed, chain="auto", device="cpu", **options)


def test_a_name_alone_is_no_parent_in_another_folder(tmp_path):
    first, second = write_chain(tmp_path)
    for path in second.iterdir():
        with h5py.File(path, "r+") as file:
            del file.attrs["provenance_json"]
            file["params/init_params/obj_params"] = "/x/other/model_iter0004.hdf5"
    analysis = analyze_run(second, chain=[first], device="cpu")
    assert [c.niter for c in analysis.checkpoints] == [2, 4, 6, 8, 10, 12]
    said = (
        "b says it was resumed from /x/other/model_iter0004.hdf5. As asked, it is joined to the last checkpoint of a."
    )
    assert said in analysis.warnings


def test_a_run_does_not_go_on_from_itself(tmp_path):
    first, second = write_chain(tmp_path)
    with pytest.raises(PtyconvError, match="is given twice"):
        analyze_run(second, chain=[first, second], device="cpu")


@pytest.mark.parametrize(
    "name", ["/x/" + 5000 * "n" + "/model_iter0004.hdf5", "/x/a/model_iter" + 5000 * "0" + "4.hdf5"]
)
def test_a_parent_of_a_monstrous_name_is_not_found(tmp_path, name):
    _, second = write_chain(tmp_path)
    for path in second.iterdir():
        with h5py.File(path, "r+") as file:
            del file.attrs["provenance_json"]
            file["params/init_params/obj_params"] = name
    assert len(analyze_run(second, chain="auto", device="cpu").checkpoints) == 3


def test_histories_of_a_chain():
    first = EngineHistories(loss=[(1, 3.0), (2, 2.0), (3, 1.0)], convergence={"probe": [(2, 0.5)]})
    second = EngineHistories(
        loss=[(1, 0.5)],
        optimised={"objp": (3, None), "obja": (None, None), "probe": (1, 9)},
        live_percentiles=(5.0, 95.0),
    )
    joined = first.followed_by(second, 2)
    assert joined.loss == [(1, 3.0), (2, 2.0), (3, 0.5)]
    assert joined.optimised == {"objp": (5, None), "obja": (None, None), "probe": (3, 11)}
    assert joined.convergence == {}  # with other percentiles it is of other masks


@pytest.mark.parametrize("named", ["/x/a/notes.txt", "/x/a/model_iter0006.hdf5"])
def test_no_file_of_the_earlier_run_is_asked_for(tmp_path, named):
    first, second = write_chain(tmp_path, niters=(2, 4, 6, 9))
    (first / "notes.txt").write_text("no checkpoint")
    for path in second.iterdir():
        with h5py.File(path, "r+") as file:
            del file.attrs["provenance_json"]
            file["params/init_params/obj_params"] = named
    with pytest.raises(PtyconvError, match="a: holds 0 checkpoints at multiples of 9"):
        analyze_run(second, chain=[first], every=9, device="cpu")
