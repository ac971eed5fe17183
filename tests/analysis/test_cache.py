"""Going on where an analysis stopped: the same results to the last byte, and only what is new is computed."""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import runs
from phantoms import two_mode_run
from ptyrad_names import TENSORS
from rarely import long_after, long_but
from toy import ToyModel, write_hdf5, write_run

from ptyconv_cli.analysis import compare, run_parts
from ptyconv_cli.analysis.cache import _unpacked, keys_of
from ptyconv_cli.analysis.compare import Prefetch
from ptyconv_cli.checkpoints.headers import read_headers
from ptyconv_cli.checkpoints.opening import number_in_name, snapshots_in
from ptyconv_cli.cli.outputs import analyze_into
from ptyconv_cli.errors import CheckpointError
from ptyconv_cli.quantities.settings import MonitorSettings
from ptyconv_cli.results.run_analysis import RunAnalysis
from ptyconv_cli.verdict.segments import Counting

RUNS = {
    "sample": runs.SAMPLE,
    "pt": runs.SAMPLE_PT,
    "v2": runs.DATA / "ptyrad-v2" / "pixel",
    "phaser": runs.DATA / "phaser" / "lsqml",
    "phaser with run boundaries": runs.DATA / "phaser" / "epie_resize",
}


def checkpoints(run_dir: Path) -> list[Path]:
    return sorted((p for p in run_dir.iterdir() if number_in_name(p) is not None), key=number_in_name)


def results(run_dir: Path, out: Path, **settings) -> dict[str, bytes]:
    """Analyze as the command does; return the JSON files."""
    analyze_into(out, run_dir, pictures=False, device="cpu", **settings)
    return {path.name: path.read_bytes() for path in out.glob("*.json")}


def analyzed(run_dir: Path, **settings) -> RunAnalysis:
    return analyze_into(run_dir.parent / "out", run_dir, pictures=False, device="cpu", **settings)[0]


@pytest.fixture
def computed(monkeypatch):
    """The checkpoints that tensors are read of, and how many changes of tensors are computed."""
    found = {"read": [], "changes": 0}
    read, change = Prefetch._read, compare.tensor_changes

    def reading(self, header, into):
        found["read"].append(header.niter)
        return read(self, header, into)

    def comparing(*arguments):
        found["changes"] += 1
        return change(*arguments)

    monkeypatch.setattr(Prefetch, "_read", reading)
    monkeypatch.setattr(compare, "tensor_changes", comparing)
    return found


def grow(folder: Path) -> Path:
    """Copy the sample run, analyze it without its last two checkpoints, and add these."""
    (folder / "run").mkdir()
    for path in checkpoints(runs.SAMPLE)[:-2]:
        shutil.copy2(path, folder / "run")
    results(folder / "run", folder / "out")
    for path in checkpoints(runs.SAMPLE)[-2:]:
        shutil.copy2(path, folder / "run")
    return folder / "run"


@pytest.fixture
def grown(tmp_path):
    """A copy of the sample run, analyzed without its last two checkpoints, which are there now."""
    return grow(tmp_path)


@pytest.fixture(scope="module")
def grown_once(tmp_path_factory):
    return grow(tmp_path_factory.mktemp("grown"))


@pytest.fixture
def known(grown_once, tmp_path):
    """The same, where only the results may be changed: the run is one for all tests."""
    (tmp_path / "run").symlink_to(grown_once)
    shutil.copytree(grown_once.parent / "out", tmp_path / "out")
    return tmp_path / "run"


@pytest.mark.parametrize("name", long_but(RUNS, "v2", "phaser with run boundaries"))
def test_stop_and_go_on_at_every_point(tmp_path, name):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    paths = checkpoints(RUNS[name])
    for path in paths:
        shutil.copy2(path, run_dir)
        if path != paths[0]:
            results(run_dir, tmp_path / "step by step")
    expected = results(run_dir, tmp_path / "at once")
    assert results(run_dir, tmp_path / "step by step") == expected
    for stop in range(2, len(paths)):
        out = tmp_path / f"stopped after {stop}"
        shutil.rmtree(run_dir)
        run_dir.mkdir()
        for path in paths[:stop]:
            shutil.copy2(path, run_dir)
        results(run_dir, out)
        for path in paths[stop:]:
            shutil.copy2(path, run_dir)
        assert results(run_dir, out) == expected


