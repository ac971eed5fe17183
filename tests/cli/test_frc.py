"""`ptyconv frc`, and `ptyconv plot` of what it wrote."""

import json
import os
import shutil

import frc as invented
import h5py
import numpy as np
import pytest
import runs

GRADIENT = runs.DATA / "phaser" / "gradient"


@pytest.fixture
def two_runs(tmp_path):
    """Two runs of one place that agree less and less."""
    random, folders = np.random.default_rng(1), []
    for name in ("first", "second"):
        images = {
            niter: invented.scene((20, 24))[None] + noise * random.normal(size=(1, 20, 24))
            for niter, noise in ((10, 0.1), (20, 0.05), (40, 0.2), (80, 0.3))
        }
        folders.append(invented.write_run(tmp_path / name, images))
    return folders


def test_of_one_run(ptyconv, tmp_path):
    result = ptyconv("frc", GRADIENT, "-o", tmp_path)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "gradient: 9 doublings, iterations 4 to 20"
    assert lines[1] == "object phase, summed over slices, 26 × 31 px (9.08 × 10.8 Å) compared"
    wrote, table = lines[2 : lines.index("")], lines[lines.index("") + 1 :]
    assert " ".join(" ".join(wrote).split()) == f"wrote {tmp_path / 'frc.json'}, frc.png"
    assert table[0].split("   ")[0] == "iterations"
    assert table[-3].startswith("From iteration 10 to 20 ")
    assert all(len(line) <= 80 for line in table)
    content = json.loads((tmp_path / "frc.json").read_bytes())
    assert [(point["niter"], point["other"]) for point in content["points"]][-1] == (20, 10)
    assert content["answer"][0] in " ".join(lines)


