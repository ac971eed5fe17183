"""The runs of a study on a real cluster: a scheduler and two workers, each a process of its own on this machine.

What they give must be what one process gives, to the last byte.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from random import Random

import killing
import psutil
import pytest
import runs
from dask_processes import PATIENCE, Watched, scheduler, wait_until, worker
from outputs import contents, results_in, rows_of
from processes import started
from study import write_study
from toy import write_run

from ptyconv_cli.cli import cluster as cluster_module
from ptyconv_cli.cli.cluster import OPEN, map_runs
from ptyconv_cli.cli.console import warnings_text
from ptyconv_cli.cli.worker import NO_ANSWER, NotDone

QUICK = ("--no-plot", "--device", "cpu")


def warned(address: str, text: str) -> str:
    """Errors as they are said where the scheduler at an address is open to others."""
    return f"{warnings_text([OPEN.format(address=address)])}\n{text}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a scheduler that has two workers, and the folder through which they are watched."""
    folder = tmp_path_factory.mktemp("cluster")
    watched = Watched(folder / "watched")
    with scheduler(folder) as (address, _), worker(address, watched), worker(address, watched):
        yield address, watched


@pytest.fixture
def alone(tmp_path):
    """A scheduler without workers, its process, and the folder through which workers that a test adds are watched."""
    with scheduler(tmp_path) as (address, process):
        yield address, process, Watched(tmp_path / "watched")


@pytest.fixture
def impatient(monkeypatch):
    """Wait less long for what does not come."""
    monkeypatch.setattr("ptyconv_cli.cli.cluster.ANSWERS", 0.5)


@pytest.fixture
def study(tmp_path):
    """Runs below a folder, and one in the place where the results of another one would go."""
    root = write_study(tmp_path / "study")
    shutil.copytree(runs.DATA / "resume" / "first", root / "mix" / "run1")
    return root


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells files that were written again; those of the cache aside."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".ptyconv" not in path.parts)
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def remove_results(root: Path, inputs: set[str]) -> None:
    for path in root.rglob("*"):
        if path.is_file() and str(path.relative_to(root)) not in inputs:
            path.unlink()


@pytest.mark.long
@pytest.mark.parametrize("given", ["relative", "absolute", "elsewhere"])
def test_all_is_as_one_process_makes_it(ptyconv, cluster, study, monkeypatch, given):
    address, _ = cluster
    monkeypatch.chdir(study.parent)
    root = study if given == "absolute" else "study"
    options = (*QUICK, "--sort", "loss", *(("-o", "out") if given == "elsewhere" else ()))
    inputs = set(contents(study))
    expected = ptyconv("analyze", root, *options)
    written = contents(study.parent)
    shutil.rmtree("out", ignore_errors=True)
    remove_results(study, inputs)
    result = ptyconv("analyze", root, "--dask", address, *options)
    assert (result.stdout, result.stderr, result.exit_code) == (expected.stdout, warned(address, expected.stderr), 1)
    assert contents(study.parent) == written
    assert len(rows_of(Path("out" if given == "elsewhere" else "study") / "convergence_study.csv")) == 7
    assert not list(study.parent.rglob(".ptyconv-workers"))


