"""What went wrong for people of the field: exit code, verdict, message and files written. The page on files says it."""

import json
from typing import NamedTuple

import cases
import pytest
from outputs import OUTPUTS, names, strict_json
from rarely import long_but


class Case(NamedTuple):
    """`code` of check; `state`, of which quantity, and `since` when; what is `said` by warnings or an error."""

    code: int
    state: str
    worst: str
    since: int | None
    said: str = ""


OVER = "Histories in the files start over"
CASES = {
    "frozen_tail": Case(3, "converging", "objp", None),
    "object_probe_nan": Case(3, "broken", "objp", 70, "The loss is NaN or infinity from iteration 70 on"),
    "one_voxel_nan": Case(
        3, "broken", "obja", 100, "obja holds NaN or infinity in the scanned region from iteration 100"
    ),
    "positions_infinite": Case(3, "broken", "probe_pos_shifts", 90, "probe_pos_shifts holds NaN or infinity"),
    "tilt_and_thickness_drift": Case(0, "converged", "objp", 6),
    "phase_only_unrecorded": Case(0, "converged", "objp", 6, "A mask is empty where many voxels share one value"),
    "probe_zero": Case(3, "broken", "probe", 70, "The probe has vanished: it holds no intensity from iteration 70 on"),
    "phaser_named_by_user": Case(3, "converging", "objp", None),
    "named_without_order": Case(1, "", "", None, "say how they are named, with a star for the iteration: --names"),
    "loss_recorded_twice": Case(3, "converging", "objp", None, OVER),
    "phaser_state_01": Case(3, "converging", "objp", None),
    "pt_int32": Case(3, "converging", "objp", None, "objp_bg is 0 throughout"),
    "filter_blosc": Case(3, "converging", "objp", None),
    "resumed_and_converged": Case(0, "converged", "objp", 10),
    "one_scan_position": Case(4, "insufficient", "objp", None, "obja, objp, probe_pos_shifts: too few to align"),
}
OF_TENSORS = {
    "frozen_tail": dict.fromkeys(cases.TENSORS, ("not optimised", 84)),
    "object_probe_nan": dict.fromkeys(("obja", "objp", "probe"), ("broken", 70)),
    "phase_only_unrecorded": {"obja": ("not optimised", 6)},
    "tilt_and_thickness_drift": {"tilt": ("drifting", None), "thickness": ("drifting", None), "obja": ("converged", 6)},
}
"""Where the states of the single tensors matter, and since when."""


@pytest.fixture
def built(tmp_path):
    def build(name):
        if name == "filter_blosc":
            pytest.importorskip("hdf5plugin")
        getattr(cases, name)(tmp_path / name)
        return tmp_path / name

    return build


OFTEN = (
    *("object_probe_nan", "tilt_and_thickness_drift", "phase_only_unrecorded", "named_without_order"),
    *("pt_int32", "resumed_and_converged", "one_scan_position"),
)


@pytest.mark.parametrize("name", long_but(CASES, *OFTEN))
def test_the_verdict(ptyconv, built, name):
    expected, result = CASES[name], ptyconv("check", "--json", built(name))
    said = " ".join(result.stderr.split())
    assert result.exit_code == expected.code, said
    assert expected.said in said
    assert said.count(expected.said) <= 1 or not expected.said, "said once"
    if not expected.state:
        assert said.startswith("Error: ")
        return
    verdict = json.loads(result.stdout)
    assert (verdict["state"], verdict["worst"], verdict["since"]) == (expected.state, expected.worst, expected.since)
    for quantity, state in OF_TENSORS.get(name, {}).items():
        found = verdict["doublings"][quantity]
        assert (found["state"], found["since"]) == state, quantity
    if not expected.said:
        assert said == ""


def test_what_drifts_beside_an_object_that_has_converged_is_said_and_counts_if_all_is_asked_for(ptyconv, built):
    result = ptyconv("check", "--all", built("tilt_and_thickness_drift"))
    said = " ".join(result.stdout.split())
    assert result.exit_code == 3
    assert said.startswith("converged since iteration 6: ")
    assert "The object tilt still moves, by 3 mrad per doubling (0.1 mrad tolerated)" in said
    assert "The slice thickness still moves, by 19 % of itself per doubling (1 % tolerated)" in said


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("name", long_but(CASES, "object_probe_nan", "named_without_order", "one_scan_position"))
def test_the_files_written(ptyconv, built, tmp_path, name):
    written(ptyconv, built, tmp_path, name)


DRAWN = [name for name, case in CASES.items() if case.state]


@pytest.mark.long
@pytest.mark.parametrize("name", DRAWN)
def test_pictures_are_drawn_of_all_of_them(ptyconv, built, tmp_path, name):
    written(ptyconv, built, tmp_path, name)


def written(ptyconv, built, tmp_path, name):
    expected, result = CASES[name], ptyconv("analyze", built(name), "-o", tmp_path / "out")
    assert result.exit_code == (0 if expected.state else 1)
    if not expected.state:
        assert not (tmp_path / "out").exists()
        return
    assert names(tmp_path / "out") == OUTPUTS
    report = strict_json(tmp_path / "out" / "convergence_report.json")
    assert report["verdict"]["state"] == expected.state
    assert expected.said in " ".join(report["warnings"])
