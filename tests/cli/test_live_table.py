"""What is shown of a run that is being written."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest

from ptyconv_cli.analysis.follow import Look
from ptyconv_cli.cli.running_job import live_line, live_table, pace_of, progress_line
from ptyconv_cli.results.run_analysis import CheckpointInfo


def with_times(analysis, times, planned):
    found = [replace(c, modified=int(t * 1e9)) for c, t in zip(analysis.checkpoints, times, strict=True)]
    return replace(analysis, checkpoints=found, engine=replace(analysis.engine, planned=planned))


def timed(analysis, *pairs, seconds=()):
    """An analysis with checkpoints at iterations that were written at times."""
    found = [CheckpointInfo("f", niter, {}, 1, int(at * 1e9)) for niter, at in pairs]
    return replace(analysis, checkpoints=found, engine=replace(analysis.engine, seconds=list(seconds)))


def test_the_pace_is_that_of_the_last_checkpoints(analysis):
    assert pace_of(timed(analysis, (10, 0), (20, 100))) == pytest.approx(0.1)
    slow_start = [(10 * k, 1000 * k) for k in range(5)] + [(50 + 10 * k, 5000 + 10 * k) for k in range(9)]
    assert pace_of(timed(analysis, *slow_start)) == pytest.approx(1)
    assert pace_of(timed(analysis, (10, 5), (20, 5))) is None
    assert pace_of(timed(analysis, (10, 5), (20, 4))) is None


def test_the_pace_of_copies_is_that_of_the_compute(analysis):
    """Files that were copied are all of one moment, which no computer is quick enough for."""
    seconds = [(10, 100.0), (20, 300.0)]
    assert pace_of(timed(analysis, (10, 0), (20, 0.001), seconds=seconds)) == pytest.approx(10 / 200)
    assert pace_of(timed(analysis, (10, 0), (20, 1000), seconds=seconds)) == pytest.approx(10 / 1000)
    assert pace_of(timed(analysis, (10, 5), (20, 4), seconds=[(10, np.nan), (20, np.nan)])) is None


def test_the_expected_end(analysis, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    start = 1_800_000_000  # 08:00 of a Friday, UTC
    running = with_times(analysis, [start + 360 * k for k in range(12)], 200)
    now = start + 360 * 11 + 60
    assert progress_line(running, now) == ("120 of 200 iterations, 100 iterations/hour, expected end 09:54 (in 47 min)")
    assert "expected end 09:54 (overdue)" in progress_line(running, start + 360 * 11 + 3600)
    slow = with_times(analysis, [start + 36000 * k for k in range(12)], 200)
    assert "1 iterations/hour, expected end Sat 23 Jan 06:00 (in 3.3 days)" in progress_line(slow, start + 396000)
    for planned in (10**12, 10**18):
        endless = progress_line(with_times(analysis, [start + 360 * k for k in range(12)], planned), now)
        assert endless == f"120 of {planned} iterations, 100 iterations/hour"
    unknown = replace(analysis, engine=replace(analysis.engine, seconds=[]))
    assert progress_line(with_times(unknown, [start] * 12, None), now) == ""
    assert progress_line(with_times(unknown, [start] * 12, 120), now) == "120 of 120 iterations"


def test_the_table_fits_and_says_it_all(analysis):
    times = [1.8e9 + 360 * k for k in range(12)]
    look = Look(with_times(analysis, times, 100_000), True, 13, growing="model_iter0130.hdf5")
    lines = [line for line, _ in live_table(look, "run", times[-1] + 60)]
    assert max(map(len, lines)) <= 80
    assert lines[0] == "sample: 12 checkpoints, iterations 10 to 120"
    assert lines[2].startswith("converging: from iteration 60 to 120 the object phase changed by 6 %")
    assert "change per doubling     10→20   20→30   30→60  60→120  tolerated   as much again" in lines
    assert "object phase     %         26      20      11       6          5   2 to 18" in lines
    assert lines[-1] == "model_iter0130.hdf5 is being written"
    assert "keep iteration 120: it is the last, and the object changes less than before" in lines
    assert len(lines) <= 22, "of the 24 of a terminal"


def test_the_table_before_there_is_anything():
    (line,) = live_table(Look(None, False, 0), "run", 0)
    assert line == ("run: waiting for two complete checkpoints", "")
    lines = live_table(Look(None, False, 1, "model_iter0002.hdf5: " + "x" * 300, "f" * 100), "a" * 200, 0)
    assert all(len(line) <= 80 for line, _ in lines)
    assert len(lines) <= 5


def test_the_line_for_a_log_file(analysis):
    times = [1.8e9 + 360 * k for k in range(12)]
    line = live_line(Look(with_times(analysis, times, 200), True, 12), times[-1])
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d iteration 120; converging: from iteration 60 to 120 the object phase changed by 6 % .*; "
        r"120 of 200 iterations, 100 iterations/hour, expected end \d\d:\d\d \(in 48 min\)",
        line,
    )