@pytest.mark.long
def test_without_aligned_changes_too(tmp_path):
    for name in ("phaser", "v2"):
        run_dir = tmp_path / name
        run_dir.mkdir()
        for path in checkpoints(RUNS[name]):
            shutil.copy2(path, run_dir)
            if len(list(run_dir.iterdir())) > 1:
                found = results(run_dir, tmp_path / f"{name} out", aligned=False)
        assert found == results(run_dir, tmp_path / f"{name} at once", aligned=False)


def test_only_what_is_new_is_computed(known, computed):
    analysis = analyzed(known)
    assert computed == {"read": [100, 110, 120], "changes": 2 * 4}
    assert analysis.known == 10
    computed.update(read=[], changes=0)
    analysis = analyzed(known)
    assert (computed, analysis.known) == ({"read": [], "changes": 0}, 12)


def test_fresh_computes_all(known, computed):
    analysis = analyzed(known, fresh=True)
    assert (len(computed["read"]), analysis.known) == (12, 0)


@pytest.mark.parametrize(
    "settings",
    long_after(2, [{"tensors": ["objp", "probe"]}, {"every": 20}, {"percentile_range": (10, 90)}, {"aligned": False}]),
)
def test_other_settings_compute_all(known, computed, settings):
    found = results(known, known.parent / "out", **settings)
    assert len(computed["read"]) == (6 if "every" in settings else 12)
    assert found == results(known, known.parent / "fresh", **settings)


def test_a_changed_file_is_computed_anew_with_all_after_it(grown, computed):
    with h5py.File(grown / "model_iter0080.hdf5", "r+") as file:
        file["optimizable_tensors/objp"][...] += np.float32(0.01)
    found = results(grown, grown.parent / "out")
    assert computed["read"] == [70, 80, 90, 100, 110, 120]
    assert found == results(grown, grown.parent / "fresh")


def test_the_time_alone_tells(grown, computed):
    """Of the same size, and with other numbers in it, as a checkpoint of a run that was begun anew."""
    path = grown / "model_iter0050.hdf5"
    content = path.read_bytes()
    path.write_bytes(content)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    results(grown, grown.parent / "out")
    assert computed["read"][0] == 40


