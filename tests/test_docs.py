"""README, docs and --help say what is true now."""

import json
import re
import sys
from types import ModuleType

import click
import long_runs
import nbformat
import notebook
import numpy as np
import pytest
import readme_pictures
import runs
import shown
from PIL import Image
from ptyrad_names import SERIES
from toy import ToyModel

from ptyconv_cli import __version__, analyze_run
from ptyconv_cli.analysis.report import COLUMNS, report_json
from ptyconv_cli.checkpoints.readers import known_readers
from ptyconv_cli.cli.main import main
from ptyconv_cli.convergence import ConvergenceMonitor
from ptyconv_cli.quantities import QUANTITIES
from ptyconv_cli.verdict.rules import RULES, STATES

TEXTS = {str(page.relative_to(runs.ROOT)): page.read_text() for page in shown.PAGES}
ALL = "\n".join(TEXTS.values())
COMMANDS, METRICS, VERDICT = (TEXTS[f"docs/{name}.md"] for name in ("commands", "metrics", "verdict"))
EXAMPLES = [(page, *match) for page, text in TEXTS.items() for match in shown.SHOWN.findall(text)]

OFTEN = ("check converged", "frc pair_A pair_B")
"""Commands with runs that are first unpacked, and are tried each time all the same."""


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize(
    ("page", "command", "output"),
    [one if one[1] in OFTEN or "data" in one[1] else pytest.param(*one, marks=pytest.mark.long) for one in EXAMPLES],
    ids=[f"{page}: {cmd}" for page, cmd, _ in EXAMPLES],
)
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
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", ALL))
    of_others = {"--no-deps", "--parsable", "--gres", "--nthreads", "--nworkers", "--num-sync-epochs", "--index-filter"}
    of_others |= {"--protocol", "--no-dashboard", "--tls-ca-file", "--tls-cert", "--tls-key"}
    # pip, sbatch, dask, ptychodus
    assert named - of_others - {"--help", "--version"} <= options


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
    assert {quantity.forecast for quantity in QUANTITIES} == {None, 3.0}, "a third to three times, as the page has it"
    for rule in RULES:
        assert f"| {rule.state} | {rule.when} |" in VERDICT, rule.state


def test_every_format_is_in_the_readme():
    for known in known_readers():
        for name in known.files:
            assert name.split("*")[0] in TEXTS["README.md"]
        if known.by_content:
            assert known.engine in TEXTS["README.md"]


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
        assert page in ("README.md", "docs/index.md") or f"]({page})" in TEXTS["README.md"]


def test_pages_that_the_code_names_exist():
    for module in (runs.ROOT / "ptyconv_cli").rglob("*.py"):
        for page in re.findall(r"docs/\w+\.md", module.read_text()):
            assert (runs.ROOT / page).exists(), (module, page)


@pytest.mark.parametrize("folder", ["sample_data", "tests/data"])
def test_what_the_data_folders_say_they_hold_is_there(folder):
    page = runs.ROOT / folder / "README.md"
    for link in re.findall(r"\]\(([^)\s#]+)", page.read_text()):
        assert "://" in link or (page.parent / link).exists(), link
    if folder == "tests/data":
        for name in long_runs.NAMES:
            assert f"`{name}`" in page.read_text()


def python_in(page):
    return re.findall(r"```python\n(.*?)```", TEXTS[page], re.DOTALL)


def test_the_live_example_runs():
    example = python_in("docs/live.md")[0]
    model = ToyModel()
    exec(example, {"model": model, "update": ToyModel.update})
    assert list(model.convergence_iters) == ["objp_bg", "objp_fg", "probe"]
    assert [niter for niter, _ in model.convergence_iters["probe"]] == list(range(5, 101, 5))


def test_the_example_of_an_engine_that_stops_itself_runs():
    example = python_in("docs/live.md")[1]
    assert '"aligned"' in example
    model = ToyModel()
    exec(
        example.replace("1001", "101"),
        {"ConvergenceMonitor": ConvergenceMonitor, "model": model, "update": ToyModel.update},
    )
    assert list(model.convergence_aligned_iters) == [series.key for series in SERIES]


