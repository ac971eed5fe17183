"""Readers of other packages."""

import itertools
import re
import sys
import time
from importlib import import_module
from pathlib import Path

import engines
import numpy as np
import pytest
import runs
from toy import ToyModel, write_run

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.analysis.cache import Cache
from ptyconv_cli.checkpoints import discovery, formats, opening, readers
from ptyconv_cli.checkpoints.discovery import find_runs
from ptyconv_cli.checkpoints.readers import OWN
from ptyconv_cli.errors import SeveralRuns

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture
def plugged_in(tmp_path, monkeypatch):
    """Install a package with a reader, as pip would, of the given source."""

    def install(source: str):
        package, info = tmp_path / "site" / "my_package", tmp_path / "site" / "my_package-1.0.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        (package / "__init__.py").write_text("")
        (package / "reader.py").write_text(source)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[ptyconv.readers]\nmy_engine = my_package.reader\n")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        readers.known_readers.cache_clear()

    yield install
    sys.modules.pop("my_package.reader", None)
    sys.modules.pop("my_package", None)
    monkeypatch.undo()
    readers.known_readers.cache_clear()


def test_the_table_says_what_our_own_readers_are():
    modules = {f"{formats.__name__}.{path.stem}" for path in Path(formats.__path__[0]).glob("*.py")}
    loaded = {name: import_module(name) for name in modules - {f"{formats.__name__}.__init__"}}
    assert {name for name, module in loaded.items() if "open_checkpoint" in vars(module)} == {k.module for k in OWN}
    for known in OWN:
        defined = vars(known.reader)
        assert known.by_content == ("snapshots" in defined)
        assert known.has_run_folders == ("run_folders" in defined)
        assert not {"FILES", "ENGINE", "SUFFIXES"} & set(defined), "which is said once, in the table"


def write_npz(path, model: ToyModel, niter: int) -> None:
    arrays = model.arrays()
    np.savez(
        path,
        iteration=niter,
        pixel_size=float(model.dx),
        corners=model.crop_pos.numpy(),
        amplitude=arrays["obja"],
        phase=arrays["objp"],
        probe=arrays["probe"],
        shifts=arrays["probe_pos_shifts"],
        loss=1 / np.arange(1, niter + 1),
    )


def write_npz_run(folder):
    write_run(folder, [2, 4, 6], write_npz, ".npz")
    for path in folder.iterdir():
        path.rename(folder / path.name.replace("model_iter", "step_"))


def example_reader(of: str = "the checkpoints of my engine") -> str:
    page = (runs.ROOT / "docs/formats.md").read_text()
    (source,) = re.findall(rf"```python\n(\"\"\"Reads {of}.*?)```", page, re.DOTALL)
    return source


def test_the_readers_example_in_the_docs_reads(plugged_in, tmp_path):
    source = example_reader()
    assert len([line for line in source.splitlines() if line]) <= 30
    plugged_in(source)
    write_npz_run(tmp_path / "run")
    write_run(tmp_path / "same", [2, 4, 6])
    analysis, same = analyze_run(tmp_path / "run", device="cpu"), analyze_run(tmp_path / "same", device="cpu")
    assert analysis.points == same.points
    assert analysis.aligned_points == same.aligned_points
    assert analysis.engine.loss == same.engine.loss


def test_a_reader_that_does_not_know_of_a_later_quantity_reads(plugged_in, tmp_path):
    plugged_in(example_reader().replace("names.get(name, name)", "names[name]"))
    write_npz_run(tmp_path / "run")
    assert "objp_fg" in analyze_run(tmp_path / "run", device="cpu").points
    with pytest.raises(PtyconvError, match="KeyError: 'probe_weights'"):
        analyze_run(tmp_path / "run", tensors=["weights"], device="cpu")


