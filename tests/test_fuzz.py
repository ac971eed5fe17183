"""A round of fuzz.py, and what it takes for a fault."""

import subprocess
import sys
from pathlib import Path

import fuzz
import pytest


@pytest.mark.long
def test_damage_never_gives_a_traceback_or_a_wrong_number():
    # A process of its own, for the pass of pytest may have threads, which forking would lose.
    command = [sys.executable, Path(fuzz.__file__), "--count", "400"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "UNNOTICED" not in result.stdout


@pytest.mark.parametrize(
    ("code", "said", "values", "touches", "expected"),
    [
        (None, "", {}, "tensors", "FAILED: took too long"),
        (-11, "", {}, "tensors", "FAILED: ended with -11"),
        (0, "Traceback", {}, "tensors", "FAILED: ended with 0"),
        (1, "Error: x", {}, "tensors", "FAILED: no clean error"),
        (0, "", {("probe", 2, 4): 0.25}, "tensors", "FAILED: wrong numbers between whole files"),
        (0, "", {("probe", 4, 6): 0.25}, "nothing", "FAILED: wrong numbers, though no tensor was touched"),
        (0, "", {("probe", 4, 6): 0.25}, "description", "UNNOTICED"),
        (0, "", {("probe", 4, 6): 0.25}, "tensors", "other numbers, of damaged tensors"),
        (0, "", {("probe", 4, 6): 0.5}, "nothing", "the right numbers"),
        (0, "", {("probe", 2, 4): 0.5}, "nothing", "the file left out"),
    ],
)
def test_the_fuzzer_sees_what_is_wrong(tmp_path, monkeypatch, code, said, values, touches, expected):
    right = {("probe", 2, 4): 0.5, ("probe", 4, 6): 0.5}
    monkeypatch.setattr(fuzz, "points_in", lambda _: values)
    found = fuzz.verdict(code, said, tmp_path, right, 6, fuzz.Damage("bits", touches))
    assert found.startswith(expected)
