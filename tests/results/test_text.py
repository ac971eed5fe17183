"""Text of results."""

from ptyconv_cli.results.text import told_apart


def test_names_stay_different_when_they_are_shortened():
    names = [f"hypertune_TPESampler_loss/t{n:04d}_full_N144_dp32_random16_p2_1obj_2slice_dz4" for n in range(30)]
    short = told_apart([*names, "short"], 26)
    assert len(set(short)) == 31
    assert max(map(len, short)) <= 26
    assert short[-1] == "short"
    assert told_apart(["a" * 40, "a" * 40], 10)[0] == told_apart(["a" * 40, "a" * 40], 10)[1]