CONTENT = "def snapshots(path): pass\ndef open_checkpoint(path, snapshot): pass"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_this_name", "the reader my_engine of my-package cannot be used .ModuleNotFoundError"),
        ("FILES = ('*_*.npz',)\ndef open_checkpoint(path): pass", "its FILES must be file names with one star each"),
        ("FILES = ('step_*.npz',)", "AttributeError"),
        ("def snapshots(path): pass", "AttributeError"),
        (f"ENGINE, SUFFIXES = 'my engine', '.npz'\n{CONTENT}", "its ENGINE must be a name, and its SUFFIXES like .h5"),
    ],
)
def test_a_reader_that_cannot_be_loaded_is_said(plugged_in, source, said):
    plugged_in(source)
    with pytest.raises(PtyconvError, match=said):
        analyze_run(runs.SAMPLE, device="cpu")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('self._arrays["corners"]', 'self._arrays["nothing"]', "the reader of my-package cannot read it .KeyError"),
        (
            'self._arrays["corners"]',
            'self._arrays["corners"] * 1.0',
            "the scan positions are float64 .*expected integers",
        ),
        (
            "self._arrays.get(names.get(name, name))",
            "self._arrays.get(names.get(name, name), np.zeros(1)).sum(0)",
            r"expected .pmode, y, x., found .6, 8",
        ),
        ('float(self._arrays["pixel_size"])', "0.0", "the pixel size is 0 Å"),
    ],
)
def test_what_another_packages_reader_stumbles_over_is_said(plugged_in, tmp_path, old, new, said):
    source = example_reader()
    assert old in source
    plugged_in(source.replace(old, new))
    write_npz_run(tmp_path / "run")
    with pytest.raises(PtyconvError, match=said):
        analyze_run(tmp_path / "run", device="cpu")


@pytest.mark.parametrize(
    "method",
    [
        "def slice_thickness(self): return 'thick'",
        "def object_tilt(self): return 3.0",
        "def histories(self): return None",
        "def histories(self): return __import__('ptyconv_cli.results.history').results.history.EngineHistories(loss=3)",
        "began = 'late'",
        "def scan(self): raise SystemExit(3)",
    ],
)
def test_another_packages_reader_may_return_anything(plugged_in, ptyconv, tmp_path, method):
    plugged_in(example_reader() + f"\n    {method}\n")
    write_npz_run(tmp_path / "run")
    result = ptyconv("analyze", tmp_path / "run", "-o", tmp_path / "out", "--no-plot")
    # Histories are only shown: without them the changes are still worth computing.
    assert result.exit_code == (0 if "histories" in method else 1)
    assert "the reader of my-package cannot read it (" in " ".join(result.stderr.split())


# --- many snapshots in a file -----------------------------------------------------------------------------------------

MANY = "the results of my other engine"


def write_all_in_one(path, seed=0, number=4):
    """A run of 4 snapshots, or more, in one file, with complex objects; return it snapshot by snapshot."""
    model = ToyModel(seed)
    saved = {"iterations": [], "objects": [], "probes": []}
    for niter in [2, 4, 6, 9, *range(10, 100)][:number]:
        model.update()
        arrays = model.arrays()
        saved["iterations"].append(niter)
        saved["objects"].append((arrays["obja"] + 2) * np.exp(1j * arrays["objp"]))
        saved["probes"].append(arrays["probe"])
    loss = seed + 1 / np.arange(1, saved["iterations"][-1] + 1)
    np.savez(path, **saved, corners=model.crop_pos.numpy(), pixel_size=float(model.dx), loss=loss)
    corners, objects = model.crop_pos.numpy(), np.array(saved["objects"])
    return [
        engines.Snapshot(niter, np.angle(objects[k]), np.abs(objects[k]), saved["probes"][k], None, corners)
        for k, niter in enumerate(saved["iterations"])
    ]


@pytest.fixture
def many(plugged_in, tmp_path):
    plugged_in(example_reader(MANY))
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "all.npz"


def test_the_docs_example_of_many_snapshots_in_a_file_reads(many):
    expected = write_all_in_one(many)
    for place in (many, many.parent):
        analysis = analyze_run(place, device="cpu")
        engines.check(analysis, expected, 0.25)
        assert {found.file for found in analysis.checkpoints} == {"all.npz"}
        assert len(analysis.engine.loss) == 9
        said = "probe_pos_shifts is not analyzed: my other engine stores scan positions only at the end."
        assert said in analysis.warnings
    assert find_runs(many.parent.parent).runs == [many.parent]
    assert [found.niter for found in analyze_run(many, every=2, device="cpu").checkpoints] == [2, 4, 6]


