"""Where a curve bends."""

from ptyconv_cli.pictures.panels import knee


def test_knee():
    assert knee([(0, 10.0), (1, 1.0), (2, 0.9), (10, 0.0)]) == 1
    assert knee([(0, 3.0), (1, 2.0), (2, 1.0)]) is None
    assert knee([(0, 1.0), (1, 1.0), (2, 1.0)]) is None
    assert knee([(3, 1.0), (4, float("nan"))]) is None