def rewritten(path: Path, write) -> None:
    """Write a file anew that keeps its size, and the time at which it was modified."""
    status = path.stat()
    write(path)
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def in_place(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["optimizable_tensors/objp"][...] += np.float32(0.01)


def another_file(path: Path) -> None:
    in_place(Path(shutil.copy2(path, path.with_suffix(".copy"))))
    path.with_suffix(".copy").replace(path)


@pytest.mark.parametrize("write", [in_place, another_file])
@pytest.mark.parametrize("at", [50, 120])
def test_other_content_of_the_same_size_and_time(grown, computed, write, at):
    """As rsync -t leaves it, or a backup that was restored."""
    analyzed(grown)
    rewritten(grown / f"model_iter{at:04d}.hdf5", write)
    computed.update(read=[], changes=0)
    found = results(grown, grown.parent / "out")
    assert computed["read"] == [at, *range(at - 10, 130, 10)]
    assert found == results(grown, grown.parent / "fresh")


def test_the_same_content_in_another_file(grown, computed):
    """As where all was linked into a backup, or copied there and back: what was read is compared, and kept."""
    before = results(grown, grown.parent / "out")
    os.link(grown / "model_iter0030.hdf5", grown.parent / "backup")
    rewritten(grown / "model_iter0070.hdf5", lambda path: path.write_bytes(path.read_bytes()))
    rewritten(grown / "model_iter0120.hdf5", lambda path: shutil.copy2(path, path.with_suffix(".copy")).replace(path))
    computed.update(read=[], changes=0)
    assert results(grown, grown.parent / "out") == before
    assert computed == {"read": [30, 70, 120], "changes": 0}
    computed.update(read=[])
    assert results(grown, grown.parent / "out") == before
    assert computed["read"] == [], "it is known of them now"


def test_where_the_cache_cannot_be_written_the_same_content_is_no_matter(grown, monkeypatch):
    before = results(grown, grown.parent / "out")
    os.link(grown / "model_iter0030.hdf5", grown.parent / "backup")
    monkeypatch.setattr("tempfile.mkstemp", lambda *_, **__: exec('raise OSError(30, "Read-only file system")'))
    analysis, _ = analyze_into(grown.parent / "out", grown, pictures=False, device="cpu")
    assert [warning for warning in analysis.warnings if "cannot be written" in warning] == []
    assert results(grown, grown.parent / "out") == before


@pytest.mark.parametrize("name", ["model_attributes/dx", "model_attributes/crop_pos"])
def test_another_pixel_size_or_scan_of_the_same_size_and_time(grown, name):
    """It is in no tensor, but in their changes: of all files, for one with another would be of another run."""

    def change(path):
        with h5py.File(path, "r+") as file:
            file[name][...] = 2 * file[name][()] if name.endswith("dx") else np.roll(file[name][()], 1, 0)

    analyzed(grown)
    for path in checkpoints(grown):
        rewritten(path, change)
    assert results(grown, grown.parent / "out") == results(grown, grown.parent / "fresh")


def test_what_cannot_be_read_again_is_not_taken_for_what_it_was(grown):
    analyzed(grown)
    rewritten(grown / "model_iter0050.hdf5", lambda path: path.write_bytes(b"x" * path.stat().st_size))
    analysis = analyzed(grown)
    assert [one.niter for one in analysis.left_out] == [50]
    assert results(grown, grown.parent / "out") == results(grown, grown.parent / "fresh")


@pytest.mark.parametrize("at", long_after(1, [10, 60]))
def test_a_file_less(grown, at):
    (grown / f"model_iter{at:04d}.hdf5").unlink()
    assert results(grown, grown.parent / "out") == results(grown, grown.parent / "fresh")


def test_a_file_more(grown, tmp_path):
    moved = (grown / "model_iter0040.hdf5").rename(tmp_path / "model_iter0040.hdf5")
    results(grown, grown.parent / "out", fresh=True)
    moved.rename(grown / moved.name)
    assert results(grown, grown.parent / "out") == results(grown, grown.parent / "fresh")


def test_the_last_known_file_cannot_be_read_any_more(grown, monkeypatch):
    """Its fingerprint is the same, and it is what the next one would be compared with."""
    read = Prefetch._read

    def reading(self, header, into):
        if header.niter == 100:
            raise CheckpointError(f"{header.path}: cannot be read (Input/output error)")
        return read(self, header, into)

    monkeypatch.setattr(Prefetch, "_read", reading)
    shutil.copy2(grown / "model_iter0120.hdf5", grown / "model_iter0130.hdf5")
    with h5py.File(grown / "model_iter0130.hdf5", "r+") as file:
        file["niter"][...] = 130
    found = results(grown, grown.parent / "out")
    assert found == results(grown, grown.parent / "fresh")
    assert b"Input/output error" in found["convergence_report.json"]


def test_nan_and_infinity_are_kept(tmp_path):
    write_run(tmp_path / "run", [2, 4, 6, 8])
    for niter, value in ((4, np.nan), (6, np.inf)):
        with h5py.File(tmp_path / "run" / f"model_iter{niter:04d}.hdf5", "r+") as file:
            file["optimizable_tensors/objp"][...] = np.float32(value)
    first, second = analyzed(tmp_path / "run"), analyzed(tmp_path / "run")
    assert second.known == 4
    assert repr(second.points) == repr(first.points)
    assert repr(second.removed) == repr(first.removed)
    assert second.not_finite == first.not_finite == {"objp": [4, 6]}
    assert second.warnings == first.warnings


def test_a_phase_that_wraps_goes_on_past_nan(tmp_path):
    """What is NaN at the last known checkpoint is continued from what was there before."""
    run_dir = shutil.copytree(RUNS["phaser"], tmp_path / "run", ignore=shutil.ignore_patterns("iter01*", "iter008*"))
    with h5py.File(run_dir / "iter006.h5", "r+") as file:
        transmission = file["object/data"][()]
        transmission[:, 30:40, 30:40] = np.nan
        file["object/data"][...] = transmission
    results(run_dir, tmp_path / "out")
    shutil.copy2(RUNS["phaser"] / "iter008.h5", run_dir)
    assert results(run_dir, tmp_path / "out") == results(run_dir, tmp_path / "fresh")


def test_object_modes(tmp_path):
    (tmp_path / "run").mkdir()
    run_dir = two_mode_run(tmp_path / "run")
    last = (run_dir / "model_iter0040.hdf5").rename(tmp_path / "model_iter0040.hdf5")
    results(run_dir, tmp_path / "out")
    last.rename(run_dir / last.name)
    assert results(run_dir, tmp_path / "out") == results(run_dir, tmp_path / "fresh")


@pytest.mark.parametrize("name", long_after(2, ["part0-steps.jsonl", "part0-objp.f32", "part0-probe_pos_shifts.f32"]))
@pytest.mark.parametrize("damage", long_after(1, ["truncated", "bits", "empty", "text"]))
def test_what_was_kept_is_damaged(known, damage, name):
    kept = known.parent / "out" / ".ptyconv" / name
    content = bytearray(kept.read_bytes())
    if damage == "bits":
        for place in range(100, len(content), 997):
            content[place] ^= 4
    kept.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"steps"}.get(damage, content))
    assert results(known, known.parent / "out") == results(known, known.parent / "fresh")