def test_of_two_runs(ptyconv, two_runs, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = ptyconv("frc", *two_runs)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "The two runs agree best at iteration 20: " in result.stdout
    assert "What came after iteration 20 is not reproducible: keep iteration 20." in result.stdout
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["frc.json", "frc.png"]
    assert not list(two_runs[0].glob("frc*"))


def test_options(ptyconv, two_runs, tmp_path):
    def content(*options):
        result = ptyconv("frc", *two_runs, "-o", tmp_path / "out", "--no-plot", "-q", *options)
        assert (result.exit_code, result.output) == (0, "")
        return json.loads((tmp_path / "out" / "frc.json").read_bytes())

    assert content()["threshold"] == "one-bit"
    assert content("--halves")["threshold"] == "half-bit"
    assert content("--threshold", "0.143")["points"][0]["threshold"] == [0.143] * 10
    assert content("-t", "obja", "--slice", 1)["tensor"] == "obja"
    assert [point["niter"] for point in content("--every", 20)["points"]] == [20, 40, 80]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["frc.json"]
    for wrong, says in (
        (["--halves", "--threshold", "0.5"], "--halves is the half-bit threshold"),
        (["--threshold", "5"], "is no threshold"),
        ([two_runs[0]], "give one run or two"),
    ):
        result = ptyconv("frc", *two_runs, *wrong)
        assert result.exit_code == 2
        assert says in result.stderr


@pytest.mark.long
def test_resumed_runs(ptyconv, tmp_path):
    first, resumed = runs.DATA / "resume" / "first", runs.DATA / "resume" / "resumed"
    result = ptyconv("frc", "--chain", first, resumed, "-o", tmp_path)
    assert result.exit_code == 0
    assert "iterations 2 to" in result.stdout or "doublings" in result.stdout
    assert json.loads((tmp_path / "frc.json").read_bytes())["points"][-1]["niter"] == 18


def test_what_is_wrong_is_said_and_nothing_written(ptyconv, two_runs, tmp_path):
    out = tmp_path / "out"
    for arguments, says in (
        ([runs.SAMPLE], "too small for rings"),
        ([tmp_path / "gone"], "there is no such file or folder"),
        ([two_runs[0], two_runs[0]], "are the same run"),
        ([tmp_path], "2 runs below it"),
        ([two_runs[0], GRADIENT], "their pixel sizes differ"),
    ):
        result = ptyconv("frc", *arguments, "-o", out)
        assert result.exit_code == 1
        assert says in result.stderr
        assert result.stdout == ""
    assert not out.exists()
    (tmp_path / "file").write_text("")
    result = ptyconv("frc", *two_runs, "-o", tmp_path / "file")
    assert (result.exit_code, "cannot write there; choose another folder with -o" in result.stderr) == (1, True)


def test_a_warning_names_what_was_left_out(ptyconv, two_runs, tmp_path):
    (two_runs[0] / "model_iter0040.hdf5").write_bytes(b"x" * 50)
    result = ptyconv("frc", *two_runs, "-o", tmp_path / "out", "-q")
    assert result.exit_code == 0
    assert "model_iter0040.hdf5 was left out" in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_a_picture_that_cannot_be_drawn_costs_no_numbers(ptyconv, two_runs, tmp_path):
    (tmp_path / "out" / "frc.png").mkdir(parents=True)
    result = ptyconv("frc", *two_runs, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "a folder has that name" in " ".join(result.stderr.split())
    assert (tmp_path / "out" / "frc.json").is_file()
    assert "wrote" in result.stdout
    assert "frc.png" not in result.stdout


def test_plot_draws_it_again(ptyconv, two_runs, tmp_path):
    ptyconv("frc", *two_runs, "-o", tmp_path / "out")
    picture = tmp_path / "out" / "frc.png"
    before = picture.read_bytes()
    for arguments in ([tmp_path / "out" / "frc.json"], [tmp_path / "out", "--frc"]):
        picture.unlink()
        result = ptyconv("plot", *arguments)
        assert (result.exit_code, result.output.split()) == (0, f"wrote {picture}".split())
        assert picture.read_bytes() == before
    assert ptyconv("plot", tmp_path / "out", "-o", tmp_path / "talk.pdf").exit_code == 0
    assert (tmp_path / "talk.pdf").read_bytes().startswith(b"%PDF")
    result = ptyconv("plot", tmp_path / "out", "--linear")
    assert (result.exit_code, "without other options than -o" in result.stderr) == (2, True)


@pytest.mark.long
def test_plot_prefers_the_analysis_where_both_are(ptyconv, two_runs):
    run = two_runs[0]
    with h5py.File(run / "model_iter0010.hdf5", "r+") as file:
        assert file["niter"][()] == 10
    assert ptyconv("analyze", run, "--no-plot", "-q").exit_code == 0
    assert ptyconv("frc", run, "--no-plot", "-q").exit_code == 0
    assert ptyconv("plot", run).output.split() == f"wrote {run / 'convergence.png'}".split()
    assert ptyconv("plot", run, "--frc").output.split() == f"wrote {run / 'frc.png'}".split()
    result = ptyconv("plot", run.parent / "second", "--frc")
    assert result.exit_code == 1
    assert "holds no frc.json; make one with: ptyconv frc RUN" in result.stderr


def test_own_results_are_no_unknown_files(ptyconv, two_runs):
    ptyconv("frc", two_runs[0])
    assert "frc" not in ptyconv("analyze", two_runs[0], "--no-plot").stderr


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"kind": "frc"}', b'{"kind": "frc", "format": 99}', b'{"kind": "frc", "format": 1, "points": []}'],
)
def test_a_damaged_file_is_named(ptyconv, tmp_path, content):
    place = tmp_path / "frc.json"
    place.write_bytes(content)
    result = ptyconv("plot", place, "--frc")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {place}: ")


def test_a_name_that_is_no_utf8_is_written(ptyconv, tmp_path):
    run_dir = shutil.copytree(GRADIENT, tmp_path / os.fsdecode(b"bad\xff"))
    result = ptyconv("frc", run_dir, "-o", tmp_path, "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads((tmp_path / "frc.json").read_bytes())["names"] == ["bad\udcff"]


def test_of_a_path_that_is_not_there_nothing_is_drawn(ptyconv, tmp_path):
    assert ptyconv("frc", GRADIENT, "-o", tmp_path, "--no-plot", "-q").exit_code == 0
    result = ptyconv("plot", tmp_path / "nosuch")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nosuch" in result.stderr
    assert not (tmp_path / "frc.png").exists()
