"""Archives of quantem: with snapshots, or a series of archives; and damaged ones."""

import io
import json
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from contextlib import nullcontext

import engines
import numpy as np
import pytest
import runs
from blank import blank_pictures
from damage import repacked
from outputs import runs_listed
from rarely import long_after

zarr = pytest.importorskip("zarr")

from quantem_archives import made_up, module, saved, write, write_series  # noqa: E402

from ptyconv_cli import PtyconvError, analyze_run  # noqa: E402
from ptyconv_cli.checkpoints.discovery import find_runs  # noqa: E402
from ptyconv_cli.errors import SeveralRuns  # noqa: E402

SERIES = engines.ENGINES / "quantem" / "snapshots_complex"
DX = 0.3493737968785146
POSITIONS = "_dataset_metadata/learned_scan_positions_px/tensor"
MODULE = "_obj_model/module"
CONTENT = "c/0"  # the one chunk of an array with one axis
OF_OBJECT = {"objp_bg", "objp_fg"}
OF_AMPLITUDE = {"obja_bg", "obja_fg"}


def opened(path):
    return zarr.open_group(zarr.storage.ZipStore(path, mode="r") if path.is_file() else path, mode="r")


def positions_in(archive):
    """The only numbers of the only tensor in a file of torch.save."""
    with zipfile.ZipFile(io.BytesIO(archive[POSITIONS][:].tobytes())) as content:
        (name,) = (name for name in content.namelist() if name.endswith("/data/0"))
        return np.frombuffer(content.read(name), "<f4").reshape(-1, 2).astype(float)


def in_order(path):
    """The snapshots in an archive, by hand."""
    archive, found = opened(path), []
    positions = positions_in(archive)
    for name in sorted(archive["_snapshots"], key=int):
        group = archive[f"_snapshots/{name}"]
        found.append(one(group.attrs["iteration"], group["obj"][:], group["probe"][:], positions))
    return found


def one(niter, stored, probe, positions):
    probe = np.fft.fftshift(probe, (-2, -1))
    snapshot = engines.of_transmission(niter, stored, probe, None, positions - np.array(probe.shape[-2:]) // 2)
    return snapshot if stored.dtype.kind == "c" else snapshot._replace(phase=stored.astype(float)[None], amplitude=None)


def test_positions_whose_rate_is_0_throughout_have_none(tmp_path):
    write_series(tmp_path)
    assert set(analyze_run(tmp_path, device="cpu").engine.learning_rates) == {"obja", "objp"}


def places(seed=0, moved=0.0):
    return (np.random.default_rng(seed).uniform(3, 12, (9, 2)) + moved).astype("f4")


def test_all_values_are_those_of_the_formulas():
    analysis = runs.analysis_of(SERIES)
    engines.check(analysis, in_order(SERIES / "ptycho.zip"), DX)
    assert [found.niter for found in analysis.checkpoints] == list(range(1, 112, 10))
    assert set(analysis.points) == OF_OBJECT | OF_AMPLITUDE | {"probe"}
    foreground = [point.value for point in analysis.points["objp_fg"]]
    assert foreground[0] == pytest.approx(0.069308, rel=1e-5)
    assert foreground[-1] == pytest.approx(0.003990, abs=5e-7)
    assert analysis.dx == pytest.approx(0.349375, rel=1e-5)
    assert [niter for niter, _ in analysis.engine.loss] == list(range(1, 112))
    assert analysis.engine.learning_rates["objp"][0] == (1, 0.005)
    assert analysis.warnings == ["probe_pos_shifts is not analyzed: quantem stores scan positions only at the end."]


@pytest.mark.long
def test_a_folder_reads_as_the_zip_file_does(tmp_path):
    with zipfile.ZipFile(SERIES / "ptycho.zip") as archive:
        archive.extractall(tmp_path / "run" / "ptycho")
    expected = runs.analysis_of(SERIES).points
    assert analyze_run(tmp_path / "run", device="cpu").points == expected
    assert analyze_run(tmp_path / "run" / "ptycho", device="cpu").points == expected
    assert find_runs(tmp_path).runs == [tmp_path / "run"]


def test_a_zip_file_that_was_compressed_reads(tmp_path):
    repacked(SERIES / "ptycho.zip", tmp_path / "ptycho.zip", compression=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "ptycho.zip").stat().st_size < (SERIES / "ptycho.zip").stat().st_size
    assert analyze_run(tmp_path, device="cpu").points == runs.analysis_of(SERIES).points


@pytest.mark.parametrize("also", [[], ["__MACOSX/ptycho/._zarr.json"]])
def test_an_archive_that_was_zipped_with_its_outer_folder_reads(tmp_path, also):
    """As the zip tools of desktops make it of a folder."""

    def move(entries):
        for name in list(entries):
            entries[f"ptycho/{name}"] = entries.pop(name)
        entries |= dict.fromkeys(["ptycho/", *also], b"")

    repacked(SERIES / "ptycho.zip", tmp_path / "ptycho.zip", move, zipfile.ZIP_DEFLATED)
    assert analyze_run(tmp_path, device="cpu").points == runs.analysis_of(SERIES).points


@pytest.mark.parametrize("link", ["_snapshots/3/obj/c/0/0/0", "_snapshots/3/obj", "zarr.json", "_obj_model"])
def test_a_link_in_a_folder_is_not_followed(tmp_path, link):
    """It may lead to what is none of the run's, as another user's file, and a page would show that."""
    with zipfile.ZipFile(SERIES / "ptycho.zip") as archive:
        archive.extractall(tmp_path / "run" / "ptycho")
    there = tmp_path / "run" / "ptycho" / link
    there.rename(tmp_path / "elsewhere")
    there.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PtyconvError, match=f"{link}: is a link in an archive, which is not followed"):
        analyze_run(tmp_path / "run" / "ptycho", device="cpu")