FILES = {"headers", "recorded", "part0-steps.jsonl", *(f"part0-{name}.f32" for name in TENSORS)}


def test_only_new_steps_are_written_and_stale_ones_go(grown):
    folder = grown.parent / "out" / ".ptyconv"
    assert {path.name for path in folder.iterdir()} == FILES
    before = {path: path.read_bytes() for path in folder.iterdir()}
    inode = (folder / "part0-steps.jsonl").stat().st_ino
    results(grown, grown.parent / "out")
    for path, content in before.items():
        assert path.read_bytes().startswith(content) or path.name in ("headers", "recorded")
        assert len(path.read_bytes()) == pytest.approx(len(content) * 1.2, rel=0.1)
    assert (folder / "part0-steps.jsonl").stat().st_ino == inode, "it was added to"
    now = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    results(grown, grown.parent / "out")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == now, "nothing is new"
    results(grown, grown.parent / "out", tensors=["probe"])
    assert len((folder / "part0-steps.jsonl").read_text().splitlines()) == 12


@pytest.mark.long
def test_rows_beyond_the_known_ones_are_written_anew(known, tmp_path):
    """The process ended after it had added rows, before it said so."""
    for path in (known.parent / "out" / ".ptyconv").glob("*.f32"):
        path.write_bytes(path.read_bytes() + b"12345")
    assert results(known, known.parent / "out") == results(known, known.parent / "fresh")
    assert analyzed(known).known == 12


def test_a_line_that_was_not_written_to_its_end_is_computed_again(known):
    path = known.parent / "out" / ".ptyconv" / "part0-steps.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert analyzed(known).known == 9
    assert results(known, known.parent / "out") == results(known, known.parent / "fresh")


def test_a_version_that_computes_otherwise_begins_anew(known, computed, monkeypatch):
    monkeypatch.setattr("ptyconv_cli.analysis.run_parts.versions", lambda: ["0.0.9"])
    results(known, known.parent / "out")
    assert len(computed["read"]) == 12


def test_a_chain_goes_on(tmp_path):
    chain = shutil.copytree(runs.DATA / "resume", tmp_path / "resume")
    last = max((chain / "resumed").glob("*.hdf5"))
    aside = last.rename(tmp_path / last.name)
    results(chain / "resumed", tmp_path / "out", chain=[chain / "first"])
    aside.rename(last)
    found = results(chain / "resumed", tmp_path / "out", chain=[chain / "first"])
    assert found == results(chain / "resumed", tmp_path / "fresh", chain=[chain / "first"])


def test_the_command_goes_on_and_says_so(ptyconv, known):
    said = ptyconv("analyze", known, "-o", known.parent / "out", "--device", "cpu", "--no-plot").output
    assert "10 of 12 checkpoints were in the cache (--fresh recomputes all)" in said
    said = ptyconv("analyze", known, "-o", known.parent / "out", "--device", "cpu", "--no-plot", "--fresh").output
    assert "known" not in said


def test_a_phase_that_wraps_goes_on_too(tmp_path, computed):
    """Also after an analysis with nothing new, and from the last checkpoint alone."""
    run_dir = shutil.copytree(RUNS["phaser"], tmp_path / "run")
    last = (run_dir / "iter013.h5").rename(tmp_path / "iter013.h5")
    for _ in range(2):
        results(run_dir, tmp_path / "out")
    last.rename(run_dir / last.name)
    computed["read"].clear()
    found = results(run_dir, tmp_path / "out")
    assert computed["read"] == [12, 13]
    assert found == results(run_dir, tmp_path / "fresh")