@pytest.fixture
def ptyrad(monkeypatch):
    """Stand-ins for PtyRAD's modules, by name: what the real ones do with the scripts is told in the docs."""
    names = ("ptyrad", "ptyrad.cli", "ptyrad.cli.entry", "ptyrad.solver")
    modules = {name: ModuleType(name) for name in (*names, "ptyrad.solver.reconstruction", "ptyrad.solver.hypertune")}
    for loop in ("reconstruction", "hypertune"):
        setattr(modules["ptyrad.solver"], loop, modules[f"ptyrad.solver.{loop}"])
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return modules


@pytest.mark.parametrize(
    ("page", "example"),
    [(page, one) for page in TEXTS for one in python_in(page) if "ptyrad.solver" in one and "ptyconv" in one],
)
def test_the_lines_for_ptyrads_loop_put_this_monitor_there(ptyrad, capsys, page, example):
    loops = ptyrad["ptyrad.solver.reconstruction"], ptyrad["ptyrad.solver.hypertune"]
    started = []
    ptyrad["ptyrad.cli.entry"].main = lambda: started.append(loops[0].create_convergence_monitor)
    exec(example, {})
    assert started == ([] if page == "README.md" else [loops[0].create_convergence_monitor])
    model = ToyModel()
    for loop in loops if started else loops[:1]:
        monitor = loop.create_convergence_monitor({"every_n_iters": 5}, model)
        assert isinstance(monitor, ConvergenceMonitor)
        model.update()
        monitor.step(model, 5)
    assert ("too early" in capsys.readouterr().out) == ("Watching" in example)


def script_in_formats(beginning):
    (script,) = (one for one in python_in("docs/formats.md") if one.startswith(f'"""python {beginning}'))
    return script


def test_the_script_that_saves_evenly_in_the_logarithm_does_so(ptyrad):
    """The iteration is the sixth argument of PtyRAD's `save_results`, the third of its `plot_summary`."""
    loop, saved, drawn = ptyrad["ptyrad.solver.reconstruction"], [], []
    loop.save_results = lambda *given, **named: saved.append(given[5])
    loop.plot_summary = lambda *given, **named: drawn.append(given[2])

    def run():
        for niter in range(1, 101):
            loop.save_results("folder", "model", "params", "optimizer", "loss", niter, "indices")
            loop.plot_summary("folder", "model", niter, show=False)

    ptyrad["ptyrad.cli.entry"].main = run
    exec(script_in_formats("logsaved.py"), {})
    assert saved == drawn == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96]


def test_the_script_for_halves_takes_each_position_once(ptyrad, monkeypatch):
    found = []
    for half in "01":
        monkeypatch.setattr(sys, "argv", ["half.py", half, "run", "params.yaml"])
        ptyrad["ptyrad.cli.entry"].main = lambda: found.append(sys.argv[1:])
        exec(script_in_formats("half.py"), {})
        choose = ptyrad["ptyrad.solver.reconstruction"].select_scan_indices
        found.append(choose(N_scan_slow=4, N_scan_fast=6, mode="full").tolist())
    arguments, first, _, second = found
    assert arguments == ["run", "params.yaml"]
    assert sorted(first + second) == list(range(24))
    assert first == [0, 2, 4, 7, 9, 11, 12, 14, 16, 19, 21, 23], "like a chessboard"


def test_the_notebook_shows_what_it_says():
    stored = nbformat.read(notebook.PATH, 4)
    assert [cell.source for cell in stored.cells] == [cell.source for cell in notebook.made().cells]
    assert str(runs.ROOT) not in notebook.PATH.read_text()
    assert notebook.shown(notebook.run(notebook.made())) == notebook.shown(stored)


@pytest.mark.long
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
        assert path.stat().st_size < 380_000
        assert drawn.shape == there.shape
        assert np.abs(drawn - there).mean() < 0.1  # of 255


