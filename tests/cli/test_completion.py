"""What the shell completes, asked as a shell asks."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from rarely import long_after

from ptyconv_cli.cli.main import main

ASK = "from ptyconv_cli.cli.main import main; main(prog_name='ptyconv')"


def completions(words: str) -> list[str]:
    asked = {"COMP_WORDS": f"ptyconv {words}", "COMP_CWORD": str(len(f"ptyconv {words}x".split()) - 1)}
    environment = {**asked, "_PTYCONV_COMPLETE": "bash_complete"}
    return CliRunner(env=environment).invoke(main, prog_name="ptyconv", catch_exceptions=False).stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("an", ["plain,analyze"]),
        ("analyze --fol", ["plain,--follow"]),
        ("analyze --until ", ["plain,converged", "plain,settled"]),
        ("analyze -t obja,pro", ["plain,obja,probe", "plain,obja,probe_pos_shifts", "plain,obja,probe_weights"]),
        ("analyze --sort objp", ["plain,objp_bg", "plain,objp_fg"]),
        ("check --device c", ["plain,cpu", "plain,cuda"]),
        ("plot --series loss,objp_f", ["plain,loss,objp_fg"]),
        ("plot --x t", ["plain,time"]),
        ("maps ", ["file,"]),
        ("analyze run", ["file,run"]),
    ],
)
def test_what_is_completed(words, expected):
    assert completions(words) == expected


def test_all_commands_are_completed():
    assert completions("") == [f"plain,{name}" for name in sorted(main.commands)]


@pytest.mark.parametrize("shell", long_after(1, ["bash", "zsh", "fish"]))
def test_the_scripts_for_shells_are_there(shell):
    environment = {**os.environ, "_PTYCONV_COMPLETE": f"{shell}_source"}
    result = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False)
    if "Shell completion is not supported for Bash versions older" in result.stderr:
        pytest.skip("an old bash")
    assert f"_PTYCONV_COMPLETE={shell}_complete" in result.stdout
