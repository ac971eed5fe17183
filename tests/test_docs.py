"""README and --help say what is true now."""

import re
import shutil
import time
from dataclasses import replace

import click
import numpy as np
import pytest
import readme_pictures
import runs
from PIL import Image
from toy import ToyModel

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.follow import Look
from ptyconv_cli.cli.live_table import live_table
from ptyconv_cli.cli.main import main
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.version import __version__

README = (runs.ROOT / "README.md").read_text()


SHOWN = re.findall(r"\$ ptyconv (.*)\n((?:.*\n)*?)```", README)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_shown_output_is_real(ptyconv, tmp_path, monkeypatch, command, output):
    for folder in ("sample_data", "tests"):
        (tmp_path / folder).symlink_to(runs.ROOT / folder)
    monkeypatch.chdir(tmp_path)
    if "sample_data" in command:
        command += " --device cpu"
    assert ptyconv(*command.split()).stdout == output


def test_all_kinds_of_output_are_shown():
    assert [command.split()[0] for command, _ in SHOWN] == ["analyze", "analyze", "ls"]


@pytest.mark.parametrize("name", main.commands)
def test_every_option_is_in_the_readme_and_has_help(name):
    command = main.commands[name]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert f"`{', '.join(parameter.opts)}" in README, f"{name} {parameter.opts}"


def test_every_option_of_the_readme_exists():
    options = {opt for command in main.commands.values() for parameter in command.params for opt in parameter.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README)) <= options


def test_every_series_is_in_the_readme():
    for series in SERIES:
        assert re.search(rf"\| .*`{series.key}`.* \| {series.label.split(',')[0]}.* \| {series.unit or '-'} \|", README)


def test_the_shown_live_table_is_real(monkeypatch):
    """Of the sample run after nine checkpoints, one every six minutes."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    files = sorted(runs.SAMPLE.glob("*.hdf5"))[:9]
    analysis = analyze_run(runs.SAMPLE, files=files, device="cpu")
    start = 1_800_000_000
    checkpoints = [replace(c, modified=(start + 360 * k) * 10**9) for k, c in enumerate(analysis.checkpoints)]
    look = Look(replace(analysis, checkpoints=checkpoints), True, 9)
    (shown,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    table = live_table(look, "ptyrad-1.0", start + 360 * 8 + 20)
    assert "".join(f"{line}\n" for line, _ in table) == shown


def test_the_live_example_runs():
    (example,) = re.findall(r"```python\n(from ptyconv_cli.convergence import .*?)```", README, re.DOTALL)
    model = ToyModel()
    exec(example, {"model": model, "update": ToyModel.update})
    assert list(model.convergence_iters) == ["objp_bg", "objp_fg", "probe"]
    assert [niter for niter, _ in model.convergence_iters["probe"]] == list(range(5, 101, 5))


def test_the_example_of_an_engine_that_stops_itself_runs():
    (example,) = re.findall(r'```python\n(monitor = ConvergenceMonitor\(\{"aligned".*?)```', README, re.DOTALL)
    model = ToyModel()
    exec(
        example.replace("1001", "101"),
        {"ConvergenceMonitor": ConvergenceMonitor, "model": model, "update": ToyModel.update},
    )
    assert list(model.convergence_aligned_iters) == [series.key for series in SERIES]


def test_the_shown_pictures_are_what_is_drawn(drawn_sample, tmp_path):
    readme_pictures.draw(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == set(re.findall(r"sample_data/(\w+\.png)", README))
    for name in ("convergence.png", "trajectory.png"):  # which the command draws, too
        shutil.copy(drawn_sample / name, tmp_path)
    for name in names:
        (drawn_by, drawn), (shown_by, shown) = (
            pixels(folder / name) for folder in (tmp_path, runs.ROOT / "sample_data")
        )
        if drawn_by != shown_by:
            pytest.skip("another version of matplotlib draws otherwise")
        assert drawn.shape == shown.shape
        assert np.abs(drawn - shown).mean() < 0.1  # of 255


def pixels(path):
    with Image.open(path) as picture:
        return picture.info["Software"], np.asarray(picture, float)


def test_the_python_example_is_true():
    analysis = analyze_run(runs.SAMPLE, tensors=["objp", "probe"], device="cpu")
    first, last = analysis.points["objp_fg"][0], analysis.points["objp_fg"][-1]
    assert f"{first.value:.4f}" == "0.0064"
    assert f"{last.value:.4f}" == "0.0052"
    assert f"since={first.since}, value=0.0064..., voxels={first.voxels})" in README
    assert f"{analysis.aligned_points['objp_fg'][-1].value:.5f}" == "0.00019"
    niter, removed = analysis.removed["objp"][-1]
    assert (niter, f"{removed.share:.3f}", removed.scale) == (120, "0.957", None)
    trajectory = analysis.trajectories["objp"]
    to_last = trajectory.to_last(trajectory.aligned)
    assert (to_last[0][0], f"{to_last[0][1]:.4f}", to_last[-1]) == (10, "0.0120", (120, 0.0))
    assert analysis.warnings == []


def test_the_version_is_in_the_changelog(ptyconv):
    assert f"## {__version__}" in (runs.ROOT / "CHANGELOG.md").read_text()
    assert ptyconv("--version").output == f"ptyconv, version {__version__}\n"
