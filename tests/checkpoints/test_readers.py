"""Readers of other packages."""

import re
import sys

import numpy as np
import pytest
import runs
from toy import ToyModel, write_run

from ptyconv_cli import PtyconvError, analyze_run
from ptyconv_cli.checkpoints import readers


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


def example_reader() -> str:
    page = (runs.ROOT / "docs/formats.md").read_text()
    (source,) = re.findall(r"```python\n(\"\"\"Reads the checkpoints of my engine.*?)```", page, re.DOTALL)
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


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_this_name", "the reader my_engine of my-package cannot be used .ModuleNotFoundError"),
        ("FILES = ('*_*.npz',)\ndef open_checkpoint(path): pass", "its FILES must be file names with one star each"),
        ("FILES = ('step_*.npz',)", "AttributeError"),
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
            "self._arrays.get(names[name])",
            "self._arrays[names[name]].sum(0)",
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
