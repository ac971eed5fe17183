"""Checkpoints under names of the user's own."""

import re
import shutil

import h5py
import pytest
import runs
from rarely import long_after, long_but
from toy import write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.analysis.follow import Watch
from ptyconv_cli.checkpoints import discovery
from ptyconv_cli.checkpoints.discovery import find_checkpoints, find_runs

pytestmark = pytest.mark.usefixtures("blank_pictures")

PHASER = runs.DATA / "phaser" / "gradient"


def renamed(source, folder, name):
    """A copy of a run whose files are called `name(number)`."""
    folder.mkdir(exist_ok=True)
    for path in sorted(source.glob("*iter*[0-9].*")):
        shutil.copy(path, folder / name(int(re.sub(r"\D", "", path.stem))))
    return folder


NAMES = {
    "a prefix": (PHASER, lambda n: f"state_iter{n:03d}.h5"),
    "no padding": (PHASER, lambda n: f"{n}.h5"),
    "a suffix": (PHASER, lambda n: f"iter{n:03d}_v2_final.hdf5"),
    "any width": (runs.SAMPLE, lambda n: f"model_{n:012d}.hdf5"),
    "numbers that only order": (runs.SAMPLE, lambda n: f"saved{n // 10}.h5"),
    "a postfix of PtyRAD": (runs.SAMPLE, lambda n: f"model_iter{n:04d}_p2_1obj.hdf5"),
    ".pt": (runs.SAMPLE_PT, lambda n: f"run7-{n}.pt"),
}


@pytest.mark.parametrize("named", long_but(NAMES, "a prefix", "numbers that only order", ".pt"))
def test_they_are_found_by_their_content(tmp_path, named):
    source, name = NAMES[named]
    run_dir = renamed(source, tmp_path / "run", name)
    (run_dir / "raw_data.h5").write_bytes(b"")
    assert analyze_run(run_dir, device="cpu").convergence_iters == runs.analysis_of(source).convergence_iters
    assert find_runs(tmp_path).runs == [run_dir]


def a_number_too_many(run_dir):
    for place, path in enumerate(sorted(run_dir.iterdir())):
        path.rename(run_dir / f"{place}_{path.name}")


def out_of_order(run_dir):
    first, *_, last = sorted(run_dir.iterdir())
    first.rename(run_dir / "spare")
    last.rename(first)
    (run_dir / "spare").rename(last)


def one_of_something_else(run_dir):
    with h5py.File(run_dir / "state_iter003.h5", "w") as file:
        file["something"] = 1


def two_families(run_dir):
    for path in sorted(run_dir.iterdir()):
        shutil.copy(path, run_dir / path.name.replace("state", "other"))


@pytest.mark.parametrize("spoil", [a_number_too_many, out_of_order, one_of_something_else, two_families])
def test_where_there_is_doubt_the_message_says_what_is_there_and_how_to_say_which(tmp_path, ptyconv, spoil):
    run_dir = renamed(PHASER, tmp_path, lambda n: f"state_iter{n:03d}.h5")
    spoil(run_dir)
    result = ptyconv("analyze", run_dir)
    assert result.exit_code == 1
    assert re.search(
        r"as far as can be told of \S*(state|other)_iter002.h5, .*; ptyconv ls FILE says what one is\. If they are "
        r"files of PtyRAD or phaser, say how they are named, with a star for the iteration: "
        r"--names '(state|other)_iter\*\.h5'",
        result.stderr,
    )


@pytest.mark.parametrize("command", long_after(2, [["analyze", "--no-plot"], ["check"], ["maps"], ["ls"]]))
def test_every_command_that_reads_checkpoints_takes_names(tmp_path, ptyconv, command):
    run_dir = renamed(PHASER, tmp_path, lambda n: f"state_iter{n:03d}.h5")
    two_families(run_dir)
    result = ptyconv(*command, run_dir, "--names", "other_iter*.h5")
    assert result.exit_code in (0, 3, 4)
    assert "Error" not in result.stderr
    result = ptyconv(*command, run_dir, "--names", "nothing*.h5")
    assert result.exit_code == 1
    assert "holds no checkpoint named like --names 'nothing*.h5'; it holds other_iter002.h5, " in result.stderr


@pytest.mark.parametrize("pattern", ["state.h5", "a*b*.h5", "folder/iter*.h5"])
def test_a_pattern_has_one_star(ptyconv, pattern):
    result = ptyconv("check", runs.SAMPLE, "--names", pattern)
    assert result.exit_code == 2
    assert "expected a file name with one star for the iteration" in result.stderr
    with pytest.raises(ValueError, match="one star"):
        analyze_run(runs.SAMPLE, names=pattern)


def test_names_choose_among_usual_ones_too(tmp_path):
    write_run(tmp_path, [2, 4, 6])
    renamed(PHASER, tmp_path, lambda n: f"state_iter{n:03d}.h5")
    paths, _ = find_checkpoints(tmp_path, "state_iter*.h5")
    assert {path.name[:5] for path in paths} == {"state"}
    assert analyze_run(tmp_path, names="model_iter*.hdf5", device="cpu").checkpoints[-1].niter == 6


def test_usual_names_cost_nothing(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(discovery, "patterns_of", lambda _: pytest.fail("looked into files"))
    write_run(tmp_path, [2, 4])
    (tmp_path / "state_iter002.h5").write_bytes(b"x")
    find_checkpoints(tmp_path)
    find_runs(tmp_path)
    assert opened == []


def test_files_are_looked_into_once(tmp_path, opened):
    run_dir = renamed(PHASER, tmp_path, lambda n: f"state_iter{n:03d}.h5")
    find_checkpoints(run_dir)
    count = len(opened)
    find_checkpoints(run_dir)
    find_runs(run_dir)
    assert len(opened) == count


def test_a_running_job_is_watched_by_its_names(tmp_path):
    watch = Watch(tmp_path / "run", ("objp",), "state_iter*.h5")
    assert watch.look() == {}
    run_dir = renamed(PHASER, tmp_path / "run", lambda n: f"state_iter{n:03d}.h5")
    (run_dir / "iter001.h5").write_bytes(b"another's")
    watch.look()
    assert len(watch.look()) == len(list(PHASER.glob("iter*.h5")))


def test_a_job_under_other_names_is_followed(tmp_path, ptyconv):
    run_dir = renamed(PHASER, tmp_path, lambda n: f"state_iter{n:03d}.h5")
    result = ptyconv(
        "analyze", run_dir, "--follow", "--no-plot", "--idle", "0.001", "--poll", "0.05", "--names", "state_iter*.h5"
    )
    assert result.exit_code == 0
    assert "10 checkpoints" in result.stdout
