"""The file that holds ring correlations."""

import json
import math
from dataclasses import replace

import pytest
from frc import POINT, of

from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.results.frc import frc_json, holds_frc, read_frc


def test_it_is_read_as_it_was_written(tmp_path):
    broken = replace(POINT, niter=800, frc=[math.nan] * 4, area=math.nan, correlation=math.nan, resolution=None)
    written = of(POINT, broken, runs=2, warnings=["a < b"], ptyconv_version="0.1")
    (tmp_path / "frc.json").write_bytes(frc_json(written))
    found = read_frc(tmp_path / "frc.json")
    assert repr(found) == repr(written)  # NaN is no equal of itself
    assert holds_frc(tmp_path / "frc.json")
    (tmp_path / "other.json").write_text('{"format": 5}')
    assert not holds_frc(tmp_path / "other.json")
    assert not holds_frc(tmp_path / "gone.json")
    with pytest.raises(PtyconvError, match="written by another version of ptyconv"):
        read_frc(tmp_path / "other.json")


@pytest.mark.parametrize(
    "damage",
    [
        {"names": []},
        {"names": ["a", "b", "c"], "runs": ["a", "b", "c"]},
        {"slice": 7},
        {"dx_angstrom": 0},
        {"threshold": "2"},
        {"tensor": "probe"},
        {"points": []},
        {"point": {"resolution_angstrom": -1}},
        {"point": {"resolution_angstrom": 0}},
        {"point": {"ring_width_per_angstrom": 0}},
        {"point": {"frc": [2, 0, 0, 0]}},
        {"point": {"threshold": [0.5]}},
        {"point": {"niter": 100}},
        {"point": {"niter": 10**12}},
    ],
)
def test_what_cannot_be_is_not_read(tmp_path, damage):
    content = json.loads(frc_json(of(replace(POINT, niter=100, other=50), POINT)))
    if "point" in damage:
        content["points"][1] |= damage["point"]
    content |= {key: value for key, value in damage.items() if key != "point"}
    (tmp_path / "frc.json").write_text(json.dumps(content))
    with pytest.raises(PtyconvError, match="holds no ring correlations of ptyconv"):
        read_frc(tmp_path / "frc.json")
