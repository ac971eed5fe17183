"""`ptyconv analyze --follow`, from start to end."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import runs
import writer
from processes import started
from ptyrad_names import TENSORS
from rarely import long_after
from toy import ToyModel, write_hdf5, write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.compare import Prefetch
from ptyconv_cli.analysis.follow import SURE, Ends, Watch, follow

pytestmark = pytest.mark.usefixtures("blank_pictures")

PTYCONV = [sys.executable, "-m", "ptyconv_cli"]


def settled_run(folder: Path, count: int) -> None:
    """Every tensor jitters about a fixed point, after a few large steps."""
    random = np.random.default_rng(1)
    model, folder = ToyModel(), Path(folder)
    folder.mkdir(exist_ok=True)
    start = {name: tensor.detach().clone() for name, tensor in model.optimizable_tensors.items()}
    for k in range(count):
        size = 1e-3 + 0.3 * (k < 3)
        for name, tensor in model.optimizable_tensors.items():
            tensor.data = start[name] + size * start[name].new_tensor(random.normal(size=tensor.shape))
        write_hdf5(folder / f"model_iter{5 * k + 5:04d}.hdf5", model, 5 * k + 5)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_the_end_is_that_of_one_analysis(tmp_path, seed):
    run_dir = tmp_path / "run"
    command = ["analyze", "--follow", run_dir, "-o", tmp_path / "followed", "--poll", "0.3", "--device", "cpu"]
    with started([*PTYCONV, *command]) as follower:
        writing = [sys.executable, writer.__file__, runs.SAMPLE, run_dir, 60, 0.8, seed]
        subprocess.run(list(map(str, writing)), check=True, timeout=300)
        said, _ = follower.communicate(timeout=300)
    assert follower.returncode == 0
    assert "ended: the run reached its planned last iteration, 60" in said
    subprocess.run([*PTYCONV, "analyze", run_dir, "-o", tmp_path / "at_once", "--device", "cpu", "-q"], check=True)
    for name in ("convergence_iters.json", "convergence_report.json", "convergence.png", "trajectory.png"):
        assert (tmp_path / "followed" / name).read_bytes() == (tmp_path / "at_once" / name).read_bytes()


def test_it_really_goes_along(tmp_path):
    """There are results while the run is being written, and each new checkpoint is in them."""
    run_dir, out = tmp_path / "run", tmp_path / "out"
    command = ["analyze", "--follow", run_dir, "-o", out, "--poll", "0.1", "--no-plot", "--device", "cpu"]
    with started([*PTYCONV, *command]) as follower:
        assert follower.stdout.readline() == "run: waiting for the folder\n"
        run_dir.mkdir()
        for niter in (10, 20, 30, 40):
            shutil.copy(runs.SAMPLE / f"model_iter{niter:04d}.hdf5", run_dir)
            line = follower.stdout.readline()
            if niter == 10:
                if line == "run: waiting for two complete checkpoints\n":  # it looked while the file was copied
                    line = follower.stdout.readline()
                assert line == "run: waiting for two complete checkpoints; 1 file seen\n"
                line = follower.stdout.readline()
                assert "holds 1 checkpoint; a change needs at least two" in line
            else:
                assert re.match(rf"\d\d:\d\d:\d\d iteration {niter}; [a-z]+: .*; {niter} of 120 ", line)
                report = json.loads((out / "convergence_report.json").read_text())
                assert [found["niter"] for found in report["checkpoints"]] == list(range(10, niter + 1, 10))
        follower.send_signal(signal.SIGINT)
        assert follower.wait(60) == 130


@pytest.mark.parametrize("until", long_after(1, ["converged", "settled"]))
def test_until_converged(ptyconv, tmp_path, until):
    settled_run(tmp_path / "run", 40)
    result = ptyconv("analyze", "--follow", tmp_path / "run", "--until", until, "--poll", "0.05", "--no-plot")
    assert result.exit_code == 0, result.stderr
    assert "ended: it has converged\n" in result.stdout
    assert re.search(r"\nconverged since iteration \d+: ", result.stdout)


POSITIONS = ["--tol", "probe_pos_shifts=1px"]


@pytest.mark.parametrize(("options", "has"), [([], True), (["--all"], False), ([*POSITIONS, "--all"], True)])
def test_tolerances_decide_when_it_has_converged(ptyconv, tmp_path, options, has):
    """The object's, unless the positions are asked for, too."""
    shutil.copytree(runs.SAMPLE, tmp_path / "run")
    command = ["analyze", "--follow", tmp_path / "run", "--until", "converged", "--poll", "0.05", "--no-plot"]
    result = ptyconv(*command, "--tol", "objp=20%", *options)
    assert result.exit_code == (0 if has else 3), result.stderr
    ended = "it has converged" if has else "the run reached its planned last iteration, 120"
    assert f"ended: {ended}\n" in result.stdout
    assert "\nconverged since iteration 50: " in result.stdout, "of the object"


