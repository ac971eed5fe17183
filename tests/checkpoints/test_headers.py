"""Headers of many files: what they have in common is in memory once, and what was read is not read again."""

import runs

from ptyconv_cli.checkpoints import headers as checkpoint_headers
from ptyconv_cli.checkpoints.headers import read_headers
from ptyconv_cli.checkpoints.opening import snapshots_in

FILES = [source for path in sorted(runs.SAMPLE.glob("*.hdf5")) for source in snapshots_in(path)]


def test_equal_arrays_are_shared():
    found, _ = read_headers(FILES, ("objp",), strict=True)
    latest = found[-1]
    for header in found[:-1]:
        assert header.crop_pos is latest.crop_pos
        assert header.scan is latest.scan
        assert header.loss.base is latest.loss or header.loss.base is latest.loss.base
        assert len(header.loss) == header.niter


def test_headers_that_were_seen_are_not_read_again(monkeypatch):
    seen, read = {}, []
    first, _ = read_headers(FILES[:-1], ("objp",), strict=True, seen=seen)
    once = checkpoint_headers.read_header
    monkeypatch.setattr(
        checkpoint_headers, "read_header", lambda source, names: [read.append(source), once(source, names)][1]
    )
    again, _ = read_headers(FILES, ("objp",), strict=True, seen=seen)
    assert read == FILES[-1:]
    assert [header.niter for header in again[:-1]] == [header.niter for header in first]
    assert [header.loss.tolist() for header in again[:-1]] == [header.loss.tolist() for header in first]
    assert all(header.crop_pos is again[-1].crop_pos for header in again)


def test_a_file_that_changed_is_read_again(tmp_path):
    seen = {}
    path = tmp_path / FILES[0].path.name
    path.write_bytes(FILES[0].path.read_bytes())
    before, _ = read_headers(snapshots_in(path), ("objp",), strict=True, seen=seen)
    path.write_bytes(FILES[1].path.read_bytes())
    after, _ = read_headers(snapshots_in(path), ("objp",), strict=True, seen=seen)
    assert (before[0].niter, after[0].niter) == (10, 20)
