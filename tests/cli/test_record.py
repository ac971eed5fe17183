"""What an engine recorded itself, drawn of a run that was not analyzed."""

import json
import shutil
from pathlib import Path

import h5py
import pytest
import runs

from ptyconv_cli.analysis.recorded import recorded_results
from ptyconv_cli.errors import PtyconvError

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture
def last(tmp_path):
    """An old run of which only the last checkpoint is left."""
    (tmp_path / "old").mkdir()
    return Path(shutil.copy(runs.ATOMS / "model_iter0200.hdf5", tmp_path / "old"))


def test_an_analysis_of_one_checkpoint_says_what_to_do(ptyconv, last):
    for command in ("analyze", "check", "report"):
        result = ptyconv(command, last.parent)
        assert result.exit_code == (4 if command == "check" else 1)
        said = " ".join(result.stderr.split())
        assert "a change needs at least two, and the verdict one near half and one near a quarter" in said
        assert "What the engine recorded itself can be drawn: ptyconv plot" in said


@pytest.mark.parametrize("of_file", [False, True])
def test_its_record_is_drawn(ptyconv, last, of_file):
    result = ptyconv("plot", last if of_file else last.parent)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "holds no results; drawn is what the engine recorded itself (model_iter0200.hdf5)" in said
    assert {path.name for path in last.parent.iterdir()} == {"model_iter0200.hdf5", "record.png"}


def test_it_is_what_the_file_holds(last):
    found = recorded_results(last)
    with h5py.File(last) as file:
        loss = file["loss_iters"][()]
        changes = {key: curve[()] for key, curve in file["convergence_iters"].items()}
    assert found.engine.loss == [(int(niter), value) for niter, value in loss]
    assert {key: [(p.niter, p.value) for p in points] for key, points in found.points.items()} == {
        key: [(int(niter), value) for niter, value in curve] for key, curve in changes.items()
    }
    assert [point.since for point in found.points["objp_fg"]] == list(range(0, 200, 10))
    assert found.verdict is None


def test_of_an_older_version_there_is_the_loss(tmp_path):
    shutil.copy(runs.DATA / "ptyrad-0.1.0b10" / "model_iter0010.hdf5", tmp_path)
    found = recorded_results(tmp_path)
    assert found.points == {}
    assert [niter for niter, _ in found.engine.loss] == list(range(1, 11))


def test_where_nothing_was_recorded_that_is_said(ptyconv, tmp_path):
    path = Path(shutil.copy(runs.ATOMS / "model_iter0200.hdf5", tmp_path))
    with h5py.File(path, "r+") as file:
        del file["loss_iters"], file["convergence_iters"]
    with pytest.raises(PtyconvError, match="recorded neither loss nor changes"):
        recorded_results(path)
    assert "neither loss nor changes" in " ".join(ptyconv("plot", tmp_path).stderr.split())
    assert "ptyconv plot" not in ptyconv("analyze", tmp_path).stderr


def test_results_of_an_analysis_come_first(ptyconv, last):
    """Also of a file beside them; and what the results lack is not taken from checkpoints."""
    for niter in (100, 150):
        shutil.copy(runs.DATA / "truth" / "ptyrad_atoms" / f"model_iter{niter:04d}.hdf5", last.parent)
    ptyconv("analyze", last.parent, "--device", "cpu", "--no-plot")
    result = ptyconv("plot", last)
    assert "no results" not in result.stdout
    assert (last.parent / "convergence.png").exists()
    report = last.parent / "convergence_report.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | {"trajectories": {}}))
    assert "holds no trajectory" in ptyconv("plot", last.parent, "--trajectory").stderr


def test_two_runs_that_were_not_analyzed_are_compared(ptyconv, last, tmp_path):
    other = shutil.copytree(runs.ALL["cosine_lr"], tmp_path / "cosine")
    result = ptyconv("plot", last.parent, other, "-o", tmp_path / "both.pdf")
    assert result.exit_code == 1
    assert "holds no change per doubling; first run: ptyconv analyze" in " ".join(result.stderr.split())
    result = ptyconv("plot", last.parent, other, "--series", "loss,probe", "-o", tmp_path / "both.pdf")
    assert result.exit_code == 0
    assert " ".join(result.stdout.split()).count("holds no results") == 2
    assert (tmp_path / "both.pdf").exists()


@pytest.mark.parametrize("options", [["--series", "doubling"], ["--trajectory"]])
def test_what_only_an_analysis_has_is_not_drawn(ptyconv, last, options):
    result = ptyconv("plot", last.parent, *options)
    assert result.exit_code == 1
    assert "; first run: ptyconv analyze" in " ".join(result.stderr.split())
    assert [path.name for path in last.parent.iterdir()] == ["model_iter0200.hdf5"]


def test_of_several_runs_in_a_folder_a_file_says_which(ptyconv, tmp_path):
    mixed = shutil.copytree(runs.DATA / "resume" / "mixed_in_one_folder", tmp_path / "mixed")
    assert "holds several runs; give a file of one of them" in " ".join(ptyconv("plot", mixed).stderr.split())
    assert ptyconv("plot", max(mixed.glob("*.hdf5")), "-o", tmp_path / "a.png").exit_code == 0
