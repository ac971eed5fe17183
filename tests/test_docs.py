"""README, docs and --help say what is true now."""

import re

import click
import numpy as np
import pytest
import readme_pictures
import runs
import shown
from PIL import Image
from toy import ToyModel

from ptyconv_cli import analyze_run
from ptyconv_cli.checkpoints.readers import known_readers
from ptyconv_cli.cli.main import main
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.results.doublings import QUANTITIES
from ptyconv_cli.results.series import SERIES
from ptyconv_cli.verdict.evidence import FORECASTS
from ptyconv_cli.verdict.rules import STATES
from ptyconv_cli.version import __version__

TEXTS = {str(page.relative_to(runs.ROOT)): page.read_text() for page in shown.PAGES}
ALL = "\n".join(TEXTS.values())
COMMANDS, METRICS, VERDICT, LIVE = (TEXTS[f"docs/{name}.md"] for name in ("commands", "metrics", "verdict", "live"))
EXAMPLES = [(page, *match) for page, text in TEXTS.items() for match in shown.SHOWN.findall(text)]


@pytest.mark.parametrize(("page", "command", "output"), EXAMPLES, ids=[f"{page}: {cmd}" for page, cmd, _ in EXAMPLES])
def test_the_shown_output_is_real(tmp_path, monkeypatch, page, command, output):
    shown.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert shown.output(command, tmp_path) == output
    assert max(map(len, output.splitlines())) <= 80


def test_all_kinds_of_output_are_shown():
    assert {command.split()[0] for _, command, _ in EXAMPLES} >= {"analyze", "check", "ls"}
    assert any("hypertune" in command for _, command, _ in EXAMPLES)


def test_the_readme_fits_a_few_screens():
    assert len(TEXTS["README.md"].splitlines()) <= 200


@pytest.mark.parametrize("name", main.commands)
def test_every_option_is_in_the_docs_and_has_help(name):
    _, of_command = re.split(rf"^## {name}$", COMMANDS, maxsplit=1, flags=re.M)
    of_command = of_command.split("\n## ")[0]
    for parameter in main.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help
            assert f"`{', '.join(parameter.opts)}" in of_command or f"`{parameter.opts[0]}`" in of_command, (
                parameter.opts
            )


def test_every_option_of_the_docs_exists():
    options = {opt for command in main.commands.values() for parameter in command.params for opt in parameter.opts}
    # Of other programs: pip, sbatch, git.
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", ALL)) - {"--no-deps", "--parsable", "--help", "--version"}
    assert named <= options


def test_every_series_quantity_and_state_is_in_the_docs():
    for series in SERIES:
        label, unit = series.label.split(",")[0], series.unit or "-"
        assert re.search(rf"\| .*`{series.key}`.* \| {label}.* \| {unit} \|", METRICS), series.key
    for quantity in QUANTITIES:
        assert f"{quantity.tolerance:g} {quantity.unit}" in VERDICT
        assert quantity.label in VERDICT or quantity.key == "tilt"
        assert f"`{quantity.key}=" in COMMANDS
    for state in STATES:
        assert f"| {state} |" in VERDICT
    for low, high in FORECASTS.values():
        assert f"| {low:g} × | {high:g} × |" in VERDICT


def test_every_format_is_in_the_readme():
    for known in known_readers():
        for name in known.reader.FILES:
            assert name.split("*")[0] in TEXTS["README.md"]


@pytest.mark.parametrize("page", TEXTS)
def test_links_and_pictures_exist(page):
    folder = (runs.ROOT / page).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if "://" in link:
            continue
        target, _, section = link.partition("#")
        path = (folder / target).resolve() if target else runs.ROOT / page
        assert path.exists(), link
        if section:
            heads = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
            slugs = [re.sub(r"[^\w\- ]", "", head).lower().replace(" ", "-") for head in heads]
            assert section in slugs, link


def test_every_page_is_linked_from_the_readme():
    for page in TEXTS:
        assert page == "README.md" or f"]({page})" in TEXTS["README.md"]


def test_pages_that_the_code_names_exist():
    for module in (runs.ROOT / "ptyconv_cli").rglob("*.py"):
        for page in re.findall(r"docs/\w+\.md", module.read_text()):
            assert (runs.ROOT / page).exists(), (module, page)


def test_the_live_example_runs():
    (example,) = re.findall(
        r"```python\n(from ptyconv_cli.convergence import ConvergenceMonitor.*?)```", LIVE, re.DOTALL
    )
    model = ToyModel()
    exec(example, {"model": model, "update": ToyModel.update})
    assert list(model.convergence_iters) == ["objp_bg", "objp_fg", "probe"]
    assert [niter for niter, _ in model.convergence_iters["probe"]] == list(range(5, 101, 5))


def test_the_example_of_an_engine_that_stops_itself_runs():
    (example,) = re.findall(r'```python\n(monitor = ConvergenceMonitor\(\{"aligned".*?)```', LIVE, re.DOTALL)
    model = ToyModel()
    exec(
        example.replace("1001", "101"),
        {"ConvergenceMonitor": ConvergenceMonitor, "model": model, "update": ToyModel.update},
    )
    assert list(model.convergence_aligned_iters) == [series.key for series in SERIES]


def test_the_shown_pictures_are_what_is_drawn(tmp_path):
    readme_pictures.draw(tmp_path)
    drawn_pictures = {path.name: path for path in tmp_path.rglob("*.png")}
    shown_pictures = {path.name: path for path in readme_pictures.SHOWN}
    assert drawn_pictures.keys() == shown_pictures.keys()
    for name, path in shown_pictures.items():
        assert name in ALL
        (drawn_by, drawn), (shown_by, there) = (pixels(one) for one in (drawn_pictures[name], path))
        if drawn_by != shown_by:
            pytest.skip("another version of matplotlib draws otherwise")
        assert drawn.shape == there.shape
        assert np.abs(drawn - there).mean() < 0.1  # of 255


def pixels(path):
    with Image.open(path) as picture:
        return picture.info["Software"], np.asarray(picture, float)


def test_the_python_examples_are_true():
    analysis = analyze_run(runs.SAMPLE, tensors=["objp", "probe"], tolerances={"objp": "2%"}, device="cpu")
    assert analysis.verdict.state == "converging"
    last = analysis.verdict.doublings["objp"].points[-1]
    assert (last.niter, last.since, f"{last.distance:.4f}", f"{last.relative:.1f}") == (120, 60, "0.0016", "6.0")
    forecast = analysis.verdict.doublings["objp"].forecast
    assert (forecast.niter, f"{forecast.low:.1f}", f"{forecast.high:.1f}") == (240, "3.0", "12.0")
    first, last = analysis.points["objp_fg"][0], analysis.points["objp_fg"][-1]
    assert f"{first.value:.4f}" == "0.0064"
    assert f"{last.value:.4f}" == "0.0052"
    assert f"since={first.since}, value=0.0064..., voxels={first.voxels})" in COMMANDS
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