@pytest.mark.long
def test_pictures_are_the_same(ptyconv, cluster, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(runs.SAMPLE, tmp_path / "study" / name)
    ptyconv("analyze", tmp_path / "study", "-o", tmp_path / "out", "-t", "probe", "--device", "cpu")
    expected = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    options = ("--dask", cluster[0], "-t", "probe", "--device", "cpu")
    assert ptyconv("analyze", tmp_path / "study", "-o", tmp_path / "out", *options).exit_code == 0
    assert contents(tmp_path / "out") == expected
    assert "a/trajectory.png" in expected


@pytest.mark.long
def test_the_page_of_a_study_is_the_same(ptyconv, cluster, study, tmp_path):
    address, _ = cluster
    page, options = tmp_path / "page.html", ("--results", tmp_path / "out", "--device", "cpu", "-t", "objp,probe")
    expected = ptyconv("report", study, *options, "-o", page)
    content = page.read_bytes()
    shutil.rmtree(tmp_path / "out")
    page.unlink()
    result = ptyconv("report", study, *options, "-o", page, "--dask", address)
    assert (result.stdout, result.stderr, result.exit_code) == (expected.stdout, warned(address, expected.stderr), 1)
    assert page.read_bytes() == content
    assert "mix/run_1" in content.decode()


@pytest.mark.long
@pytest.mark.parametrize("first", ["here", "dask"])
def test_a_second_time_only_what_is_new_is_done(ptyconv, cluster, study, first):
    address, watched = cluster
    on_cluster = ("--dask", address)
    ptyconv("analyze", study, *QUICK, *(on_cluster if first == "dask" else ()))
    before, opened = stamps(study), len(watched.opened())
    assert ptyconv("analyze", study, *QUICK, *on_cluster).exit_code == 1
    again = {str(Path(path).relative_to(study)) for path in watched.opened()[opened:]}
    again = {name for name in again if not name.startswith("mix/model")}  # whose runs are told apart anew
    assert again <= {"damaged/model_iter0004.hdf5", "short/model_iter0002.hdf5"}
    before["convergence_study.csv"] = stamps(study)["convergence_study.csv"]
    assert stamps(study) == before
    write_run(study / "b", [2, 4, 6, 8, 10])
    for niter in (2, 4, 6, 8):
        os.utime(study / "b" / f"model_iter{niter:04d}.hdf5", (1e9, 1e9))
    ptyconv("analyze", study, *QUICK, *on_cluster)
    changed = {name for name, stamp in stamps(study).items() if before.get(name) != stamp and "hdf5" not in name}
    assert {str(Path(name).parent) for name in changed - {"convergence_study.csv"}} == {"b"}


@pytest.mark.long
@pytest.mark.parametrize("name", ["first", "mixed_in_one_folder"])
def test_one_folder_is_analyzed_here(ptyconv, tmp_path, cluster, name):
    given = runs.DATA / "resume" / name
    result = ptyconv("analyze", given, "-o", tmp_path / "out", "--dask", cluster[0], *QUICK)
    shutil.rmtree(tmp_path / "out")
    expected = ptyconv("analyze", given, "-o", tmp_path / "out", *QUICK)
    said = f"{given}: --dask is for runs in several folders, and this has one, which is analyzed here\n\n"
    assert (result.stdout, result.stderr) == (expected.stdout, said + expected.stderr)


@pytest.mark.long
def test_auto_is_the_device_that_the_worker_has(alone, study):
    address, _, watched = alone
    other = """
from ptyconv_cli.analysis import run_parts
run_parts.choose_device = lambda name: ("cpu", f"the worker made cpu of {name}.")
"""
    with worker(address, watched, preload=other), analyzing(study, "--device", "auto", "--dask", address) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert "the worker made cpu of auto." in err


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:1", "no scheduler of Dask answers there"),
        ("gopher://127.0.0.1:1", "unknown address scheme 'gopher'"),
        ("cluster", "missing port number in address 'cluster'"),
        ("", "no scheduler of Dask answers there"),
    ],
)
def test_a_wrong_address_is_said(ptyconv, study, impatient, address, said):
    before = contents(study)
    result = ptyconv("analyze", study, "--dask", address, *QUICK)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {address}: no scheduler of Dask answers there (")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert contents(study) == before
    assert not (study / ".ptyconv-workers").exists()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["nothing", "another program"])