def test_the_archive_itself_may_be_a_link(tmp_path):
    with zipfile.ZipFile(SERIES / "ptycho.zip") as archive:
        archive.extractall(tmp_path / "elsewhere")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "ptycho").symlink_to(tmp_path / "elsewhere")
    assert analyze_run(tmp_path / "run" / "ptycho", device="cpu").points == runs.analysis_of(SERIES).points


@pytest.mark.parametrize("niter", ["-5", "true", "2.5", "1" + "0" * 400, str(2**53 + 1), '"7"', "null"])
def test_iterations_are_whole_numbers(tmp_path, niter):
    def change(entries):
        described = json.loads(entries["_snapshots/3/zarr.json"])
        described["attributes"]["iteration"] = "here"
        entries["_snapshots/3/zarr.json"] = json.dumps(described).replace('"here"', niter).encode()

    repacked(SERIES / "ptycho.zip", tmp_path / "ptycho.zip", change)
    with pytest.raises(PtyconvError, match=r"_snapshots/3 has no attribute iteration, a whole number from 0 to 2\^53"):
        analyze_run(tmp_path / "ptycho.zip", device="cpu")


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("suffix", [".zip", ""])
@pytest.mark.parametrize(
    "shape", [pytest.param((1, 16, 17), marks=pytest.mark.long), (3, 16, 17)], ids=["one slice", "slices"]
)
def test_snapshots_of_any_object(tmp_path, real, suffix, shape):
    """Of two calls of reconstruct; they hold the object after its constraints, which are not applied again."""
    objects = made_up(*shape, real=real)
    niters = [1, 11, 46, 56]
    path = write(tmp_path / f"run{suffix}", objects, made_up(2, 7, 8), niters=niters, positions=places(), iterations=90)
    analysis = analyze_run(path, device="cpu")
    engines.check(analysis, in_order(path), 0.25, wraps=not real)
    assert set(analysis.points) == OF_OBJECT | {"probe"} | (set() if real else OF_AMPLITUDE)
    assert len(analysis.engine.loss) == 56
    assert bool(analysis.engine.slice_thickness) == (shape[0] > 1)
    assert all(value == 8.0 for _, value in analysis.engine.slice_thickness)


def test_a_pure_phase_may_be_complex(tmp_path):
    """As in archives from before 2026-06; its amplitude is 1, and no series."""
    objects = made_up(1, 16, 17)
    objects /= np.abs(objects)
    path = write(
        tmp_path / "run.zip",
        objects,
        made_up(1, 8, 8),
        niters=[1, 3, 5, 7],
        positions=places(),
        object_type="pure_phase",
    )
    analysis = analyze_run(path, device="cpu")
    engines.check(analysis, [found._replace(amplitude=None) for found in in_order(path)], 0.25)


