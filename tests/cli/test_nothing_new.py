"""A second `analyze` that finds nothing new: what is there already, as it would be, is not made again."""

import json
import os
import shutil

import matplotlib
import pytest
import runs
from blank import blank_pictures
from click.testing import CliRunner
from outputs import OUTPUTS, PICTURES, names
from rarely import long_after

from ptyconv_cli.cli import outputs
from ptyconv_cli.cli.main import main

pytestmark = pytest.mark.usefixtures("blank_pictures")

PROBE_ONLY = ("-t", "probe", "--device", "cpu")


@pytest.fixture
def analyze(ptyconv, tmp_path):
    """Analyze the sample run into a folder; return what was said."""

    def run(*options):
        result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "out", *PROBE_ONLY, *options)
        assert result.exit_code == 0
        return " ".join(result.stdout.split())

    return run


@pytest.fixture(scope="module")
def out_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("once") / "out"
    with blank_pictures():
        result = CliRunner().invoke(main, ["analyze", str(runs.SAMPLE), "-o", str(folder), *PROBE_ONLY])
    assert result.exit_code == 0
    return folder


@pytest.fixture
def out(out_once, tmp_path):
    """The folder of the results, which are there."""
    return shutil.copytree(out_once, tmp_path / "out")


@pytest.fixture
def pictures_drawn(monkeypatch):
    """The names of the pictures that are drawn."""
    found = []
    for module, name in (("dashboard", "convergence.png"), ("trajectory", "trajectory.png")):
        where = f"ptyconv_cli.pictures.{module}.draw_{module}"
        monkeypatch.setattr(where, lambda *_, name=name, **__: found.append(name) or b"drawn")
    return found


def stamps(folder):
    """What tells files that were written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


def test_nothing_is_written_or_drawn_again(analyze, out, pictures_drawn):
    before = stamps(out)
    said = analyze()
    assert stamps(out) == before
    assert pictures_drawn == []
    assert "wrote" not in said
    assert (
        f"up to date: {out}/convergence_iters.json, convergence_report.json, convergence.csv, "
        "convergence.png, trajectory.png" in said
    )


@pytest.mark.parametrize("name", sorted(PICTURES))
def test_a_picture_that_was_deleted_is_drawn_again(analyze, out, name):
    before = (out / name).read_bytes()
    (out / name).unlink()
    said = analyze()
    assert (out / name).read_bytes() == before
    assert f"wrote {out}/{name} up to date: " in said
    assert name not in said.split("up to date")[1]


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_a_file_that_was_changed_is_made_again(analyze, out, name):
    before = (out / name).read_bytes()
    (out / name).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert f"wrote {out}/{name}" in analyze()
    assert (out / name).read_bytes() == before
    assert "wrote" not in analyze()


def test_pictures_that_were_not_asked_for_come_when_they_are(analyze, out, pictures_drawn, tmp_path):
    shutil.rmtree(out)
    assert "png" not in analyze("--no-plot")
    assert names(out) == OUTPUTS - PICTURES
    assert f"wrote {out}/convergence.png, trajectory.png" in analyze()
    assert sorted(pictures_drawn) == sorted(PICTURES)
    assert "wrote" not in analyze()
    assert "png" not in analyze("--no-plot")


def test_other_results_have_other_pictures(analyze, out, pictures_drawn):
    analyze("--tol", "probe=1%")
    assert sorted(pictures_drawn) == sorted(PICTURES)
    analyze()
    assert sorted(pictures_drawn) == sorted([*PICTURES, *PICTURES])


def test_numbers_without_pictures_in_between(analyze, out, pictures_drawn):
    """The pictures of other settings stay, and are known to be of others."""
    analyze("--tol", "probe=1%", "--no-plot")
    analyze("--tol", "probe=1%")
    assert sorted(pictures_drawn) == sorted(PICTURES)


@pytest.mark.parametrize("version", ["ptyconv", "matplotlib"])
def test_another_version_draws_them_again(analyze, out, pictures_drawn, monkeypatch, tmp_path, version):
    if version == "ptyconv":
        monkeypatch.setattr(outputs, "__version__", "0.2.0")
    else:
        (tmp_path / "matplotlib").mkdir()
        (tmp_path / "matplotlib" / "_version.py").write_text(f'version = "{matplotlib.__version__}.post1"')
        spec = type("Spec", (), {"origin": str(tmp_path / "matplotlib" / "__init__.py")})
        monkeypatch.setattr(outputs, "find_spec", lambda name: spec)
    analyze()
    assert sorted(pictures_drawn) == sorted(PICTURES)


def test_fresh_draws_them_again(analyze, out, pictures_drawn):
    analyze("--fresh")
    assert sorted(pictures_drawn) == sorted(PICTURES)


@pytest.mark.parametrize("damage", long_after(2, [b"", b"00000000 {}", b"[]", b"\x00\xff", b"7e2ab3ac []"]))
def test_a_damaged_note_on_pictures_is_as_none(analyze, out, pictures_drawn, damage):
    (out / ".ptyconv" / "pictures.json").write_bytes(damage)
    analyze()
    assert sorted(pictures_drawn) == sorted(PICTURES)
    assert "wrote" not in analyze()


def test_a_picture_that_could_not_be_drawn_is_tried_again(analyze, out, monkeypatch):
    (out / "trajectory.png").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("ptyconv_cli.pictures.trajectory.draw_trajectory", lambda *_: 1 / 0)
        assert "trajectory.png" not in analyze()
    assert f"wrote {out}/trajectory.png" in analyze()


def test_a_copy_of_the_results_is_up_to_date_too(ptyconv, out, pictures_drawn, tmp_path):
    shutil.copytree(out, tmp_path / "copy")
    for path in (tmp_path / "copy").iterdir():
        os.utime(path, (1e9, 1e9))
    result = ptyconv("analyze", runs.SAMPLE, "-o", tmp_path / "copy", *PROBE_ONLY)
    assert "wrote" not in result.stdout
    assert json.loads((tmp_path / "copy" / "convergence_report.json").read_bytes())["format"]