@pytest.mark.parametrize("loss", long_after(1, ["another phase", "none"]))
def test_a_phase_of_another_checkpoint_is_not_gone_on_with(tmp_path, computed, loss):
    run_dir = shutil.copytree(RUNS["phaser"], tmp_path / "run", ignore=shutil.ignore_patterns("iter01*"))
    results(run_dir, tmp_path / "out")
    kept = tmp_path / "out" / ".ptyconv" / "part0-phase.npz"
    if loss == "none":
        kept.unlink()
    else:
        with np.load(kept) as content:
            np.savez(kept, key=np.array("of another"), phase=content["phase"] + 1)
    shutil.copy2(RUNS["phaser"] / "iter010.h5", run_dir)
    computed["read"].clear()
    assert results(run_dir, tmp_path / "out") == results(run_dir, tmp_path / "fresh")
    assert computed["read"][:3] == [2, 4, 6]


@pytest.mark.parametrize("until", [5, 8])
def test_what_each_checkpoint_holds_is_recalled(tmp_path, computed, until):
    """Its contrast, by which its changes are measured, and how much there is of an amplitude that vanishes."""
    run_dir, model = tmp_path / "run", ToyModel()
    run_dir.mkdir()
    for niter in range(1, 9):
        model.update()
        if niter >= 4:
            model.optimizable_tensors["obja"].data.mul_(3e-4)
        write_hdf5(run_dir / f"model_iter{niter:04d}.hdf5", model, niter)
    files = checkpoints(run_dir)
    away = [path.rename(tmp_path / path.name) for path in files[until:]]
    analyzed(run_dir)
    computed["read"].clear()
    for path in away:
        path.rename(run_dir / path.name)
    found = analyzed(run_dir).verdict
    assert not {*range(1, until)} & {*computed["read"]}, "but for the last one, which is compared with the next"
    assert repr(found) == repr(analyzed(run_dir, fresh=True).verdict)
    assert (found.state, found.worst, found.since, found.keep) == ("broken", "obja", 4, 3)
    contrasts = [point.contrast for point in found.doublings["objp"].points]
    assert len(contrasts) == len(set(contrasts)) == 7


@pytest.mark.long
def test_another_run_whose_files_have_the_same_names_sizes_and_times(tmp_path):
    """As after an archive was unpacked by a tool that doesn't keep times."""
    found = {}
    for name, factor in (("a", 1.0), ("b", 1.5)):
        run_dir = shutil.copytree(runs.SAMPLE, tmp_path / name)
        for path in run_dir.glob("*.hdf5"):
            with h5py.File(path, "r+") as file:
                file["optimizable_tensors/probe"][...] *= np.float32(factor * int(path.stem[-4:]))
            os.utime(path, (1e9, 1e9))
        found[name] = results(run_dir, tmp_path / "shared")
    assert found["b"] == results(tmp_path / "b", tmp_path / "fresh")


def test_each_thing_that_tells_checkpoints_apart(grown):
    (header, *_), _ = read_headers(snapshots_in(grown / "model_iter0010.hdf5"), ("objp",), strict=True)

    def key(header=header, settings=None, region=(0, 5, 0, 5), **counting):
        by = [*run_parts.depends_on(settings or MonitorSettings(), "cpu"), region]
        return keys_of([header], by, {"objp": Counting(**counting)})[0]

    file = header.fingerprint
    others = {
        key(replace(header, real_path=str(grown / "other" / header.path.name))),
        key(replace(header, niter=11)),
        key(replace(header, fingerprint=file._replace(size=file.size + 1))),
        key(replace(header, fingerprint=file._replace(modified=file.modified + 1))),
        key(replace(header, loss_digest=b"other")),
        key(settings=MonitorSettings(tensors=("objp",))),
        key(settings=MonitorSettings(percentile_range=(10, 90))),
        key(settings=MonitorSettings(aligned=True)),
        key(region=(0, 5, 0, 6)),
        key(begins=(0, 5)),
        key(cycle=5),
    }
    assert key(begins=(0, 10)) == key(), "what begins later does not count yet"
    assert len(others - {key()}) == 11
    assert key() == key()


