"""`.pt` files come by mail: nothing in them is run."""

import collections
import io
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import numpy as np
import pytest
import runs
import torch
from toy import ToyModel, write_pt, write_run

from ptyconv_cli import analyze_run
from ptyconv_cli.checkpoints.formats.pt import PtTree
from ptyconv_cli.errors import CheckpointError


class TouchesAFile:
    """What a pickle can smuggle in: a call to any function, here one whose traces can be looked for."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def smuggled(tmp_path):
    """A checkpoint that is whole but for one more entry."""
    write_pt(tmp_path / "model_iter0002.pt", ToyModel(), 2)
    content = torch.load(tmp_path / "model_iter0002.pt", weights_only=False)
    torch.save({**content, "extra": TouchesAFile(tmp_path / "touched")}, tmp_path / "model_iter0002.pt")
    return tmp_path / "model_iter0002.pt"


@pytest.mark.parametrize("forced", ["0", "1"])
def test_smuggled_code_is_refused_and_not_run(smuggled, monkeypatch, forced):
    # Torch's own switch to the unsafe way must not reach us.
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", forced)
    with pytest.raises(CheckpointError, match="not loaded, because it holds something other than tensors and numbers"):
        PtTree(smuggled)
    assert not (smuggled.parent / "touched").exists()


def test_the_smuggled_code_would_have_run(smuggled):
    """Without this the test above could pass for the wrong reason."""
    torch.load(smuggled, weights_only=False)
    assert (smuggled.parent / "touched").exists()


def test_refusal_on_the_command_line(smuggled, ptyconv):
    result = ptyconv("analyze", smuggled.parent)
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {smuggled}: not loaded, because it holds something other than tensors and numbers ('posix.mkdir'), "
        "which could run code\n"
    )
    assert not (smuggled.parent / "touched").exists()


@pytest.mark.parametrize(
    "value",
    [
        np.float32(1.5),
        np.float64(1.5),
        np.int64(3),
        np.zeros(3, np.int64),
        np.zeros((2, 2), np.float32),
        [1, 2.5],
        "x",
        None,
    ],
)
def test_what_ptyrad_writes_is_allowed(tmp_path, value):
    torch.save({"value": value, "niter": 3}, tmp_path / "file.pt")
    assert PtTree(tmp_path / "file.pt").read("niter") == 3


SIZED = [f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)]
PLAIN = [
    "bool",
    *SIZED,
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "longlong",
    "ulonglong",
    ">i4",
    ">f8",
]


@pytest.mark.parametrize(
    "make", [lambda ones: ones, lambda ones: ones[0], lambda ones: ones.T], ids=["array", "scalar", "T"]
)
@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("core", ["numpy._core", "numpy.core"])
def test_every_plain_type_of_numpy_reads(tmp_path, dtype, make, core):
    value = make(np.ones(3, dtype))
    torch.save({"value": value}, tmp_path / "file.pt")
    repack(tmp_path / "file.pt", naming(core))
    found = PtTree(tmp_path / "file.pt").read("value")
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    assert (found == value).all()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (np.zeros(2, object), r"numpy\.dtypes\.ObjectDType"),
        (np.datetime64("2024-01-01"), r"numpy\.dtypes\.DateTime64DType"),
        (np.array(["text"]), r"numpy\.dtypes\.StrDType"),
        (np.zeros(2, [("a", "i4")]), r"numpy\.dtypes\.VoidDType"),
        (np.longdouble(1), r"numpy\.dtypes\.LongDoubleDType"),
        (np.random.default_rng(0), r"numpy\.random\._pickle\.__generator_ctor"),
        (np.ma.array([1]), r"numpy\.ma\.core\._mareconstruct"),
        (print, "print"),
    ],
)
def test_what_ptyrad_never_writes_is_refused_and_named(tmp_path, value, named):
    torch.save({"value": value}, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=rf"file\.pt: not loaded, because it holds .*'{named}'"):
        PtTree(tmp_path / "file.pt")


def test_positions_in_32_bits_as_windows_writes_them(tmp_path):
    for path in sorted(runs.SAMPLE_PT.glob("*.pt")):
        content = torch.load(path, weights_only=False)
        torch.save({**content, "indices": np.asarray(content["indices"], np.int32)}, tmp_path / path.name)
    found = analyze_run(tmp_path, device="cpu")
    assert found.convergence_iters == runs.analysis_of(runs.SAMPLE_PT).convergence_iters


def legacy_pickle() -> bytes:
    return pickle.dumps({"niter": 3})


def stray_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "nothing of torch's")
    return buffer.getvalue()


def truncated() -> bytes:
    return (runs.SAMPLE_PT / "model_iter0002.pt").read_bytes()[:100_000]


@pytest.mark.parametrize("content", [legacy_pickle, stray_zip, truncated, bytes, lambda: b"text"])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "file.pt").write_bytes(content())
    with pytest.raises(CheckpointError, match=r"file\.pt: (is not a \.pt file as PtyRAD|PyTorch cannot read the file)"):
        PtTree(tmp_path / "file.pt")


@pytest.mark.parametrize(
    "values",
    [
        torch.eye(3).to_sparse(),
        [torch.zeros(2, requires_grad=True)],
        [[1, 2], [3]],
    ],
    ids=["sparse", "gradient", "ragged"],
)
def test_what_numpy_cannot_hold_is_named(tmp_path, values):
    torch.save({"group": {"values": values}}, tmp_path / "file.pt")
    tree = PtTree(tmp_path / "file.pt")
    assert tree.children("group") == ["values"]
    said = r"file\.pt: (PyTorch cannot read group/values|group/values: expected numbers)"
    with pytest.raises(CheckpointError, match=said):
        tree.find("group/values")


CONTAINERS = [{1, 2, 3}, {"a"}, collections.Counter("aab"), bytearray(b"abc"), collections.OrderedDict(a=1), set()]


@pytest.mark.parametrize("of", CONTAINERS, ids=repr)
def test_containers_that_torch_save_writes_are_no_matter(tmp_path, of):
    torch.save({"values": torch.ones(2), "of": of}, tmp_path / "file.pt")
    assert PtTree(tmp_path / "file.pt").read("values").tolist() == [1, 1]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("kind", ["bfloat16", "complex32"])
def test_short_numbers_that_numpy_lacks_are_read(tmp_path, kind):
    values = torch.tensor([1.5, -3.0, 2.0**-3]).to(getattr(torch, kind))  # which all hold as they are
    torch.save({"values": values, "conjugated": values.conj()}, tmp_path / "file.pt")
    tree = PtTree(tmp_path / "file.pt")
    for name in ("values", "conjugated"):
        found = tree.read(name)
        assert found.dtype == ("c8" if kind == "complex32" else "f4")
        assert found.tolist() == [1.5, -3.0, 2.0**-3]


def test_conjugate_views_are_resolved(tmp_path):
    torch.save({"psi": torch.tensor([1 + 2j]).conj()}, tmp_path / "file.pt")
    assert PtTree(tmp_path / "file.pt").read("psi").tolist() == [1 - 2j]


def test_several_threads_load_at_once():
    """PyTorch's allow-list is one for all threads."""
    paths = sorted(runs.SAMPLE_PT.glob("*.pt")) * 8
    with ThreadPoolExecutor(4) as readers:
        assert [int(tree.read("niter")) for tree in readers.map(PtTree, paths)] == [2, 4, 6, 8, 10] * 8