def test_what_is_no_scheduler_is_said(ptyconv, study, impatient, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        answering = threading.Thread(target=answer_all, args=(server, answer), daemon=True)
        answering.start()
        result = ptyconv("analyze", study, "--dask", address, *QUICK)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {address}: no scheduler of Dask answers there (")
    assert result.stderr.count("\n") == 1


def answer_all(server: socket.socket, answer: bytes) -> None:
    connections = []
    with suppress(OSError):  # it was closed
        while True:
            connections.append(server.accept()[0])
            connections[-1].sendall(answer)


def test_a_run_that_could_not_be_begun_is_a_row_with_a_problem(ptyconv, study, monkeypatch):
    """But for one that is gone: that is said as it is without workers."""

    def map_runs(function, units, *_):
        for number, unit in enumerate(units):
            if unit.name == "b":
                shutil.rmtree(unit.folder)
            yield number, NotDone("said by a worker") if unit.name in ("a", "b") else function(unit)

    monkeypatch.setattr("ptyconv_cli.cli.processes.map_runs", map_runs)
    result = ptyconv("analyze", study, "--workers", "2", *QUICK)
    assert result.exit_code == 1
    problems = {row["run"]: row["problem"] for row in rows_of(study / "convergence_study.csv")}
    assert problems["a"] == "said by a worker"
    assert problems["b"] == f"{study / 'b'}: there is no such file or folder"
    assert problems["damaged"] == ""


@pytest.mark.long
def test_the_address_of_a_worker_is_said(ptyconv, study, cluster):
    address = worker_of(cluster[0])
    result = ptyconv("analyze", study, "--dask", address, *QUICK)
    assert result.exit_code == 1
    assert result.stderr == f"Error: {address}: is the address of a worker of Dask; give that of its scheduler\n"


def worker_of(address: str) -> str:
    code = f"from distributed import Client\nwith Client({address!r}) as client: print(next(iter(client.nthreads())))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_without_the_extra_it_is_said_how_to_get_it(ptyconv, study, monkeypatch):
    monkeypatch.setattr("ptyconv_cli.cli.options.find_spec", lambda name: None)
    result = ptyconv("analyze", study, "--dask", "tcp://127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr == "Error: --dask needs Dask: pip install 'ptyconv[dask]'\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--dask", "a", "--workers", "2"), "give either --dask or --workers"),
        (("--workers", "0"), "0 is not in the range x>=1"),
        (("--workers", "2", "--follow"), "--workers is for several runs, and --follow follows one"),
    ],
)
def test_wrong_usage(ptyconv, study, options, said):
    result = ptyconv("analyze", study, *options)
    assert result.exit_code == 2
    assert said in result.stderr


def analyzing(study: Path, *options: object, **environment: str):
    """Start an analysis in a process of its own, which is the first of a group, as a shell starts it."""
    command = [sys.executable, "-m", "ptyconv_cli", "analyze", study, *QUICK, *options]
    return started(command, stderr=subprocess.PIPE, start_new_session=True, env={**os.environ, **environment})


@pytest.mark.long
def test_a_run_whose_worker_is_killed_is_done_again(ptyconv, alone, study):
    expected = ptyconv("analyze", study, *QUICK)
    address, _, watched = alone
    watched.hold("b")
    with worker(address, watched), worker(address, watched), analyzing(study, "--fresh", "--dask", address) as process:
        os.kill(watched.wait_for("b"), signal.SIGKILL)
        watched.wait_for("b", 2)
        watched.let_go("b")
        assert process.communicate(timeout=PATIENCE) == (expected.stdout, warned(address, expected.stderr))
    assert len(watched.begun("b")) == 2


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_results_are_whole_whenever_workers_are_killed(ptyconv, alone, tmp_path, seed):
    address, _, watched = alone
    root = tmp_path / "study"
    for number in range(8):
        shutil.copytree(runs.SAMPLE, root / f"t{number}")
    options = ("--no-plot", "--device", "cpu", "-t", "probe")
    expected = ptyconv("analyze", root, *options)
    written = results_in(root)
    random = Random(seed)
    with (
        worker(address, watched, nanny=True) as one,
        worker(address, watched, nanny=True) as other,
        analyzing(root, "--fresh", "-t", "probe", "--dask", address) as process,
    ):
        for nanny in (one, other):  # so that no run is begun more than three times
            until = len(watched.opened()) + random.randint(1, 20)
            wait_until(lambda until=until: len(watched.opened()) > until)
            for child in psutil.Process(nanny.pid).children():
                child.kill()
            assert results_in(root) == written
        assert process.communicate(timeout=PATIENCE) == (expected.stdout, warned(address, expected.stderr))
    assert results_in(root) == written


@pytest.mark.long
def test_a_worker_that_hangs_is_said_and_waited_for(ptyconv, alone, study):
    expected = ptyconv("analyze", study, *QUICK)
    address, _, watched = alone
    watched.hold("b")
    with worker(address, watched), worker(address, watched), analyzing(study, "--fresh", "--dask", address) as process:
        stuck = watched.wait_for("b")
        os.kill(stuck, signal.SIGSTOP)
        first = warned(address, "\n").splitlines(keepends=True)
        assert [process.stderr.readline() for _ in first] == first
        said = process.stderr.readline()
        os.kill(stuck, signal.SIGCONT)
        watched.let_go("b")
        assert process.communicate(timeout=PATIENCE) == (expected.stdout, expected.stderr)
    assert re.fullmatch(rf"the worker at tcp://127\.0\.0\.1:\d+ {re.escape(NO_ANSWER)}\n", said)


@pytest.mark.long
def test_a_run_is_done_again_twice_at_most(ptyconv, alone, study):
    address, _, watched = alone
    inputs = contents(study)
    watched.hold("b")
    with (
        worker(address, watched, nanny=True),
        worker(address, watched, nanny=True),
        analyzing(study, "--dask", address) as process,
    ):
        for count in (1, 2, 3):
            os.kill(watched.wait_for("b", count), signal.SIGKILL)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert f"Error: {study / 'b'}: given up after 3 workers died of it" in err
    assert len(watched.begun("b")) == 3
    assert "b" in out
    rows = {row["run"]: row["problem"] for row in rows_of(study / "convergence_study.csv")}
    assert "died" in rows["b"]
    assert rows["a"] == rows["damaged"] == rows["mix/run1"] == ""
    assert {name for name in contents(study) if name.startswith("b/")} == {name for name in inputs if name[:2] == "b/"}
    assert not (study / ".ptyconv-workers").exists()


@pytest.mark.long
def test_runs_that_wait_for_a_worker_which_dies_are_not_given_up(tmp_path, monkeypatch):
    """Dask counts each death against all that the worker was to do next."""
    monkeypatch.setenv("PYTHONPATH", str(Path(killing.__file__).parent))
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION", "inf")
    jobs = []
    for number in range(5):
        for kind in ("kills", "innocent"):
            place = tmp_path / "study" / f"{kind}{number}"
            place.mkdir(parents=True)
            jobs.append(killing.Job(place, place))
    watched = Watched(tmp_path / "watched")
    with (
        scheduler(tmp_path) as (address, _),
        worker(address, watched, nanny=True),
        worker(address, watched, nanny=True),
    ):
        found = dict(map_runs(killing.work, jobs, address, tmp_path / "study"))
    for number, job in enumerate(jobs):
        if job.folder.name.startswith("kills"):
            assert f"{job.folder}: given up after 3 workers died of it" in str(found[number])
        else:
            assert found[number] == job.folder.name


def who_has_open(path: Path) -> set[str]:
    """The processes that have a file open (Linux)."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if link.readlink() == path:
                found.add(link.parts[2])
    return found


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_worker_that_was_only_thought_lost_does_not_write_with_another(ptyconv, tmp_path, study):
    expected = ptyconv("analyze", study, *QUICK)
    written = contents(study)
    watched = Watched(tmp_path / "watched")
    watched.hold("b")
    with (
        scheduler(tmp_path, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="5s") as (address, _),
        worker(address, watched),
        worker(address, watched),
        analyzing(study, "--fresh", "--dask", address) as process,
    ):
        first = watched.wait_for("b")
        os.kill(first, signal.SIGSTOP)
        wait_until(lambda: "Remove worker" in (tmp_path / "scheduler.log").read_text())
        locks = study / ".ptyconv-workers"
        wait_until(lambda: any(len(who_has_open(path)) == 2 for path in locks.iterdir()), "the second worker")
        assert watched.begun("b") == [first]
        os.kill(first, signal.SIGCONT)
        watched.let_go("b")
        out, err = process.communicate(timeout=PATIENCE)
    err = re.sub(rf"\nthe worker at \S+ {re.escape(NO_ANSWER)}\n", "", err)  # which it says or not, as it comes
    assert (out, err) == (expected.stdout, warned(address, expected.stderr))
    assert contents(study) == written


@pytest.mark.long
def test_a_scheduler_that_goes_away_is_said(alone, study):
    address, scheduler_process, watched = alone
    watched.hold("b")
    with worker(address, watched), worker(address, watched), analyzing(study, "--dask", address) as process:
        watched.wait_for("b")
        wait_until((study / "a" / "convergence_report.json").exists, "the results of another run")
        scheduler_process.kill()
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert out == ""
    gone = "the scheduler has gone away. What was done is kept: the same command goes on from there"
    assert err == warned(address, f"Error: {address}: {gone}\n")


@pytest.mark.long
def test_workers_are_waited_for(ptyconv, alone, study):
    expected = ptyconv("analyze", study, *QUICK)
    address, _, watched = alone
    watched.hold("b")
    with analyzing(study, "--fresh", "--dask", address) as process:
        waiting = f"waiting for a worker of the scheduler at {address}\n"
        first = warned(address, f"\n{waiting}").splitlines(keepends=True)
        assert [process.stderr.readline() for _ in first] == first
        with worker(address, watched) as first:
            watched.wait_for("b")
            first.kill()
            assert [process.stderr.readline() for _ in range(2)] == ["\n", waiting], "so also when they have gone"
        watched.let_go("b")
        with worker(address, watched):
            assert process.communicate(timeout=PATIENCE) == (expected.stdout, expected.stderr)


@pytest.mark.long
def test_where_a_result_is_lost_with_its_worker_it_is_said_that_one_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(killing.__file__).parent))
    jobs = [killing.Job(tmp_path / name, tmp_path / name) for name in ("a", "b")]
    for job in jobs:
        job.place.mkdir()
    watched = Watched(tmp_path / "watched")
    with scheduler(tmp_path) as (address, _), worker(address, watched) as first, ExitStack() as second:
        get = cluster_module._result

        def lose(client, future):
            first.kill()
            wait_until(lambda: future.status == "lost", "the loss of a result")
            monkeypatch.setattr(cluster_module, "_result", get)
            return get(client, future)

        def start_another(text, **options):
            if "waiting for a worker" in text:
                second.enter_context(worker(address, watched))

        monkeypatch.setattr(cluster_module, "_result", lose)
        monkeypatch.setattr(cluster_module, "say", start_another)
        found = dict(map_runs(killing.work, jobs, address, tmp_path / "study"))
    assert found == {0: "a", 1: "b"}


OTHER_VERSION = """
import importlib.metadata as metadata
metadata.version = (lambda version: lambda name: "1.0" if name == "{}" else version(name))(metadata.version)
"""

OTHER_FILES = """
from pathlib import Path
Path.exists = (lambda exists: lambda self: ".ptyconv-workers" not in self.parts and exists(self))(Path.exists)
"""

SPOILT = {
    "from ptyconv_cli.cli import worker\nworker.__version__ = '0.0.9'": "has ptyconv 0.0.9, not ",
    OTHER_VERSION.format("torch"): "has torch 1.0, not ",
    OTHER_VERSION.format("numpy"): "has numpy 1.0, not ",
    "import sys\nsys.modules['ptyconv_cli.cli.worker'] = None": "lacks this version of ptyconv (",
    OTHER_FILES: "does not see ",
}
"""What workers run first, and what is then said of them."""


@pytest.mark.parametrize("late", [False, True], ids=["there at first", "late"])
@pytest.mark.parametrize("preload", SPOILT, ids=["ptyconv", "torch", "numpy", "none", "other files"])
@pytest.mark.long
def test_a_worker_that_cannot_be_used_is_said(alone, study, preload, late):
    address, _, watched = alone
    if late:
        for name in ("a", "b"):
            watched.hold(name)
    with (
        worker(address, watched),
        worker(address, watched, preload="" if late else preload) as other,
        analyzing(study, "--dask", address) as process,
    ):
        if late:
            for name in ("a", "b"):
                watched.wait_for(name)
            other.kill()
        with worker(address, watched, preload=preload) if late else nullcontext():
            out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "\nError: the worker " in err or late
    assert SPOILT[preload] in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.long
def test_ctrl_c_keeps_what_is_done(alone, study):
    address, _, watched = alone
    for name in ("b", "damaged"):
        watched.hold(name)
    with (
        worker(address, watched),
        worker(address, watched),
        analyzing(study, "--dask", address) as process,
    ):
        for name in ("b", "damaged"):
            watched.wait_for(name)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (out, err) == ("", warned(address, "\ninterrupted\n"))
    assert (study / "a" / "convergence_report.json").exists()
    for name in ("b", "damaged", "mix", "short"):
        assert not (study / name / "convergence_report.json").exists()


@pytest.mark.long
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_with_tls_only_who_has_the_certificate_gets_in(ptyconv, study, tmp_path):
    """As docs/runs.md has it; then there is nothing to warn of."""
    expected = ptyconv("analyze", study, *QUICK)
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=dask", "-keyout", key, "-out", certificate)
    subprocess.run(["openssl", "req", "-x509", *made], check=True, capture_output=True)
    tls = ("--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key)
    names = {"CA_FILE": certificate, "CLIENT__CERT": certificate, "CLIENT__KEY": key}
    environment = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in names.items()}
    with (
        scheduler(tmp_path, "--protocol", "tls", *tls) as (address, _),
        worker(address, Watched(tmp_path / "watched"), further=tls),
    ):
        assert address.startswith("tls://")
        with analyzing(study, "--fresh", "--dask", address, **environment) as process:
            assert process.communicate(timeout=PATIENCE) == (expected.stdout, expected.stderr)
        with analyzing(study, "--fresh", "--dask", address) as process:
            _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, "no scheduler of Dask answers there" in err) == (1, True)