# --- the folder that it is kept in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("thing", long_after(1, ["a link", "a pipe", "a folder"]))
@pytest.mark.parametrize("name", ["part0-objp.f32", "part1-steps.jsonl", "part0-steps.jsonl"])
def test_other_things_in_the_folder_are_left_alone(known, thing, name):
    folder = known.parent / "out" / ".ptyconv"
    (known.parent / "precious").write_bytes(b"precious")
    (folder / name).unlink(missing_ok=True)
    if thing == "a pipe":
        os.mkfifo(folder / name)
    elif thing == "a folder":
        (folder / name).mkdir()
    else:
        (folder / name).symlink_to(known.parent / "precious")
    analysis = analyzed(known)
    said = f"{folder / name}: is not a file that ptyconv wrote: the next analysis will recompute everything."
    assert analysis.warnings == ([] if name.startswith("part1") else [said])
    assert results(known, known.parent / "out") == results(known, known.parent / "fresh")
    assert (known.parent / "precious").read_bytes() == b"precious"
    assert os.path.lexists(folder / name)


def test_other_files_in_the_folder_are_left_alone(known):
    folder = known.parent / "out" / ".ptyconv"
    for name in ("notes.txt", "mine.npz"):
        (folder / name).write_bytes(b"precious")
    (folder / "000010.npz").write_bytes(b"as an older version left it")
    results(known, known.parent / "out")
    results(known, known.parent / "out", tensors=["probe"])
    assert {path.name for path in folder.iterdir()} == FILES | {"notes.txt", "mine.npz"}


def test_a_link_to_another_folder_is_not_followed(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "000010.npz").write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".ptyconv").symlink_to(precious)
    analysis, _ = analyze_into(tmp_path / "out", runs.SAMPLE, pictures=False, device="cpu")
    assert {path.name: path.read_bytes() for path in precious.iterdir()} == {"000010.npz": b"precious"}
    assert analysis.warnings == [
        f"{tmp_path / 'out' / '.ptyconv'}: is a link to another folder, where nothing is written: the next analysis "
        "will recompute everything."
    ]


def test_what_cannot_be_kept_does_not_cost_the_results(ptyconv, tmp_path):
    (tmp_path / ".ptyconv").write_text("a file")
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path, "--no-plot", "--device", "cpu")
    assert result.exit_code == 0
    assert "the next analysis will recompute everything" in " ".join(result.stderr.split())
    for name in ("convergence_iters.json", "convergence_report.json"):
        found, expected = (folder / name for folder in (tmp_path, tmp_path / "other"))
        ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "other", "--no-plot", "--device", "cpu")
        assert found.read_bytes() == expected.read_bytes(), "the warning is not of the run"


def test_damage_of_any_kind(known):
    """No line that was changed is used, wherever it was."""
    kept = known.parent / "out" / ".ptyconv" / "part0-steps.jsonl"
    whole, draw = kept.read_bytes(), random.Random(5)
    lines = _unpacked(kept)[0]
    assert len(lines) == 10
    for _ in range(100):
        content = bytearray(whole)
        for _ in range(draw.randrange(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        kept.write_bytes(content)
        found, is_whole = _unpacked(kept)
        assert repr(found) == repr(lines[: len(found)])
        assert is_whole == (content == whole)
    assert results(known, known.parent / "out") == results(known, known.parent / "fresh")


def test_fresh_replaces_what_was_kept(known):
    kept = known.parent / "out" / ".ptyconv" / "part0-steps.jsonl"
    before = kept.stat().st_mtime_ns
    results(known, known.parent / "out", fresh=True)
    assert kept.stat().st_mtime_ns != before
    assert analyzed(known).known == 12


@pytest.mark.long
def test_a_study_goes_on(ptyconv, tmp_path):
    study = shutil.copytree(runs.DATA / "resume", tmp_path / "study")
    first = ptyconv("analyze", study, "--no-plot", "--device", "cpu")
    reports = {path: path.read_bytes() for path in study.rglob("*.json")}
    second = ptyconv("analyze", study, "--no-plot", "--device", "cpu")
    assert (second.stdout, second.exit_code) == (first.stdout, 0)
    assert {path: path.read_bytes() for path in study.rglob("*.json")} == reports
    assert len(list(study.rglob(".ptyconv/part0-steps.jsonl"))) == 5