def test_the_picture_of_the_page_is_in_the_readmes_first_screen():
    """It is not compared with what is drawn, for which another browser, or other fonts, would be enough."""
    for page in readme_pictures.PAGES:
        assert page.place.stat().st_size < 330_000
        with Image.open(page.place) as picture:
            assert 1000 < picture.width <= readme_pictures.WIDTH
    before, _ = TEXTS["README.md"].split(f"]({readme_pictures.PAGE.place.relative_to(runs.ROOT)})")
    assert len(before.splitlines()) < 20
    assert before.count("![") == 1


def pixels(path):
    with Image.open(path) as picture:
        return picture.info["Software"], np.asarray(picture, float)


RUN_EXAMPLES = [
    (page, number)
    for page in TEXTS
    for number, example in enumerate(python_in(page))
    if "analyze_run(" in example or "analyze_study(" in example
]


@pytest.mark.parametrize(("page", "number"), RUN_EXAMPLES)
def test_the_python_examples_are_true(monkeypatch, page, number):
    """What is behind a # is what the line's expression gives, but for what ... stands for."""
    monkeypatch.chdir(runs.ROOT)
    example, names = list(python_in(page))[number], {}
    for line in example.splitlines():
        code, _, said = line.partition("  # ")
        if not said:
            exec(code, names)
            continue
        value, _, _ = said.partition(": ")
        expected = ".*".join(map(re.escape, value.split("...")))
        assert re.fullmatch(expected, repr(eval(code, names)), re.DOTALL), line


def test_the_files_are_described_key_by_key():
    analysis = analyze_run(runs.SAMPLE, tensors=["objp", "probe_pos_shifts"], device="cpu")
    report = json.loads(report_json(analysis))
    doubling = report["doublings"]["objp"]
    for content in (report, report["verdict"], report["histories"], doubling, doubling["points"][0]):
        for key in content:
            assert f"`{key}`" in COMMANDS, key
    for key in (*report["trajectories"]["objp"]["aligned"], *report["series"]["objp_fg"]["points"][0], *COLUMNS):
        assert f"`{key}`" in COMMANDS, key


def test_the_lines_of_pandas_name_what_the_table_has():
    (example,) = (example for example in python_in("docs/commands.md") if "pandas" in example)
    assert len(example.split("\n\n")[1].splitlines()) <= 4
    named = set(re.findall(r'"(\w+)"', example))
    assert named - {series.key for series in SERIES} <= set(COLUMNS)


def test_every_module_is_on_the_page_on_development():
    page, package = TEXTS["docs/development.md"], runs.ROOT / "ptyconv_cli"
    for module in package.rglob("[a-z]*.py"):
        package_name, *inside = module.relative_to(package).parts
        if inside:
            of_package = re.search(rf"^\*\*`{package_name}/`\*\*.*?(?=^\*\*|^Below all)", page, re.DOTALL | re.M)[0]
            assert f"`{module.stem}`" in of_package, module
        else:
            assert f"`{package_name}`" in page or f"`{module.stem}`" in page, module


def test_the_version_is_in_the_changelog(ptyconv):
    assert f"## {__version__}" in (runs.ROOT / "CHANGELOG.md").read_text()
    assert ptyconv("--version").output.splitlines()[0] == f"ptyconv {__version__}"
    for page in ("CITATION.cff", "CHANGELOG.md"):
        assert __version__ in (runs.ROOT / page).read_text()


DIFFS = [
    (match[1], [line[1:] for line in match[2].splitlines()])
    for block in re.findall(r"```diff\n(.*?)```", TEXTS["docs/development.md"], re.DOTALL)
    for match in re.finditer(r"^\+\+\+ (\S+)\n((?:\+(?!\+\+ ).*\n)+)", block, re.MULTILINE)
]


def test_there_are_diffs():
    assert len(DIFFS) == 6


@pytest.mark.parametrize(("path", "lines"), DIFFS)
def test_what_a_diff_of_the_docs_adds_is_there(path, lines):
    rest = iter((runs.ROOT / path).read_text().splitlines())
    for line in lines:
        assert line in rest, line  # in this order