def test_what_such_a_run_lacks_is_an_error_only_when_it_is_asked_for(many, ptyconv):
    write_all_in_one(many)
    result = ptyconv("analyze", many, "-t", "objp,probe_pos_shifts")
    assert result.exit_code == 1
    said = "has no tensor probe_pos_shifts, because my other engine stores scan positions only at the end; it has obja"
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["analyze", "check", "maps"])
def test_the_commands_take_a_file(many, ptyconv, command):
    write_all_in_one(many)
    result = ptyconv(command, many)
    assert result.exit_code in (0, 3, 4), result.stderr
    written = {path.name for path in many.parent.iterdir()} - {"all.npz", ".ptyconv"}
    assert written == {"maps": {"maps.png"}, "check": set()}.get(command, written)
    if command == "analyze":
        assert "all.npz: 4 checkpoints, iterations 2 to 9" in result.stdout
        assert "4 of 4 checkpoints were in the cache" in ptyconv(command, many).stdout
        write_all_in_one(many, seed=1)
        assert "in the cache" not in ptyconv(command, many).stdout


def test_each_such_file_is_a_run(many, ptyconv):
    """Whatever their iterations are; a file that is named is the run."""
    write_all_in_one(many)
    other = write_all_in_one(many.with_name("other.npz"), seed=1)
    said = (
        r"belong to 2 runs:\n  1: all.npz \(4 snapshots\)\n  2: other.npz \(4 snapshots\): all.npz holds a run of its"
    )
    with pytest.raises(SeveralRuns, match=said):
        analyze_run(many.parent, device="cpu")
    engines.check(analyze_run(many.parent, select="2", device="cpu"), other, 0.25)
    engines.check(analyze_run(many.with_name("other.npz"), device="cpu"), other, 0.25)
    listed = ptyconv("ls", many.parent.parent / "run").stdout
    assert re.findall(r"run/run\d +my other engi\S* +(\d+) +2 to 9 ", listed) == ["4", "4"]


def test_a_file_of_something_else_is_looked_into_once_and_left(many, monkeypatch):
    expected = write_all_in_one(many)
    for number in range(100):
        np.savez(many.with_name(f"raw_{number:03d}.npz"), counts=np.zeros(3))
    np.savez(many.with_name("parameters.npz"), step=0.1)
    looked_into, load = [], np.load
    monkeypatch.setattr(np, "load", lambda path, *how: [looked_into.append(path.name), load(path, *how)][1])
    find_runs(many.parent)
    assert sorted(looked_into) == ["all.npz", "parameters.npz", "raw_000.npz", "raw_001.npz", "raw_002.npz"]
    find_runs(many.parent)
    assert len(looked_into) == 5
    analysis = analyze_run(many.parent, device="cpu")
    engines.check(analysis, expected, 0.25)
    assert not [text for text in analysis.warnings if "raw_" in text or "parameters" in text]
    assert not [name for name in looked_into if name > "raw_003"]


TWO_FOLDERS = """
def run_folders(folder):
    return [folder.parent.parent / kind / folder.name for kind in ("a", "b")]
"""


def one_each(source):
    source = source.replace(
        '{str(place): int(niter) for place, niter in enumerate(file["iterations"])}', '{"": file["iterations"][0]}'
    )
    return source.replace("int(snapshot)", "0")


