"""The picture of ring correlations."""

import frc as invented
import numpy as np
import pytest
from rarely import long_after

from ptyconv_cli import frc
from ptyconv_cli.pictures.frc import MOST_CURVES, draw_frc


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("runs"), np.random.default_rng(1)
    runs = []
    for name in ("a", "b"):
        images = {
            niter: invented.scene((20, 24))[None] + niter / 300 * random.normal(size=(1, 20, 24))
            for niter in range(10, 410, 10)
        }
        runs.append(invented.write_run(folder / name, images))
    return frc(*runs)


def panels(drawn):
    return {axes.get_ylabel() or axes.get_title(): axes for axes in drawn[-1].axes}


def test_what_the_panels_show(figures, of_two):
    draw_frc(of_two, "png")
    found = panels(figures)
    curves = found["ring correlation"]
    *shown, threshold = curves.lines
    assert 12 < len(shown) <= MOST_CURVES
    assert shown[0].get_ydata().tolist() == of_two.points[0].frc
    assert shown[-1].get_ydata().tolist() == of_two.points[-1].frc
    assert threshold.get_ydata().tolist() in [point.threshold for point in of_two.points]
    assert threshold.get_label() == "threshold: one-bit"
    assert curves.get_xlabel() == "detail (Å)"
    for place, label in zip(curves.get_xticks(), curves.get_xticklabels(), strict=True):
        assert place == pytest.approx(1 / float(label.get_text()))
    assert found["iteration"].get_yticklabels()[0].get_text() == "10"
    resolution = found["down to (Å)"].lines[0]
    assert resolution.get_ydata().tolist() == [point.resolution for point in of_two.points if point.resolution]
    area, best, correlation, _ = found["How alike the pictures are"].lines
    assert area.get_ydata().tolist() == [point.area for point in of_two.points]
    assert best.get_xdata().tolist() == [of_two.best_by_area.niter]
    assert correlation.get_ydata().tolist() == [point.correlation for point in of_two.points]


@pytest.mark.parametrize("file_format", long_after(1, ["png", "pdf", "svg"]))
def test_formats(of_two, file_format):
    assert draw_frc(of_two, file_format)[:4] in (b"\x89PNG", b"%PDF", b"<?xm")


def test_of_a_single_pair(drawn, tmp_path):
    image = invented.scene((20, 24))[None]
    run = invented.write_run(tmp_path / "run", {10: image, 20: image + 0.1})
    draw_frc(frc(run), "png")
    found = panels(drawn)
    assert len(found["ring correlation"].lines) == 2
    assert "iteration" not in found


def test_where_there_is_nothing_to_draw(drawn, tmp_path):
    random = np.random.default_rng(1)
    run = invented.write_run(tmp_path / "run", {n: random.normal(size=(1, 20, 24)) for n in (10, 20)})
    draw_frc(frc(run, threshold=0.99), "png")
    texts = [text.get_text() for text in panels(drawn)["down to (Å)"].texts]
    assert texts == ["nothing is above it"]
