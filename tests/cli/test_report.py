"""`ptyconv report`: a page to send."""

import os
import re
import shutil
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import blank
import cases
import h5py
import numpy as np
import pytest
import runs
from click.testing import CliRunner
from maps import damaged
from outputs import OUTPUTS, names
from phantoms import wide_run
from rarely import long_after
from toy import write_run

from ptyconv_cli import DOCUMENTATION, __version__
from ptyconv_cli.cli import reports
from ptyconv_cli.cli.main import main


@pytest.fixture(autouse=True)
def _pictures(request, monkeypatch):
    """Pictures are blank, but where a page is compared with the one in `made`, or room is made for them."""
    if not {"made", "drawn_study"} & set(request.fixturenames):
        blank.patch(monkeypatch)


class Text(HTMLParser):
    """The words that a page shows, and the addresses in it."""

    def __init__(self, page):
        super().__init__()
        self.words, self.addresses, self._hidden = [], [], False
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        self._hidden = tag in ("script", "style")
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]

    def handle_endtag(self, tag):
        self._hidden = False

    def handle_data(self, data):
        if not self._hidden:
            self.words.append(data)

    def __str__(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with its page, and what was printed."""
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path_factory.mktemp("made") / "sample")
    result = CliRunner().invoke(main, ["report", str(run_dir), "--device", "cpu"], catch_exceptions=False)
    assert result.exit_code == 0
    return run_dir, result


def test_the_page_is_beside_the_results_of_an_analysis(made):
    run_dir, result = made
    assert names(run_dir) == OUTPUTS | {"report.html"} | {path.name for path in runs.SAMPLE.iterdir()}
    assert result.stdout.startswith("converging: from iteration 60 to 120")
    assert re.search(r"\nwrote\s+(?:[^\n]|\n )*sample/report.html\s+\(\d\.\d+\s+MB\)\n$", result.stdout)
    assert result.stderr == ""


def test_it_says_what_analyze_says(made, ptyconv, tmp_path):
    said = str(Text(made[0] / "report.html"))
    lines = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--device", "cpu", "--no-plot").stdout
    sentence = " ".join(lines.split("converging: ")[1].split("change per doubling")[0].split())
    assert sentence[1:] in said
    for row in re.findall(r"^(?:object \w+|probe|scan positions) +[%p].*$", lines, re.M):
        label, numbers = re.match(r"(\D+?) +(?:%|px) +(.*)$", row).groups()
        assert label in said
        for number in re.split(r"  +", numbers):
            assert f" {number} " in said
    for words in (
        *(
            "Keep iteration 120: it is the last, and the object changes less than before.",
            "tolerated",
        ),
        *("12 checkpoints, iterations 10 to 120", "15 × 19 px (7.75 × 9.81 Å)"),
        *(
            "PtyRAD 1.0.0",
            "Matches the engine's own record",
            "object phase 5 %",
            f"ptyconv {__version__}",
            "Change per doubling",
        ),
        *("model_iter0010.hdf5 to model_iter0120.hdf5", "0.5164 Å", "All 12 checkpoints."),
    ):
        assert words in said, words


def test_all_that_it_shows_is_in_it(made):
    page = Text(made[0] / "report.html")
    inside = [address for address in page.addresses if address.startswith("#")]
    links = [address for address in page.addresses if address == DOCUMENTATION]
    images = [address for address in page.addresses if address.startswith("data:image/")]
    assert (len(links), len(images)) == (2, 30)
    assert len(inside) + len(links) + len(images) == len(page.addresses)
    text = (made[0] / "report.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
    assert policy.startswith("default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-")
    assert "unsafe" not in policy
    assert "http:" not in re.sub(r"data:image/[^\"]+", "", text)
    assert (made[0] / "report.html").stat().st_size < 1.5e6


def test_pictures_say_in_words_what_they_show(made):
    text = (made[0] / "report.html").read_text()
    images = re.findall(r"<img [^>]*>", text)
    for image in images:
        assert len(re.search(r'alt="([^"]+)"', image)[1]) > 30


def test_nothing_new_computes_nothing(made, ptyconv, monkeypatch):
    run_dir, _ = made
    before = {path: path.stat().st_mtime_ns for path in run_dir.iterdir() if path.suffix in (".json", ".csv", ".png")}
    for name in ("draw_dashboard", "draw_trajectory"):
        monkeypatch.setattr(f"ptyconv_cli.pictures.{name.removeprefix('draw_')}.{name}", lambda *_, **__: 1 / 0)
    content = (run_dir / "report.html").read_bytes()
    assert ptyconv("report", run_dir, "--device", "cpu", "-q").output == ""
    assert (run_dir / "report.html").read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "12 of 12 checkpoints were in the cache" in ptyconv("analyze", run_dir, "--device", "cpu").stdout


def test_results_that_are_elsewhere(drawn_sample, ptyconv, tmp_path):
    before = names(drawn_sample)
    result = ptyconv("report", runs.SAMPLE, "--results", drawn_sample, "-o", tmp_path / "page.htm", "--device", "cpu")
    assert result.exit_code == 0
    assert names(drawn_sample) == before
    assert "From iteration 60 to 120" in str(Text(tmp_path / "page.htm"))


def test_a_run_that_cannot_be_written_to(ptyconv, tmp_path, monkeypatch):
    """Then the results are on the page alone."""
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    monkeypatch.setattr("os.access", lambda path, mode: str(run_dir) not in str(path))
    result = ptyconv("report", run_dir, "-o", tmp_path / "page.html", "--device", "cpu")
    assert result.exit_code == 0
    assert names(run_dir) == {path.name for path in runs.SAMPLE.iterdir()}
    assert "From iteration 60 to 120" in str(Text(tmp_path / "page.html"))
    result = ptyconv("report", run_dir)
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: {run_dir}: cannot write there; choose another folder with -o\n",
    )
    assert ptyconv("report", run_dir, "--results", run_dir, "-o", tmp_path / "page.html").exit_code == 1


def test_wrong_names(ptyconv, tmp_path):
    result = ptyconv("report", runs.SAMPLE, "-o", tmp_path / "page.pdf")
    assert result.exit_code == 2
    assert "the name must end in .html" in result.stderr
    (tmp_path / "folder" / "report.html").mkdir(parents=True)
    result = ptyconv("report", runs.SAMPLE, "-o", tmp_path / "folder")
    assert result.exit_code == 1
    assert "a folder has that name" in result.stderr
    assert (
        ptyconv("report", tmp_path / "gone").stderr == f"Error: {tmp_path / 'gone'}: there is no such file or folder\n"
    )
    assert names(tmp_path) == {"folder"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study with its page, whose pictures are blank, and what was printed."""
    with blank.blank_pictures():
        return reported_study(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def drawn_study(tmp_path_factory):
    """A study with its page: room is made on it for pictures as large as they are."""
    return reported_study(tmp_path_factory.mktemp("drawn"))[0]


def reported_study(folder):
    root = shutil.copytree(runs.DATA / "hypertune" / "collated_and_trials", folder / "study")
    result = CliRunner().invoke(main, ["report", str(root), "--device", "cpu"], catch_exceptions=False)
    assert result.exit_code == 0
    return root, result


def test_a_study_is_on_one_page(study):
    root, result = study
    assert "none has converged; t0001 moved least; lowest loss: t0003" in result.stdout
    page = root / "report.html"
    said, text = str(Text(page)), page.read_text()
    assert "None has converged; t0001 moved least; lowest loss: t0003." in said
    assert "run verdict at loss moved keep oplr C10" in said
    for number in range(1, 5):
        assert f'<a href="#run-{number}">t000{number - 1}_full' in text
        assert f'<details class="run" id="run-{number}">' in text
        assert f'id="content-{number}"' in text
    assert page.stat().st_size < reports.LARGEST
    trial = next(root.glob("*/t0002*"))
    assert (trial / "convergence_report.json").exists()
    assert not (trial / "report.html").exists()


def test_a_run_that_fails_is_said_and_the_others_are_there(ptyconv, output_folder):
    result = ptyconv("report", output_folder, "--device", "cpu", "-q")
    assert result.exit_code == 1
    assert "single: holds 1 checkpoint" in result.stderr
    said = str(Text(output_folder / "report.html"))
    assert "3 runs, of which 1 could not be analyzed" in said
    assert "failed: " in said
    assert said.count("Iteration by iteration") == 2


def test_several_runs_in_one_folder(ptyconv, tmp_path):
    root = shutil.copytree(runs.DATA / "resume" / "mixed_in_one_folder", tmp_path / "mixed")
    write_run(tmp_path / "other", [3, 5, 7])
    result = ptyconv("report", root, "--device", "cpu")
    assert result.exit_code == 0
    said = str(Text(root / "report.html"))
    assert said.count("Iteration by iteration") == 2
    assert "run1" in said
    assert ptyconv("report", "--chain", tmp_path / "other", root).exit_code == 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("most", "viewers", "pictures"), [(4_000_000, 4, 12), (550_000, 0, 12), (230_000, 0, 0), (190_000, 0, 0)]
)
def test_the_page_of_many_runs_is_not_too_large(drawn_study, ptyconv, tmp_path, monkeypatch, most, viewers, pictures):
    root = shutil.copytree(drawn_study, tmp_path / "study")  # with the cache of the analysis
    monkeypatch.setattr(reports, "LARGEST", most)
    assert ptyconv("report", root, "--device", "cpu", "-q").exit_code == 0
    page = root / "report.html"
    text = page.read_text()
    assert page.stat().st_size < most
    assert text.count('class="viewer"') == viewers
    assert text.count('class="wide sheet"') <= pictures
    assert (viewers == 4) or "no room for" in text
    assert ("What was read" in text) == (most > 190_000)
    assert "object phase changed by" in text


@pytest.mark.long
def test_a_viewer_is_made_to_fit(ptyconv, tmp_path, monkeypatch):
    """With little room, pictures are smaller, which is said."""
    run_dir = wide_run(tmp_path / "run")
    assert ptyconv("report", run_dir, "-o", tmp_path / "large.html", "--device", "cpu").exit_code == 0
    monkeypatch.setattr(reports, "LARGEST", 700_000)
    assert ptyconv("report", run_dir, "-o", tmp_path / "small.html", "--device", "cpu").exit_code == 0
    assert (tmp_path / "small.html").stat().st_size < 700_000
    assert "averaged down" in str(Text(tmp_path / "small.html"))
    assert "averaged down" not in str(Text(tmp_path / "large.html"))


def test_settings_go_into_the_page(ptyconv, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    options = "-t", "objp,probe", "--tol", "objp=8%", "--every", "20", "--percentiles", "20", "80", "--device", "cpu"
    assert ptyconv("report", run_dir, *options).exit_code == 0
    said = str(Text(run_dir / "report.html"))
    assert "object phase 8 %" in said
    assert "background below percentile 20, foreground above 80; only multiples of 20 iterations" in said
    assert "6 checkpoints, iterations 20 to 120" in said
    assert "Object amplitude at" not in said


def test_a_broken_run_has_a_page(ptyconv, tmp_path):
    cases.object_probe_nan(tmp_path / "run")
    result = ptyconv("report", tmp_path / "run", "--device", "cpu")
    assert result.exit_code == 0
    said = str(Text(tmp_path / "run" / "report.html"))
    assert "since iteration 70" in said
    assert "Object phase at iteration 60" in said


@pytest.mark.parametrize("since", [110, 0])
def test_a_loss_that_is_no_number_is_said(ptyconv, tmp_path, since):
    before = dict(runs.analysis_of(runs.SAMPLE).engine.loss)
    said = "not a number at iteration 120" + (f", {before[since]:.4g} at iteration {since}" if since else "")
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    for path in run_dir.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            loss = file["loss_iters"][()]
            loss[loss[:, 0] > since, 1] = np.nan
            file["loss_iters"][...] = loss
    assert ptyconv("report", run_dir, "-t", "probe", "--device", "cpu").exit_code == 0
    page = str(Text(run_dir / "report.html"))
    assert said in page
    assert "Loss nan" not in page


@pytest.mark.long
def test_all_of_it_nan(ptyconv, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    for path in run_dir.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            for name in ("obja", "objp", "probe", "probe_pos_shifts"):
                file[f"optimizable_tensors/{name}"][...] = np.nan
    assert ptyconv("report", run_dir, "-t", "obja,objp,probe", "--device", "cpu").exit_code == 0
    assert "No checkpoint holds anything finite to look at." in str(Text(run_dir / "report.html"))


def test_what_cannot_be_read_is_a_warning_or_an_error(ptyconv, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    damaged(run_dir, 50)
    result = ptyconv("report", run_dir, "--device", "cpu")
    assert result.exit_code == 0
    assert result.stderr.count("model_iter0050.hdf5 was left out") == 1
    assert str(Text(run_dir / "report.html")).split("Warnings")[1].count("model_iter0050.hdf5 was left out") == 1
    before = (run_dir / "report.html").read_bytes()
    assert ptyconv("report", run_dir, "--device", "cpu", "--strict").exit_code == 1
    assert (run_dir / "report.html").read_bytes() == before


@pytest.mark.parametrize("what", long_after(1, ["maps", "loss", "trajectory"]))
def test_what_cannot_be_drawn_costs_nothing_else(ptyconv, tmp_path, monkeypatch, what):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    monkeypatch.setattr(f"ptyconv_cli.page.drawings.single_{what}", lambda *_: 1 / 0)
    result = ptyconv("report", run_dir, "--device", "cpu")
    assert result.exit_code == 0
    assert "Not on this page: " in result.stderr
    assert "cannot be drawn (ZeroDivisionError" in " ".join(result.stderr.split())
    page = (run_dir / "report.html").read_text()
    assert "Iteration by iteration" in page
    parts = {"loss": "<figcaption>Loss<", "trajectory": "distance to the last checkpoint<", "maps": "Where it still"}
    assert [name for name, part in parts.items() if part not in page] == [what]
    assert "Changes between checkpoints" in page


def test_a_full_disk_leaves_the_old_page(made, ptyconv, monkeypatch, tmp_path):
    run_dir = shutil.copytree(made[0], tmp_path / "run")
    before = (run_dir / "report.html").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = ptyconv("report", run_dir, "--device", "cpu")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert (run_dir / "report.html").read_bytes() == before
    assert names(run_dir) == names(made[0])


@pytest.mark.long
def test_ctrl_c_leaves_no_page(tmp_path):
    write_run(tmp_path / "run", list(range(1, 13)))
    script = (
        "import sys, time, blank, pytest; import ptyconv_cli.page.images as strips\n"
        "blank.patch(pytest.MonkeyPatch())\n"
        "def slow(*_): sys.stdout.write('begun\\n'); sys.stdout.flush(); time.sleep(1)\n"
        "strips._made = slow\n"
        "from ptyconv_cli.cli.main import main; main()"
    )
    arguments = [sys.executable, "-c", script, "report", str(tmp_path / "run"), "--device", "cpu"]
    path = os.pathsep.join([str(Path(blank.__file__).parent), os.environ.get("PYTHONPATH", "")])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": path}, **pipes) as process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)  # one: a second might meet the end of the process
        process.wait(60)
    assert process.returncode == 130
    assert "report.html" not in names(tmp_path / "run")


@pytest.mark.long
def test_runs_that_were_resumed_are_on_one_axis(ptyconv, tmp_path):
    root = shutil.copytree(runs.DATA / "resume", tmp_path / "resume")
    result = ptyconv("report", "--chain", "auto", root / "resumed", "--device", "cpu")
    assert result.exit_code == 0
    said = str(Text(root / "resumed" / "report.html"))
    assert "Run boundary after" in said
    assert ptyconv("report", root / "resumed", "--device", "cpu").exit_code == 0
    assert "Resumed from" in str(Text(root / "resumed" / "report.html"))