def test_a_run_may_lie_in_two_folders(plugged_in, tmp_path, ptyconv):
    plugged_in(one_each(example_reader(MANY)) + TWO_FOLDERS)
    expected = write_all_in_one(tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz") as file:
        arrays = dict(file)
    (tmp_path / "all.npz").unlink()
    for place, kind in enumerate("aaba"):
        folder = tmp_path / "out" / kind / "run"
        folder.mkdir(parents=True, exist_ok=True)
        one = {name: arrays[name][place : place + 1] for name in ("iterations", "objects", "probes")}
        np.savez(folder / f"part{place}.npz", **{**arrays, **one})
    assert find_runs(tmp_path).runs == [tmp_path / "out/a/run"]
    for kind in "ab":
        engines.check(analyze_run(tmp_path / "out" / kind / "run", device="cpu"), expected, 0.25)
    follow = ["analyze", "--follow", "--idle", "0.003", "--poll", "0.05"]
    for command in (["analyze"], ["check"], ["maps"], ["ls"], follow):
        result = ptyconv(*command, tmp_path / "out")
        assert result.exit_code == (3 if command == ["check"] else 0), result.stderr
        assert re.search(r"4 checkpoints|change per doubling|1\s+run|maps.png", result.stdout)
    assert {path.parent for path in tmp_path.rglob("*.png")} == {tmp_path / "out/a/run"}


def test_a_file_of_many_snapshots_is_followed_as_it_grows(many, ptyconv, monkeypatch):
    write_all_in_one(many, number=3)
    write_all_in_one(many.with_name("other.npz"))
    looks, really_sleep = itertools.count(), time.sleep

    def sleep(seconds):
        if seconds <= opening.TICK:
            really_sleep(seconds)
        elif next(looks) == 3:
            write_all_in_one(many, number=5)

    monkeypatch.setattr("ptyconv_cli.analysis.follow.time.sleep", sleep)
    result = ptyconv("analyze", "--follow", many, "--idle", "0.01", "--no-plot", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    said = re.findall(r"^\d\d:\d\d:\d\d iteration (\d+)", result.stdout, re.MULTILINE)
    assert said == ["6", "10"]
    assert "all.npz: 5 checkpoints" in result.stdout


def as_archive(source):
    return source.replace('(".npz",)', '("/data.npz",)').replace("np.load(path)", "np.load(path / 'data.npz')")


def test_a_folder_may_be_a_file(plugged_in, tmp_path, ptyconv):
    plugged_in(as_archive(example_reader(MANY)))
    archive = tmp_path / "run" / "archive"
    archive.mkdir(parents=True)
    expected = write_all_in_one(archive / "data.npz")
    assert find_runs(tmp_path).runs == [tmp_path / "run"]
    for place in (archive, tmp_path / "run"):
        engines.check(analyze_run(place, device="cpu"), expected, 0.25)
    assert ptyconv("analyze", archive, "--no-plot").exit_code == 0
    assert (tmp_path / "run" / "convergence_report.json").exists()


def test_what_a_reader_stumbles_over_is_said_of_a_file_that_is_given(many):
    many.write_text("no archive")
    with pytest.raises(
        PtyconvError, match=r"all.npz: is no checkpoint of a known format .the reader of my-package cannot"
    ):
        analyze_run(many, device="cpu")


# --- what is kept -----------------------------------------------------------------------------------------------------


@pytest.fixture
def forgotten(monkeypatch):
    """Make this process forget what it knows of files, as a new one would."""
    for module, name in ((opening, "_RECOGNISED"), (opening, "_LAST"), (opening, "_NAMES"), (discovery, "_KNOWN")):
        monkeypatch.setattr(module, name, {})
    return lambda: [known.clear() for known in (opening._RECOGNISED, opening._LAST, opening._NAMES, discovery._KNOWN)]


@pytest.mark.parametrize("is_folder", [False, True])
def test_with_nothing_new_a_file_of_many_is_not_opened(
    plugged_in, tmp_path, ptyconv, forgotten, monkeypatch, is_folder
):
    source = example_reader(MANY)
    plugged_in(as_archive(source) if is_folder else source)
    file = tmp_path / "run" / ("archive/data.npz" if is_folder else "all.npz")
    file.parent.mkdir(parents=True)
    write_all_in_one(file)
    opened, load = [], np.load
    monkeypatch.setattr(np, "load", lambda path, *how: [opened.append(str(path)), load(path, *how)][1])
    counts = []
    for seed in (0, 0, 1, 1):
        if seed and len(counts) == 2:
            write_all_in_one(file, seed)
        forgotten()
        opened.clear()
        assert ptyconv("analyze", tmp_path / "run", "--no-plot", "--device", "cpu").exit_code == 0
        counts.append(sum(path == str(file) for path in opened))
    assert [count > 0 for count in counts] == [True, False, True, False]


def test_the_status_of_a_file_is_not_asked_for_each_of_its_snapshots(many, monkeypatch):
    """Which takes long on a network mount."""
    asked = []
    stamp = opening._stamp
    monkeypatch.setattr(opening, "_stamp", lambda path: [asked.append(path), stamp(path)][1])
    counts = []
    for number in (4, 12):
        write_all_in_one(many, number=number)
        for _ in range(2):
            asked.clear()
            cache = Cache(many.parent)
            assert len(analyze_run(many, cache=cache, device="cpu").checkpoints) == number
            cache.keep()
        counts.append(len(asked))
    assert counts[0] == counts[1] < 12


def test_another_version_of_a_package_reads_anew(many, ptyconv, tmp_path):
    write_all_in_one(many)
    for expected in (False, True):
        assert ("in the cache" in ptyconv("analyze", many, "--no-plot").stdout) == expected
    metadata = tmp_path / "site" / "my_package-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    readers.known_readers.cache_clear()
    assert "in the cache" not in ptyconv("analyze", many, "--no-plot").stdout