def test_a_potential_has_no_amplitude_to_ask_for(tmp_path, ptyconv):
    write(tmp_path / "run.zip", made_up(1, 16, 17, real=True), made_up(1, 8, 8), niters=[1, 3, 5, 7])
    result = ptyconv("analyze", tmp_path, "-t", "obja")
    assert result.exit_code == 1
    said = "has no tensor obja, because the object is a phase alone, and has no amplitude; it has objp, probe"
    assert said in " ".join(result.stderr.split())


def shown(objects, object_type):
    """The object as quantem shows it, in float64."""
    if object_type == "potential":
        return np.maximum(objects.astype(float), 0)
    if object_type == "pure_phase" and objects.dtype.kind == "c":
        return np.exp(1j * shown(np.angle(objects), object_type))
    if object_type == "pure_phase":
        return objects.astype(float) - objects.astype(float).mean()
    objects = np.minimum(np.abs(objects.astype(complex)), 1) * np.exp(1j * np.angle(objects))
    mean = objects.mean()
    return objects * mean.conj() / abs(mean)


def test_the_constrained_object_is_what_quantem_itself_stores():
    """The last snapshot of the series is of its end, whose object before its constraints is in the module."""
    archive = opened(SERIES / "ptycho.zip")
    assert archive["_snapshots/11"].attrs["iteration"] == archive["_iter_losses/values"].size == 111
    with zipfile.ZipFile(io.BytesIO(archive[MODULE][:].tobytes())) as content:
        stored = np.frombuffer(content.read("archive/data/0"), "<c8").reshape(1, 40, 40)
    np.testing.assert_allclose(shown(stored, "complex"), archive["_snapshots/11/obj"][:], atol=3e-7)
    assert abs(stored - archive["_snapshots/11/obj"][:]).max() > 1


@pytest.mark.parametrize("object_type", long_after(2, ["complex", "potential", "pure_phase", "complex pure_phase"]))
@pytest.mark.parametrize("suffix", long_after(1, [".zip", ""]))
def test_a_series_of_archives_without_snapshots(tmp_path, object_type, suffix):
    real, object_type = "complex" not in object_type, object_type.split()[-1]
    objects, probes = made_up(2, 16, 17, real=real), made_up(2, 7, 8)
    if real:
        objects += 0.3  # of a potential few voxels are below 0
    else:
        objects *= np.exp(0.4j * np.arange(4)).reshape(-1, 1, 1, 1)
        objects[..., 5, :9] *= 1.5
    expected = []
    for place in range(4):
        where = places(moved=0.02 * place**2)
        path = tmp_path / f"after_{10 * place + 10}{suffix}"
        write(
            path,
            objects[: place + 1],
            probes[: place + 1],
            iterations=10 * place + 10,
            positions=where,
            object_type=object_type,
        )
        found = one(10 * place + 10, shown(objects[place], object_type), probes[place], where.astype(float))
        amplitude = found.amplitude if object_type == "complex" else None
        expected.append(found._replace(positions=where.astype(float), amplitude=amplitude))
    analysis = analyze_run(tmp_path, device="cpu")
    engines.check(analysis, expected, 0.25, wraps=not real)
    assert [found.niter for found in analysis.checkpoints] == [10, 20, 30, 40]
    assert "probe_pos_shifts" in analysis.points
    # Each constraint changes what is compared here.
    assert all(np.abs(shown(stored, object_type) - stored).max() > 0.01 for stored in objects)
    one_file = analyze_run(tmp_path / f"after_20{suffix}", device="cpu")
    assert one_file.points == analysis.points


def test_without_learned_positions_the_padding_gives_the_region(tmp_path):
    for place in range(3):
        objects = made_up(1, 16, 18)[: place + 1]
        write(tmp_path / f"{place}.zip", objects, made_up(1, 8, 8)[: place + 1], iterations=place + 1)
    analysis = analyze_run(tmp_path, device="cpu")
    # Of 16 × 18 px, 3 and 4 are padding on each side: centres from (3, 4) to (12, 13).
    assert tuple(analysis.region) == (2, 12, 3, 13)
    assert "probe_pos_shifts is not analyzed: the run did not learn its scan positions." in analysis.warnings


def test_windows_beyond_the_object_clamp_the_region(tmp_path):
    where = places()
    where[0] = [-3, 19]
    path = write(tmp_path / "run.zip", made_up(1, 16, 17), made_up(1, 8, 8), niters=[1, 3, 5, 7], positions=where)
    analysis = analyze_run(path, device="cpu")
    engines.check(analysis, in_order(path), 0.25)
    assert (analysis.region.y_start, analysis.region.x_stop) == (0, 17)
    assert any("1 of 9 scan positions lie beyond the object" in text for text in analysis.warnings)