def test_not_a_dict(tmp_path):
    torch.save([1, 2], tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=r"file\.pt: holds a list where a dict was expected"):
        PtTree(tmp_path / "file.pt")


def test_files_of_both_numpy_generations_name_different_modules():
    """So that reading both is what the tests of agreement with the engine show."""
    for run_dir, module in ((runs.SAMPLE_PT, b"numpy._core"), (runs.DATA / "ptyrad-0.1.0b6-pt/numpy1", b"numpy.core")):
        with zipfile.ZipFile(run_dir / "model_iter0002.pt") as archive:
            assert module in archive.read("model_iter0002/data.pkl")


def repack(path, change):
    """Write the archive again with every entry, its name and its content, as `change` wants it."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        change(archive, entries)


def naming(core):
    """As numpy of that generation writes it."""

    def change(archive, entries):
        for name, content in entries.items():
            archive.writestr(name, content.replace(b"numpy._core", core.encode()))

    return change


def compressed(archive, entries):
    for name, content in entries.items():
        archive.writestr(name, content, zipfile.ZIP_DEFLATED)


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    path = tmp_path / "model_iter0002.pt"
    write_pt(path, ToyModel(), 2)
    repack(path, compressed)
    with pytest.raises(CheckpointError, match=r"is not a .pt file as PtyRAD writes them \(it is compressed\)"):
        PtTree(path)


def test_a_shape_larger_than_its_numbers_is_refused(tmp_path):
    """A view that repeats one number needs no room in the file, and any amount of memory when it is read."""
    path = tmp_path / "model_iter0002.pt"
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)
    with pytest.raises(CheckpointError, match=r"a: its shape \(1000000000000,\) exceeds what the file holds"):
        PtTree(path).find("a")


def test_a_flipped_bit_in_the_description_of_tensors_is_noticed(tmp_path):
    path = tmp_path / "model_iter0002.pt"
    write_pt(path, ToyModel(), 2)
    content = bytearray(path.read_bytes())
    place = content.index(b"probe_pos_shifts")
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="or is incomplete"):
        PtTree(path)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (reduce(lambda row, _: [row] * 10, range(8), [0]), "expected numbers, or rows of them"),
        ([[1, 10**400]], "expected numbers, or rows of them"),
        ([[1, "a"]], "expected numbers, or rows of them"),
        ([(1, 0.5, 3)], "expected real (n, 2)"),
    ],
)
def test_lists_in_a_pt_file_that_are_no_history(tmp_path, loss, said):
    write_run(tmp_path, [2, 4], write_pt, ".pt")
    for path in tmp_path.iterdir():
        content = torch.load(path, weights_only=False)
        content["loss_iters"] = loss
        torch.save(content, path)
    assert said in " ".join(analyze_run(tmp_path, device="cpu").warnings)


def test_a_diverged_loss_in_a_pt_file(tmp_path):
    write_run(tmp_path, [2, 4], write_pt, ".pt")
    for path, count in zip(sorted(tmp_path.iterdir()), (2, 4), strict=True):
        content = torch.load(path, weights_only=False)
        content["loss_iters"] = [(n, np.float32(np.nan)) for n in range(1, count + 1)]
        torch.save(content, path)
    analysis = analyze_run(tmp_path, device="cpu")
    assert len(analysis.engine.loss) == 4
    assert analysis.warnings == ["The loss is NaN or infinity from iteration 1 on: has the run diverged?"]
