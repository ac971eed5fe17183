"""`ptyconv check`: the verdict alone, as text, JSON and exit code."""

import json
import math
import shutil

import h5py
import pytest
import runs
from click.testing import CliRunner
from rarely import long_after

from ptyconv_cli.analysis.compare import Prefetch
from ptyconv_cli.cli.main import main
from ptyconv_cli.quantities import QUANTITIES

pytestmark = pytest.mark.usefixtures("blank_pictures")

WIDE = [*(f"--tol={name}=1000%" for name in ("obja", "objp", "probe")), "--tol=probe_pos_shifts=1000px"]


LAST_TWO = ["--select", "*01[12]0*"]


def test_it_says_it_with_its_exit_code(ptyconv):
    result = ptyconv("check", runs.SAMPLE)
    assert result.exit_code == 3
    assert result.stdout.startswith("converging: from iteration 60 to 120 the object phase changed by 6 %")
    *_, keep, what_to_do = (" ".join(part.split()) for part in result.stdout.split("\n\n"))
    assert keep == "keep iteration 120: it is the last, and the object changes less than before"
    assert what_to_do.startswith("go on (recon_params.NITER), if you need 5 %; 120 more iterations (about 6 s)")
    assert what_to_do.endswith(" reconstruct each, then ptyconv frc HALF_A HALF_B --halves")
    result = ptyconv("check", runs.SAMPLE, *WIDE)
    assert result.exit_code == 0
    assert result.stdout.startswith("converged since iteration 10: from iteration 60 to 120")
    assert "does not say that it is correct" in " ".join(result.stdout.split())
    result = ptyconv("check", runs.SAMPLE, *LAST_TWO)
    assert result.exit_code == 4
    assert "there is no checkpoint between iterations 30 and 85, to compare that of 120 with" in " ".join(
        result.stdout.split()
    )
    assert ptyconv("check", runs.SAMPLE / "absent").exit_code == 1
    assert ptyconv("check", runs.ALL["cosine_lr"]).exit_code == 3


OBJECT = [f"--tol={name}=1000%" for name in ("obja", "objp")]


@pytest.mark.parametrize(
    ("options", "code"),
    [(OBJECT, 0), ([*OBJECT, "--all"], 3), ([*WIDE, "--all"], 0), (["--all"], 3), (["--all", *LAST_TWO], 4)],
)
def test_all_asks_for_probe_and_positions_too(ptyconv, options, code):
    """The positions of this run drift beyond their tolerance by their trend."""
    result = ptyconv("check", runs.SAMPLE, "--json", *options)
    verdict = json.loads(result.stdout)
    assert result.exit_code == code
    assert verdict["all_converged"] == ("--all" in options and code == 0)
    assert result.stdout == ptyconv("check", runs.SAMPLE, "--json", *(one for one in options if one != "--all")).stdout


def test_without_learning_rates_it_says_so(ptyconv):
    assert "No learning rates are recorded" in ptyconv("check", runs.SAMPLE_PT, *OBJECT).stdout


def test_uneven_intervals_are_said_with_the_tables_that_they_matter_to(ptyconv, sample):
    (sample / "model_iter0050.hdf5").unlink()
    said = "The checkpoints are 10 to 20 iterations apart, and a longer interval gives a larger change"
    for command, options, expected in (("analyze", ["-v"], 1), ("analyze", [], 0), ("check", [], 0)):
        result = ptyconv(command, sample, *options)
        assert " ".join(result.output.split()).count(said) == expected, (command, options)


@pytest.mark.parametrize("given", ["objp", "objp=", "objp=2px", "angle=2%", "objp=-1%"])
def test_other_tolerances_are_wrong_usage(ptyconv, given):
    result = ptyconv("check", runs.SAMPLE, "--tol", given)
    assert result.exit_code == 2
    said = ("as in objp=5%", "choose from phase, amplitude", "expected NAME=TOLERANCE, as phase=2%")
    assert any(one in result.stderr for one in said)


@pytest.mark.parametrize(
    ("given", "readings"),
    [
        ("phase=0.02", "write 0.02%, or 2%, which is 0.02 of the object's contrast"),
        ("phase=2", "write 2%"),
        ("positions=0.05", "write 0.05px or 0.05Å"),
        ("tilt=0.2", "write 0.2mrad"),
    ],
)
def test_a_tolerance_without_a_unit_could_mean_two_things(ptyconv, given, readings):
    result = ptyconv("check", runs.SAMPLE, "--tol", given)
    assert result.exit_code == 2
    assert readings in " ".join(result.stderr.split())


def test_quiet_leaves_the_exit_code(ptyconv):
    result = ptyconv("check", runs.SAMPLE, "-q")
    assert (result.exit_code, result.output) == (3, "")
    assert ptyconv("check", runs.SAMPLE, "-q", "--json").exit_code == 2


