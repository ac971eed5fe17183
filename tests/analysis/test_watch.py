"""Which files of a run that is being written are taken."""

import fcntl
import shutil

import h5py
from ptyrad_names import TENSORS
from toy import write_run

from ptyconv_cli.analysis.follow import RETRY, Watch


def names(files) -> list[str]:
    return sorted(path.name for path in files)


def test_a_file_is_taken_when_it_has_been_the_same_twice(tmp_path):
    watch = Watch(tmp_path / "run", TENSORS)
    assert watch.look() == {}
    write_run(tmp_path / "run", [2, 4])
    assert (names(watch.look()), watch.unchanged) == ([], 0)
    assert (names(watch.look()), watch.unchanged) == (["model_iter0002.hdf5", "model_iter0004.hdf5"], 1)
    with h5py.File(tmp_path / "run" / "model_iter0004.hdf5", "r+") as file:
        file.attrs["provenance_json"] = "{}" * 1000
    assert (names(watch.look()), watch.unchanged) == (["model_iter0002.hdf5"], 0)
    assert (watch.growing, watch.problems) == ([tmp_path / "run" / "model_iter0004.hdf5"], {})
    assert len(watch.look()) == 2
    shutil.rmtree(tmp_path / "run")
    assert (watch.look(), watch.problems, watch.trouble) == ({}, {}, "waiting for the folder")


def test_a_file_is_not_taken_before_all_is_in_it(tmp_path):
    write_run(tmp_path, [2, 4])
    path = tmp_path / "model_iter0004.hdf5"
    whole = path.read_bytes()
    watch = Watch(tmp_path, TENSORS)
    for content in (b"", whole[:4000]):
        path.write_bytes(content)
        watch.look()
        assert names(watch.look()) == ["model_iter0002.hdf5"]
        assert watch.problems[path]
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        del file["optimizable_tensors/probe_pos_shifts"]
    watch.look()
    assert names(watch.look()) == ["model_iter0002.hdf5"]
    assert watch.problems[path].startswith("has no tensor probe_pos_shifts")
    watch = Watch(tmp_path, ["objp"])
    watch.look()
    assert len(watch.look()) == 2, "it is whole for those who don't ask for positions"


def test_a_lock_that_is_let_go_is_noticed(tmp_path):
    """Size and time stay what they were."""
    write_run(tmp_path, [2])
    watch = Watch(tmp_path, TENSORS)
    with (tmp_path / "model_iter0002.hdf5").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for _ in range(3):
            assert watch.look() == {}
        assert "lock" in watch.problems[tmp_path / "model_iter0002.hdf5"]
    assert any(watch.look() for _ in range(RETRY))


def test_other_files_and_dead_links_are_nothing(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "model_iter0002.hdf5").symlink_to(tmp_path / "gone")
    watch = Watch(tmp_path, TENSORS)
    watch.look()
    assert (watch.look(), watch.files) == ({}, {})