def test_a_broken_run_ends_it(ptyconv, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    for niter in (110, 120):
        with h5py.File(run_dir / f"model_iter{niter:04d}.hdf5", "r+") as file:
            file["optimizable_tensors/objp"][...] = np.nan
    result = ptyconv("analyze", "--follow", run_dir, "--poll", "0.05", "--no-plot")
    assert result.exit_code == 3
    assert "ended: the run is broken\n" in result.stdout
    assert "broken: the object phase holds NaN or infinity since iteration 110." in result.stdout


def test_until_converged_of_what_does_not_converge(ptyconv, tmp_path):
    shutil.copytree(runs.SAMPLE, tmp_path / "run")
    result = ptyconv("analyze", "--follow", tmp_path / "run", "--until", "converged", "--poll", "0.05", "--no-plot")
    assert result.exit_code == 3
    assert "ended: the run reached its planned last iteration, 120\n" in result.stdout


def test_idle(ptyconv, tmp_path):
    shutil.copytree(runs.SAMPLE, tmp_path / "run", ignore=shutil.ignore_patterns("*01?0*"))
    (tmp_path / "run" / "model_iter0100.hdf5").write_bytes(b"half")
    command = ["analyze", "--follow", tmp_path / "run", "--idle", "0.01", "--poll", "0.1", "--no-plot"]
    result = ptyconv(*command)
    assert result.exit_code == 0
    assert "ended: no new checkpoint for 0.01 minutes\n" in result.stdout
    assert "9 checkpoints, iterations 10 to 90" in result.stdout
    assert "model_iter0100.hdf5" in result.stderr, "what never became whole is warned of"


def test_nothing_ever_comes(ptyconv, tmp_path):
    result = ptyconv("analyze", "--follow", tmp_path / "run", "--idle", "0.005", "--poll", "0.05")
    assert result.exit_code == 1
    assert result.stderr == f"Error: {tmp_path / 'run'}: there is no such file or folder\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--until", "settled"], "--until, --all, --idle and --poll need --follow"),
        (["--idle", "5"], "--until, --all, --idle and --poll need --follow"),
        (["--all"], "--until, --all, --idle and --poll need --follow"),
        (["--follow", "--all"], "--all needs --until converged"),
        (["--follow", "--until", "settled", "--no-aligned"], "--until converged needs the aligned changes"),
        (["--follow", "--idle", "0"], "0.0 is not in the range x>0"),
        (["--follow", "--until", "improving"], "'improving' is not one of 'converged', 'settled'"),
    ],
)
def test_what_is_not_allowed(ptyconv, arguments, said):
    result = ptyconv("analyze", runs.SAMPLE, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_study_is_not_followed(ptyconv):
    result = ptyconv("analyze", "--follow", runs.DATA / "resume")
    assert result.exit_code == 1
    assert "holds no checkpoint, but 4 runs below it, in first, mixed_in_one_folder, resumed and " in result.stderr


def test_several_runs_in_the_folder_end_it(ptyconv, tmp_path):
    result = ptyconv(
        "analyze", "--follow", runs.DATA / "resume" / "mixed_in_one_folder", "-o", tmp_path, "--poll", "0.05"
    )
    assert result.exit_code == 1
    assert "its checkpoints belong to 2 runs" in result.stderr


def test_a_log_says_what_is_waited_for(tmp_path):
    """Once each: a folder that isn't there, files that lack a tensor."""
    run_dir = tmp_path / "run"
    command = ["analyze", "--follow", run_dir, "--poll", "0.05", "--idle", "0.02", "--device", "cpu", "--no-plot"]
    write_run(tmp_path / "aside", [2, 4])
    for path in (tmp_path / "aside").iterdir():
        with h5py.File(path, "r+") as file:
            del file["optimizable_tensors/probe_pos_shifts"]
    with started([*PTYCONV, *command]) as follower:
        assert follower.stdout.readline() == "run: waiting for the folder\n"
        (tmp_path / "aside").rename(run_dir)
        rest = follower.stdout.read()
        assert follower.wait(60) == 1
    assert (
        rest.count("model_iter0004.hdf5: has no tensor probe_pos_shifts; it has obja, objp, probe (choose with -t)")
        == 1
    )


@pytest.mark.parametrize("closed", long_after(1, ["both", "stdout"]))
def test_without_a_place_to_talk_to(tmp_path, closed):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    redirection = ">&-" if closed == "stdout" else ">&- 2>&-"
    command = shlex.join([sys.executable, "-m", "ptyconv_cli", "analyze", "--follow", str(run_dir), "--poll", "0.05"])
    command += f" --no-plot {redirection}"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in result.stderr
    assert (run_dir / "convergence_report.json").exists()


def test_fresh_is_for_the_first_analysis(tmp_path, monkeypatch, ptyconv):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run", ignore=shutil.ignore_patterns("*01?0*"))
    ptyconv("analyze", run_dir, "--no-plot", "--device", "cpu")
    read, seen = Prefetch._read, []

    def reading(self, header, into):
        seen.append(header.niter)
        return read(self, header, into)

    monkeypatch.setattr(Prefetch, "_read", reading)
    added, clock = iter([0, 1, 1]), [0.0]

    def sleep(seconds):
        clock[0] += seconds
        if next(added, None) == 0:
            return
        if len(list(run_dir.glob("*.hdf5"))) == 9:
            shutil.copy2(runs.SAMPLE / "model_iter0100.hdf5", run_dir)

    monkeypatch.setattr("ptyconv_cli.analysis.follow.time.sleep", sleep)
    monkeypatch.setattr("ptyconv_cli.analysis.follow.time.monotonic", lambda: clock[0])
    ptyconv("analyze", "--follow", run_dir, "--fresh", "--idle", "1", "--no-plot", "--device", "cpu")
    assert seen == [*range(10, 100, 10), 90, 100]


LOOK_ON = """
import sys, time
from pathlib import Path
from ptyconv_cli.cli.main import main
looks = 0
def sleep(seconds):
    global looks
    looks += 1
    if looks in (20, 220):
        print("pages", Path("/proc/self/statm").read_text().split()[1], flush=True)
    if looks == 220:
        raise KeyboardInterrupt
time.sleep = sleep
main(sys.argv[1:])
"""


def test_the_process_does_not_grow(tmp_path):
    """The whole process, by what the system says of it, over 200 looks."""
    run_dir = tmp_path / "run"
    shutil.copytree(runs.SAMPLE, run_dir, ignore=shutil.ignore_patterns("*01?0*"))
    arguments = ["analyze", "--follow", run_dir, "--device", "cpu", "--no-plot"]
    command = [sys.executable, "-c", LOOK_ON, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 130, result.stderr
    before, after = map(int, re.findall(r"pages (\d+)", result.stdout))
    assert (after - before) * os.sysconf("SC_PAGE_SIZE") < 5e6


def test_a_renamed_file_does_not_end_it(tmp_path):
    """Its name says that the planned iteration is reached, the file doesn't."""
    for niter in range(10, 90, 10):
        named = 200 if niter == 80 else niter
        shutil.copy(runs.SAMPLE / f"model_iter{niter:04d}.hdf5", tmp_path / f"model_iter{named:04d}.hdf5")
    looked = Watch(tmp_path, TENSORS)
    with pytest.raises(KeyboardInterrupt):
        follow(looked, lambda files: analyze_run(tmp_path, files=files, device="cpu"), Ends(), interrupt_at(12), 0)
    assert looked.unchanged > SURE


def interrupt_at(looks):
    seen = []

    def show(look):
        seen.append(look)
        if len(seen) == looks:
            raise KeyboardInterrupt

    return show