def test_as_json(ptyconv):
    result = ptyconv("check", runs.SAMPLE, "--json")
    verdict = json.loads(result.stdout)
    assert (verdict["state"], verdict["worst"], verdict["since"]) == ("converging", "objp", None)
    assert list(verdict["doublings"]) == [one.key for one in QUANTITIES if one.key != "probe_weights"]
    phase = verdict["doublings"]["objp"]
    assert (phase["unit"], phase["tolerance"], phase["state"], phase["begin"]) == ("%", 5.0, "converging", 0)
    last = phase["points"][-1]
    assert (last["niter"], last["since"]) == (120, 60)
    assert last["relative"] == pytest.approx(100 * last["distance"] / phase["contrast"])
    assert last["contrast"] == phase["contrast"] != phase["points"][0]["contrast"]
    assert phase["forecast"]["niter"] == 240
    assert verdict["doublings"]["tilt"]["forecast"] is None
    assert (verdict["keep"], verdict["converged_since"], verdict["loss_lowest_at"]) == (120, None, 120)
    assert verdict["keep_because"] == "it is the last, and the object changes less than before"
    verdict = json.loads(ptyconv("check", runs.SAMPLE, "--json", *WIDE).stdout)
    assert (verdict["keep"], verdict["converged_since"], verdict["since"]) == (120, 10, 10)
    verdict = json.loads(ptyconv("check", runs.ALL["cosine_lr"], "--json").stdout)
    assert (verdict["keep"], verdict["converged_since"]) == (54, None)
    points = {point["niter"]: point["relative"] for point in verdict["doublings"]["objp"]["points"]}
    assert points[54] < 1.5 * min(points.values()) < points[48]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1.5])
def test_a_damaged_first_iteration_costs_only_itself(ptyconv, tmp_path, value):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    with h5py.File(run_dir / "model_iter0120.hdf5", "r+") as file:
        del file["model_attributes/start_iter/objp"]
        file["model_attributes/start_iter/objp"] = value
    result = ptyconv("check", run_dir)
    assert result.exit_code == 3
    assert "expected an iteration" in " ".join(result.stderr.split())


def test_colours_are_for_terminals_that_want_them(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = CliRunner().invoke(main, ["check", str(runs.SAMPLE)]).output
    assert "\x1b" not in plain
    assert "\x1b[33mconverging: " in CliRunner().invoke(main, ["check", str(runs.SAMPLE)], color=True).output
    monkeypatch.setenv("NO_COLOR", "1")
    assert CliRunner().invoke(main, ["check", str(runs.SAMPLE)], color=True).output == plain


@pytest.fixture
def read(monkeypatch):
    """The checkpoints that tensors are read of."""
    found, reading = [], Prefetch._read

    def noted(self, header, into):
        found.append(header.niter)
        return reading(self, header, into)

    monkeypatch.setattr(Prefetch, "_read", noted)
    return found


@pytest.fixture
def analyzed_run(ptyconv, sample):
    """A copy of the sample run with what analyze leaves in its folder."""
    ptyconv("analyze", sample, "--no-plot")
    return sample


def tree(folder):
    """All files below a folder, with what tells whether they were written, and the folders' own times."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (folder, *folder.rglob("*"))}


def test_what_analyze_has_left_is_not_computed_again(ptyconv, analyzed_run, read):
    before, expected = tree(analyzed_run), ptyconv("check", runs.SAMPLE, "--json").stdout
    read.clear()
    result = ptyconv("check", analyzed_run, "--json")
    assert result.exit_code == 3
    assert result.stdout == expected
    assert read == []
    assert tree(analyzed_run) == before


def test_it_goes_on_from_there_and_keeps_nothing(ptyconv, sample, read):
    last = (sample / "model_iter0120.hdf5").rename(sample.parent / "aside")
    ptyconv("analyze", sample, "--no-plot")
    last.rename(sample / "model_iter0120.hdf5")
    before = tree(sample)
    for _ in range(2):
        read.clear()
        assert ptyconv("check", sample).stdout == ptyconv("check", runs.SAMPLE).stdout
        assert read[:2] == [110, 120]
    assert tree(sample) == before


def test_results_in_another_folder(ptyconv, tmp_path, read):
    ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot")
    read.clear()
    assert ptyconv("check", runs.SAMPLE, "--results", tmp_path).exit_code == 3
    assert read == []
    result = ptyconv("check", runs.SAMPLE, "--results", tmp_path / "absent")
    said = "is no folder; --results names the one with the results of an earlier analyze"
    assert (result.exit_code, said in " ".join(result.stderr.split())) == (1, True)
    assert read == []
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("settings", long_after(1, [["-t", "objp"], ["--percentiles", 10, 90], ["--every", 20]]))
def test_of_other_settings_nothing_is_taken(ptyconv, analyzed_run, read, settings):
    said = ptyconv("check", analyzed_run, *settings).stdout
    assert len(read) == (6 if "--every" in settings else 12)
    assert said == ptyconv("check", runs.SAMPLE, *settings).stdout


def test_other_tolerances_take_all_of_it(ptyconv, analyzed_run, read):
    read.clear()
    assert ptyconv("check", analyzed_run, *WIDE).exit_code == 0
    assert read == []


@pytest.mark.parametrize("damage", long_after(2, ["cut", "changed", "gone", "a link"]))
def test_damaged_or_stale_it_is_not_used(ptyconv, analyzed_run, read, damage):
    kept = analyzed_run / ".ptyconv"
    if damage == "a link":
        kept.rename(analyzed_run / "elsewhere")
        kept.symlink_to("elsewhere")
    for path in sorted(kept.iterdir()) if damage != "a link" else ():
        content = path.read_bytes()
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(b"" if damage == "cut" else bytes(255 - byte for byte in content))
    read.clear()
    result = ptyconv("check", analyzed_run)
    assert result.exit_code == 3
    assert len(read) == 12
    assert result.stdout == ptyconv("check", runs.SAMPLE).stdout
