"""What is written to a terminal, and to what is none."""

import json
import os
import re
import subprocess
import sys
import unicodedata

import pytest
import runs


def on_a_terminal(tmp_path, columns, rows, lines) -> str:
    """What a screen shows in the end when lines are drawn twice: the second time without the last one."""
    code = (
        "import json, sys\nfrom ptyconv_cli.cli.console import Screen\n"
        "screen, lines = Screen(), json.loads(sys.argv[1])\n"
        "screen.draw(lines)\nscreen.draw(lines[:-1])\n"
    )
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": str(rows), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", code, json.dumps([[line, ""] for line in lines])]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def shown_by(output: str, columns: int) -> list[str]:
    """What stands on a screen that knows line ends, cursor up, and erase below."""
    screen, row = [""], 0
    for piece in re.split(r"(\n|\x1b\[\d+A|\x1b\[J)", output):
        if piece == "\n":
            row += 1
        elif piece.endswith("A") and piece.startswith("\x1b"):
            row -= int(piece[2:-1])
        elif piece == "\x1b[J":
            del screen[row:]
        else:
            screen += [""] * (row + 1 - len(screen))
            width = sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in piece)
            assert width <= columns, "it would wrap"
            screen[row] += piece
    return [line for line in screen if line]


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (50, 24), (20, 5), (7, 2)])
def test_a_table_is_drawn_over_the_one_before(tmp_path, columns, rows):
    lines = ["run: 12 checkpoints " * 4, "超" * 60, "", "short", "x" * 79, "last"]
    output = on_a_terminal(tmp_path, columns, rows, lines)
    shown = shown_by(output, columns)
    assert len(shown) == len([line for line in lines[:-1][: rows - 1] if line])
    assert shown[0] == lines[0][:columns]
    assert "last" not in shown


def test_the_progress_bar_shows_on_a_terminal_only(tmp_path):
    """A pseudo-terminal for standard error, as a user's shell gives it."""
    controller, terminal = os.openpty()
    command = [sys.executable, "-m", "ptyconv_cli", "analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot"]
    for options, shown in (([], True), (["-q"], False)):
        subprocess.run([*command, *options], stdout=subprocess.DEVNULL, stderr=terminal, check=True)
        os.write(terminal, b"end")
        assert (b"checkpoints" in os.read(controller, 100_000)) == shown
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""


def test_closed_output_is_no_traceback(tmp_path):
    command = f'exec "{sys.executable}" -m ptyconv_cli analyze "{runs.SAMPLE}" -o "{tmp_path}" --no-plot >&-'
    result = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert result.stderr == ""
    assert (tmp_path / "convergence_iters.json").exists()


def test_a_terminal_without_utf8_gets_no_traceback(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "ptyconv_cli", "analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot", "-v"]
    result = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert "probe_pos_shifts  Å         0.012   0.00612       0.511  ???????????" in result.stdout.decode("latin-1")
