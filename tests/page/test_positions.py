"""Where scan positions went, as the viewer draws it."""

import numpy as np
import pytest
import runs
from frames import frames_in, seen_in
from maps import maps_in, planted_run

from ptyconv_cli.page.images import positions_data


def registration_of(run_dir):
    frames = frames_in(run_dir, ("probe_pos_shifts",))
    seen = seen_in(frames)
    return [[seen[header.niter][0] for header in part] for part in frames.chosen]


def test_they_are_those_of_the_maps():
    data = positions_data(registration_of(runs.SAMPLE))
    expected = maps_in(runs.SAMPLE, begin=60, at=120)
    assert np.allclose(data["half"][-1], expected.displacements[:, ::-1], rtol=1e-3)
    assert np.allclose(data["places"][0], expected.positions[:, ::-1], rtol=1e-3)
    assert data["rms"]["half"][-1] == pytest.approx(np.sqrt((expected.displacements**2).sum(1).mean()), rel=1e-3)
    assert np.allclose(data["moved"][-1], maps_in(runs.SAMPLE, begin=10, at=120).displacements[:, ::-1], rtol=1e-3)
    assert not np.any(data["last"][-1])
    assert data["rms"]["last"][-1] == 0
    assert (data["all"], data["shown"], data["part"]) == (120, 120, [0] * 12)


def test_of_many_only_some():
    """Spread evenly, and each with its own displacement."""
    data, whole = (positions_data(registration_of(runs.SAMPLE), most) for most in (30, 300))
    assert data["all"] == 120
    assert 20 <= data["shown"] <= 30
    assert {len(of_one) for kind in ("moved", "last") for of_one in data[kind]} == {data["shown"]}
    moved_at = dict(zip(map(tuple, whole["places"][0]), whole["moved"][-1], strict=True))
    for place, moved in zip(data["places"][0], data["moved"][-1], strict=True):
        assert moved == moved_at[tuple(place)]
    (x, y), (all_x, all_y) = (np.array(one["places"][0]).T for one in (data, whole))
    assert np.ptp(x) > 0.7 * np.ptp(all_x)
    assert np.ptp(y) > 0.7 * np.ptp(all_y)


def test_across_a_boundary_nothing_is_compared():
    data = positions_data(registration_of(runs.DATA / "phaser" / "lsqml"))
    assert data is None or [move is None for move in data["last"]] == [
        part != data["part"][-1] for part in data["part"]
    ]


def test_without_positions():
    frames = frames_in(runs.SAMPLE, ("objp",))
    assert positions_data([[frame for frame, _ in seen_in(frames).values()]]) is None
    assert positions_data([]) is None


def test_one_that_is_not_finite_spoils_what_is_compared_with_it(tmp_path):
    def plant(tensors):
        tensors["probe_pos_shifts"][7] = np.nan

    data = positions_data(registration_of(planted_run(tmp_path / "run", plant)))
    assert set(data["moved"][-1]) == {None}
    assert data["rms"]["moved"] == [0, None]
    assert data["stretch"] == {"moved": 1.0, "last": 1.0, "half": 1.0}


def test_arrows_reach_to_the_next_position(tmp_path):
    def plant(tensors):
        tensors["probe_pos_shifts"][::2] += (0.01, 0)

    data = positions_data(registration_of(planted_run(tmp_path / "run", plant)))
    assert data["stretch"]["moved"] == 500  # 0.75 Å apart, moved by 0.00125 Å


def test_arrows_are_as_long_as_they_may_be_where_most_moved():
    """Not where next to nothing did, as late at a rate that goes to 0: the early ones would cross the whole page."""
    data = positions_data(registration_of(runs.ALL["cosine_lr"]))
    (places,) = data["places"]
    apart = np.sqrt(np.prod(np.ptp(places, axis=0)) / len(places))
    for kind in ("moved", "last", "half"):
        far = [np.percentile(np.hypot(*np.transpose(of_frame)), 95) for of_frame in data[kind] if of_frame]
        assert 0.3 * apart < data["stretch"][kind] * max(far) < 1.6 * apart


def test_rounding_is_no_displacement(tmp_path):
    def plant(tensors):
        tensors["probe_pos_shifts"][::2] += (1e-9, 0)

    assert positions_data(registration_of(planted_run(tmp_path / "run", plant)))["stretch"]["moved"] == 1