@pytest.mark.parametrize("place", long_after(1, ["run/ptycho.zip", "run"]))
@pytest.mark.parametrize("command", ["analyze", "check", "maps"])
def test_the_commands(place, ptyconv, tmp_path, command):
    shutil.copytree(SERIES, tmp_path / "run")
    with nullcontext() if place == "run" else blank_pictures():
        engines.check_command(ptyconv, command, tmp_path / place, "12 checkpoints, iterations 1 to 111")


def test_the_engine_is_listed(ptyconv):
    (line,) = runs_listed(ptyconv("ls", SERIES).stdout)
    assert line.split() == ["snapshots_complex", "quantem", "12", "1", "to", "111", "1×1×40×40", "0.3494"]


# --- zarr is only loaded, and only needed, for such files -------------------------------------------------------------


def test_without_zarr_the_message_names_it(ptyconv, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.setitem(sys.modules, "zarr.storage", None)
    for place in (SERIES, SERIES / "ptycho.zip"):
        result = ptyconv("analyze", place)
        assert result.exit_code == 1
        said = f"Error: {SERIES / 'ptycho.zip'}: is a zarr archive, which is read with the package zarr, version 3: "
        assert said + "pip install 'ptyconv[quantem]'" in " ".join(result.stderr.split())


@pytest.mark.parametrize("place", ["", "other"])
def test_zarr_is_loaded_only_for_such_files(tmp_path, place):
    """Not for another zip file, nor for another zarr archive."""
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("zarr.json", json.dumps({"node_type": "group", "attributes": {"made_by": "me"}}))
    if place:
        zarr.create_group(tmp_path / place / "data", attributes={"_autoserialize": {"class_module": "numpy"}})
    code = "import sys; from pathlib import Path; from ptyconv_cli.checkpoints.discovery import find_runs; "
    code += f"assert find_runs(Path({str(tmp_path)!r})).runs == []; print('zarr' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "False\n", result.stderr


# --- nothing of a file is run -----------------------------------------------------------------------------------------


def put(entries, name, content):
    """Replace the bytes of an array with one chunk and no compression."""
    entries[f"{name}/{CONTENT}"] = bytes(content)
    described = json.loads(entries[f"{name}/zarr.json"])
    described["shape"] = described["chunk_grid"]["configuration"]["chunk_shape"] = [len(content)]
    entries[f"{name}/zarr.json"] = json.dumps(described).encode()


class Calls:
    """What a pickle can smuggle in: a call of any function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Filled:
    """What a pickle fills by a method of its own, here of something that would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return FilledBySystem, (), {"command": f"touch {shlex.quote(str(self.path))}"}


class FilledBySystem:
    def __setstate__(self, state):
        os.system(state["command"])


SMUGGLED = {
    "a call": lambda path: Calls(os.system, f"touch {shlex.quote(str(path))}"),
    "a call of another": lambda path: Calls(os.mkdir, str(path)),
    "a state": Filled,
    "nested": lambda path: {"a": [(Calls(list, [Calls(os.system, f"touch {shlex.quote(str(path))}")]),)]},
    "as an argument": lambda path: Calls(getattr, Calls(eval, f"open({str(path)!r}, 'w')"), "name"),
}
NAMED = {"a call of another": "posix.mkdir", "a state": "FilledBySystem", "as an argument": r"builtin(s|__)\.eval"}


@pytest.fixture(params=SMUGGLED)
def smuggled(request, tmp_path):
    """A thing that runs code when it is loaded, the file that this makes, and the name that is said."""
    return SMUGGLED[request.param](tmp_path / "touched"), tmp_path / "touched", NAMED.get(request.param, "posix.system")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_smuggled_code_would_have_run(smuggled):
    """Without this the tests below could pass for the wrong reason."""
    thing, touched, _ = smuggled
    pickle.loads(pickle.dumps(thing))
    assert touched.exists()


def test_smuggled_code_is_not_run_and_named(smuggled, tmp_path):
    """Beside what is needed it does no harm."""
    thing, touched, named = smuggled
    content = module("object_models.ObjectPixelated", {}, _sampling=(DX, DX), _obj_type="complex", extra=thing)
    path = repacked(SERIES / "ptycho.zip", tmp_path / "run.zip", lambda entries: put(entries, MODULE, content))
    analysis = analyze_run(path, device="cpu")
    assert not touched.exists()
    (said,) = (text for text in analysis.warnings if "Nothing of it was run" in text)
    assert said.startswith(f"{path}: {MODULE} names ")
    assert re.search(named, said)
    assert analysis.points == runs.analysis_of(SERIES).points


@pytest.mark.parametrize("where", [MODULE, POSITIONS])
def test_smuggled_code_in_place_of_what_is_needed(smuggled, tmp_path, where, ptyconv):
    thing, touched, _ = smuggled
    content = saved(thing)
    path = repacked(SERIES / "ptycho.zip", tmp_path / "run.zip", lambda entries: put(entries, where, content))
    result = ptyconv("analyze", path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {path}: cannot read ")
    assert not touched.exists()


def test_nothing_unfamiliar_is_in_a_real_archive():
    assert not [text for text in runs.analysis_of(SERIES).warnings if "names" in text]


# --- damage -----------------------------------------------------------------------------------------------------------


def lacking(*names):
    def change(entries):
        for name in [entry for entry in entries if entry.startswith(names)]:
            del entries[name]

    return change


def described(name, **changes):
    def change(entries):
        entries[f"{name}/zarr.json"] = json.dumps(json.loads(entries[f"{name}/zarr.json"]) | changes).encode()

    return change


def content(name, to):
    return lambda entries: put(entries, name, to)


def flipped(name):
    def change(entries):
        broken = bytearray(entries[name])
        broken[len(broken) // 2 :] = bytes(len(broken) - len(broken) // 2)
        entries[name] = bytes(broken)

    return change


def one_module(**attributes):
    return content(MODULE, module("object_models.ObjectPixelated", {}, _obj_type="complex", **attributes))


OBJ = "_snapshots/3/obj"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lacking(f"{OBJ}/c/"), "array _snapshots/3/obj: chunks of it are missing; the archive is damaged"),
        (lacking(f"{OBJ}/"), "has no dataset _snapshots/3/obj"),
        (lacking("_snapshots/3/zarr.json"), "_snapshots/3 has no attribute iteration, a whole number"),
        (lacking(MODULE), "has no dataset _obj_model/module"),
        (lacking(f"{MODULE}/c"), "array _obj_model/module: chunks of it are missing"),
        (lacking(f"{POSITIONS}/"), "has no dataset _dataset_metadata/learned_scan_positions_px/tensor"),
        (described(OBJ, shape=[1, 80, 40]), "array _snapshots/3/obj: chunks of it are missing"),
        (described(OBJ, shape=[10**6, 10**6, 40]), "is larger than the file can hold"),
        (described(OBJ, shape=[40, 40]), "cannot read _snapshots/3/obj of the zarr archive"),
        (described(OBJ, shape="big"), "cannot read _snapshots/3/obj of the zarr archive"),
        (described(OBJ, data_type="float99"), "cannot read _snapshots/3/obj of the zarr archive"),
        (described("_snapshots/3", attributes={"iteration": "x"}), "no attribute iteration, a whole number"),
        (described("_snapshots/3", attributes=[]), "no attribute iteration, a whole number"),
        (flipped(f"{OBJ}/c/0/0/0"), "cannot read obj[ap] of the zarr archive"),
        (content(MODULE, b"no archive"), "cannot read _obj_model/module of the zarr archive .File is not a zip file"),
        (content(MODULE, saved({"_sampling": 1})), "cannot read _sampling in _obj_model/module"),
        (
            one_module(),
            "cannot read _sampling in _obj_model/module of the zarr archive .expected numbers, found nothing",
        ),
        (one_module(_sampling=(0.0, 0.3)), "the pixel size is 0 × 0.3 Å"),
        (one_module(_sampling=(float("nan"), 0.3)), "the pixel size is nan × 0.3 Å"),
        (one_module(_sampling=(0.3,)), "_sampling holds 1 numbers, not 2"),
        (one_module(_sampling="0.3"), "expected numbers, found a str"),
        (content(POSITIONS, saved("no tensor")), "expected a tensor, found a str"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, change, said):
    path = repacked(SERIES / "ptycho.zip", tmp_path / "ptycho.zip", change)
    with pytest.raises(PtyconvError, match=said):
        analyze_run(path, device="cpu", strict=True)


@pytest.mark.parametrize("attribute", ["_sampling", "numpy"])
def test_the_sampling_may_be_numbers_of_numpy_or_torch(tmp_path, attribute):
    import torch

    sampling = torch.tensor([DX, DX], dtype=torch.float64) if attribute == "_sampling" else np.array([DX, DX])
    path = repacked(SERIES / "ptycho.zip", tmp_path / "ptycho.zip", one_module(_sampling=sampling))
    assert analyze_run(path, device="cpu").dx == pytest.approx(DX, rel=1e-15)


@pytest.mark.parametrize("place", ["", "ptycho.zip"])
@pytest.mark.parametrize("height", [39, 20])
def test_a_shape_that_is_smaller_than_stored_is_another_geometry(tmp_path, place, height):
    repacked(SERIES / "ptycho.zip", tmp_path / "ptycho.zip", described(OBJ, shape=[1, height, 40]))
    said = rf"belong to 2 runs:\n.*\n  2: .*: the shape of obja is \(1, 1, {height}, 40\), not \(1, 1, 40, 40\)"
    with pytest.raises(SeveralRuns, match=said):
        analyze_run(tmp_path / place, device="cpu")


@pytest.mark.parametrize("size", [100, 300_000, 533_000])
def test_a_zip_file_that_was_cut_off_is_said(tmp_path, size):
    (tmp_path / "ptycho.zip").write_bytes((SERIES / "ptycho.zip").read_bytes()[:size])
    said = r"ptycho.zip: is no checkpoint of a known format \(cannot read the table of the zarr archive"
    with pytest.raises(PtyconvError, match=said):
        analyze_run(tmp_path / "ptycho.zip", device="cpu")


def test_a_flipped_bit_in_the_table_of_a_zip_file_is_noticed(tmp_path):
    """The table has no checksum: an entry of another name would be missing, which zarr takes for zeros."""
    broken = bytearray((SERIES / "ptycho.zip").read_bytes())
    broken[broken.rindex(b"_snapshots/3/obj/c/0/0/0") + 11] ^= 1
    (tmp_path / "ptycho.zip").write_bytes(broken)
    with pytest.raises(PtyconvError, match=r"File name in directory .* and header .* differ"):
        analyze_run(tmp_path / "ptycho.zip", device="cpu")


def test_one_damaged_archive_of_a_series_is_left_out(tmp_path):
    objects, probes = made_up(1, 16, 17), made_up(1, 8, 8)
    for place in range(4):
        path = tmp_path / f"{place}.zip"
        write(path, objects[: place + 1], probes[: place + 1], iterations=place + 1, positions=places())
    whole = analyze_run(tmp_path, device="cpu").points
    path.write_bytes(path.read_bytes()[:5000])
    analysis = analyze_run(tmp_path, device="cpu")
    assert [found.file for found in analysis.left_out] == ["3.zip"]
    assert {key: points[:2] for key, points in whole.items()} == analysis.points


def test_a_module_without_a_tensor_asks_for_snapshots(tmp_path):
    """As of an object that is made by a network."""
    network = module("object_models.ObjectDIP", {}, _sampling=(0.25, 0.25), _obj_type="complex")
    (tmp_path / "run").mkdir()
    for place in range(2):
        whole = write(tmp_path / f"{place}.zip", made_up(1, 16, 17), made_up(1, 8, 8), iterations=place + 1)
        repacked(whole, tmp_path / "run" / whole.name, content(MODULE, network))
    with pytest.raises(PtyconvError, match=r"_obj_model/module has no parameter _obj .* let the run store snapshots"):
        analyze_run(tmp_path / "run", device="cpu")


@pytest.mark.parametrize("change", [flipped(f"{OBJ}/c/0/0/0"), lacking(f"{OBJ}/c/")], ids=["when read", "when opened"])
def test_one_damaged_snapshot_is_left_out(tmp_path, change):
    path = repacked(SERIES / "ptycho.zip", tmp_path / "ptycho.zip", change)
    analysis = analyze_run(path, device="cpu")
    assert [(found.file, found.niter) for found in analysis.left_out] == [("ptycho.zip, iteration 31", 31)]
    whole = {point.niter: point for point in runs.analysis_of(SERIES).points["probe"]}
    found = {point.niter: point for point in analysis.points["probe"]}
    assert set(whole) - set(found) == {31}
    assert {niter for niter in found if found[niter] != whole[niter]} == {41}
