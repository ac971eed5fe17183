"""What the commands print on terminals of other widths, on those that cannot move a cursor, and without colours."""

import shutil
import sys
from io import StringIO

import click
import pytest
import runs
from rarely import long_after, long_but
from toy import write_run

from ptyconv_cli.analysis.follow import Look
from ptyconv_cli.cli.console import Screen, as_errors, progress_bar, say_coloured
from ptyconv_cli.cli.main import main
from ptyconv_cli.cli.running_job import LiveTable, live_table
from ptyconv_cli.results import text

LONG = "2026-03-14 MoS2 twisted-bilayer/" * 5
STUDY = runs.DATA / "ptyrad-1.0"


class Terminal(StringIO):
    def isatty(self):
        return True


def too_wide(output: str, columns: int) -> list[str]:
    """Lines that could have been broken, but are too wide."""
    return [line for line in output.splitlines() if len(line) > columns and len(line.split()) > 1]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder for results, which are computed once for all widths."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def out(results, monkeypatch):
    """A short name for a folder of results, wherever that is."""
    monkeypatch.chdir(results)
    return "out"


@pytest.mark.parametrize("columns", long_but([40, 57, 80, 200], 40, 80))
@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], *([command, "--help"] for command in main.commands)),
        *(["check", runs.ALL["clipped"]], ["ls", runs.DATA / "ptyrad-1.0"], ["ls", runs.DATA / "resume"]),
        ["analyze", runs.ALL["clipped"], "-v", "--no-plot", "-o", "one"],
        ["analyze", STUDY, "--no-plot", "-o", "out"],
        ["analyze", STUDY, "--no-plot", "-o", "out", "--sort", "probe_pos_shifts"],
        ["analyze", runs.DATA / "hypertune", "--no-plot", "-o", "hyper"],
        ["frc", runs.DATA / "phaser" / "gradient", "--no-plot", "-o", "frc"],
    ],
    ids=lambda arguments: " ".join(str(argument).rpartition("/")[2] for argument in arguments),
)
def test_what_is_printed_fits(ptyconv, out, monkeypatch, arguments, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    if arguments[-1] == "--help":
        for name in main.commands:
            main.get_command(None, name)
    result = ptyconv(*arguments)
    assert result.exit_code in (0, 3)
    assert too_wide(result.output.replace(str(runs.DATA), "DATA"), columns) == []


def test_a_narrow_table_says_what_it_leaves_out(ptyconv, out, monkeypatch):
    said = {}
    for columns in (40, 80, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        said[columns] = " ".join(ptyconv("analyze", STUDY, "-o", out, "--no-plot").stdout.split())
    assert "6 columns left out: widen the terminal, or see convergence_study.csv" in said[40]
    assert " keep verdict " in said[40], "the answer is what stays"
    assert "moved:" not in said[40]
    assert "1 column left out: widen the terminal, or see convergence_study.csv" in said[80]
    assert "left out" not in said[100]
    monkeypatch.setenv("COLUMNS", "40")
    assert "3 columns left out: widen the terminal" in ptyconv("ls", STUDY).stdout


@pytest.mark.parametrize("columns", long_after(1, [40, 80, 200]))
def test_long_paths_are_whole(ptyconv, tmp_path, monkeypatch, blank_pictures, columns):
    def fail(*arguments, **options):
        raise AttributeError("no font")

    monkeypatch.setattr("ptyconv_cli.pictures.trajectory.draw_trajectory", fail)
    monkeypatch.setenv("COLUMNS", str(columns))
    folder = tmp_path / LONG
    folder.mkdir(parents=True)
    write_run(folder, [2, 4, 6])
    result = ptyconv("analyze", folder)
    assert f"{folder}/convergence_iters.json," in result.stdout
    assert f"{folder}/trajectory.png:" in result.stderr
    assert f"{folder}/convergence_iters.json," in ptyconv("analyze", folder).stdout, "it is up to date"
    assert f"{folder}: 1 run" in " ".join(ptyconv("ls", folder).stdout.split())
    for command in ("plot", "maps"):
        picture = folder / f"{command} of it.png"
        assert str(picture) in ptyconv(command, folder, "-o", picture).stdout
    page = folder / "my page.html"
    assert str(page) in ptyconv("report", folder, "-o", page).stdout


@pytest.mark.parametrize("columns", [40, 80])
def test_errors_are_wrapped_on_a_terminal_only(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    error = f"Error: /data/{LONG}model 2.hdf5: cannot be read, and is left out of all that follows"
    assert as_errors(error) == error
    monkeypatch.setattr(sys, "stderr", Terminal())
    lines = as_errors(error).splitlines()
    assert any(f"/data/{LONG}model 2.hdf5" in line for line in lines)
    assert len(lines) > 2
    assert " ".join(" ".join(lines).split()) == error
    command = "  --chain '/data/first run of many' '/data/second run'"
    assert as_errors(f"Error: put this first:\n{command}").splitlines()[-1] == command


def test_usage_errors_are_wrapped_too(ptyconv, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    page = f"/data/{LONG}page.txt"
    asked = [["report", runs.SAMPLE, "-o", page], ["analyze", runs.SAMPLE, "--sort", "size"]]
    whole = [ptyconv(*arguments) for arguments in asked]
    monkeypatch.setattr("ptyconv_cli.cli.console._on_terminal", lambda stream: True)
    shown = [ptyconv(*arguments) for arguments in asked]
    assert [result.exit_code for result in whole + shown] == [2, 2, 2, 2]
    said = "the name must end in .html or .htm, or be that of a folder"
    assert f"Error: Invalid value for -o: {page}: {said}\n" in whole[0].stderr
    assert f" {page}:\n  the name must end in .html or .htm, or\n  be that of a folder\n" in shown[0].stderr
    assert too_wide(shown[1].stderr.partition("\n\n")[2], 40) == []
    assert [" ".join(result.stderr.split()) for result in shown] == [" ".join(one.stderr.split()) for one in whole]


def test_help_of_the_commands_is_not_cut(ptyconv, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    said = " ".join(ptyconv("--help").stdout.split())
    assert "analyze Say whether a run has converged, and how much it still changes." in said
    files = " ".join(ptyconv("analyze", "--help").stdout.split())
    assert "trajectory.png the change per doubling of the iterations, and the distances between" in files


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_live_table_fits(analysis, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for shown in (analysis, None):
        look = Look(shown, True, 13, "model_iter0002.hdf5: " + "word " * 100, "f" * 100)
        lines = [line for line, _ in live_table(look, "a" * 200, 0.0)]
        assert all(len(line) <= columns for line in lines)
        assert ("2 columns left out: widen the terminal" in lines) == (columns == 40 and shown is not None)
        assert sum("left out" in line for line in lines) == (columns == 40 and shown is not None)


@pytest.mark.parametrize(("term", "moves"), [("dumb", False), ("xterm-256color", True)])
def test_a_dumb_terminal_gets_lines_instead_of_what_is_drawn_over(analysis, monkeypatch, term, moves):
    monkeypatch.setenv("TERM", term)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("runs", hidden=False) as progress:
        progress(1, 2)
    table = LiveTable("run", quiet=False)
    table.look(Look(analysis, True, 12))
    table.look(Look(analysis, True, 12))
    table.end()
    say_coloured("converged", "converged")
    assert ("\x1b" in terminal.getvalue() or "\r" in terminal.getvalue()) == moves
    assert "converg" in terminal.getvalue()


def test_no_color_changes_nothing_but_colours(analysis, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    drawn = {}
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        terminal = Terminal()
        monkeypatch.setattr(sys, "stdout", terminal)
        screen = Screen()
        for _ in range(2):
            screen.draw(live_table(Look(analysis, True, 12), "run", 0.0))
        drawn[value] = terminal.getvalue()
    assert "\x1b[33m" in drawn[""]
    assert "\x1b[33m" not in drawn["1"]
    assert "\x1b[J" in drawn["1"], "the table is drawn over all the same"
    moved = [part.split("\x1b[J") for part in drawn.values()]
    assert [click.unstyle(part) for part in moved[0]] == [click.unstyle(part) for part in moved[1]]


def test_without_a_terminal_text_has_80_columns(monkeypatch):
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(shutil.os, "get_terminal_size", lambda *_: (_ for _ in ()).throw(OSError()))
    assert text.text_width() == 80
