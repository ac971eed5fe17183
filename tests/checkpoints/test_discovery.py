"""Which runs lie below a folder."""

from ptyconv_cli.checkpoints.discovery import find_runs


def test_runs_are_found_at_any_depth_each_once(output_folder):
    found = find_runs(output_folder)
    assert [str(run.relative_to(output_folder)) for run in found.runs] == ["b", "deeper/down/a", "single"]
    assert not found.collated


def test_links_to_runs_are_followed(output_folder, tmp_path):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "of_b").symlink_to(output_folder / "b")
    assert [run.name for run in find_runs(tmp_path / "links").runs] == ["of_b"]
