"""Drawings as they are on a page: without styles of their own, in its colours, and each with its own names."""

import re
import warnings
from base64 import b64decode
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
import runs
from browser import browser, needs_a_browser
from click.testing import CliRunner
from evidence import FOLDER as TRUTH
from evidence import folders_in
from phantoms import atoms
from PIL import Image
from rarely import long_after

from ptyconv_cli.analysis.maps import maps_of_run
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.cli.main import main
from ptyconv_cli.page.drawings import (
    COLOURS,
    changes_section,
    inline,
    loss_panel,
    maps_section,
    trajectory_section,
)
from ptyconv_cli.page.run_page import FOLDER
from ptyconv_cli.pictures.drawing import STYLES
from ptyconv_cli.pictures.maps import shows_masks
from ptyconv_cli.pictures.mpl import Figure, colormaps, letters_as_text, the_same_for_everyone


@pytest.fixture(scope="module")
def maps():
    asked = Selection(None, None, None, True)
    return maps_of_run(runs.ATOMS, asked, percentile_range=(15, 85), device="cpu")


@pytest.fixture(scope="module")
def sections(maps):
    results = runs.analysis_of(runs.ATOMS).results
    return [changes_section(results, 1), trajectory_section(results, 1), maps_section(maps, 1)]


def drawings_of(sections):
    return [panel.svg for section in sections for group in section.groups for panel in group.panels]


@the_same_for_everyone
def drawn(draw):
    """What a figure looks like that `draw` has drawn."""
    figure = Figure(figsize=(2, 2), dpi=100)
    draw(figure.add_axes((0, 0, 1, 1)))
    content = BytesIO()
    with letters_as_text():
        figure.savefig(content, format="svg")
    return content.getvalue()


def test_all_that_there_is_to_see_of_a_run_is_there(sections):
    changes, trajectory, of_maps = sections
    assert [panel.title for panel in changes.groups[0].panels] == [
        "Object amplitude",
        "Object phase",
        "Learning rate",
        "Probe intensity",
        "Scan positions",
    ]
    assert [group.title for group in trajectory.groups] == [
        "Object amplitude",
        "Object phase",
        "Probe intensity",
        "Scan positions",
    ]
    assert {len(group.panels) for group in trajectory.groups} == {3}
    assert len(of_maps.groups[0].panels) == 6
    assert of_maps.groups[1].small
    assert [panel.title for panel in of_maps.groups[1].panels][-2:] == ["180 to 200", ""]


def test_since_when_it_has_converged_is_written_once(sections):
    """At the loss, and below the changes: in small panels it would lie on the curves."""
    results = runs.analysis_of(runs.ATOMS).results
    assert "converged since 20" in loss_panel(results, 1).svg
    assert "converged since" not in "".join(drawings_of(sections))
    assert sections[0].text.endswith("Dotted: converged since 20.")


def test_the_numbers_of_a_drawing_are_those_of_the_run():
    """The last loss in the legend, and the curve's ends where the axis has them."""
    results = runs.analysis_of(runs.ATOMS).results
    svg = loss_panel(results, 1).svg
    assert ">last 0.197<" in svg
    loss = dict(results.engine.loss)
    curve = max(re.findall(r' d="(M [^"]*)"', svg), key=len)
    heights = [float(y) for _, y in re.findall(r"[ML] (\S+) (\S+)", curve)]
    axis = {float(text): float(y) for y, text in re.findall(r'<text[^>]* y="([\d.]+)"[^>]*>(0\.\d+)</text>', svg)}
    assert len(axis) > 2
    slope, at_zero = np.polyfit(list(axis), list(axis.values()), 1)
    values = [(height - at_zero) / slope for height in (heights[0], heights[-1])]
    # Labels stand a little below their places: the same for all, so that differences are exact.
    assert values[0] - values[1] == pytest.approx(loss[1] - loss[200], rel=0.01)


def test_a_page_may_show_them(sections):
    """Its policy forbids styles and addresses; names are there once, and what is named is there."""
    page = "".join(drawings_of(sections))
    assert "style" not in page
    assert "http" not in page
    assert "<metadata" not in page
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names))
    found = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)
    assert len(found) > 50
    assert {one or other for one, other in found} <= set(names)


def test_their_colours_are_the_pages(sections):
    page, style = "".join(drawings_of(sections)), (FOLDER / "page.css").read_text()
    for colour, name in COLOURS.items():
        assert f'"{colour}"' not in page
        for where in ("fill", "stroke"):
            assert f".{where}-{name} {{ {where}: var(--{name}); }}" in style
    assert style.count("--first:") == 2, "light and dark"
    assert 'class="stroke-first"' in page


def test_each_line_has_the_colour_of_its_own_name():
    styles = [colour for colour, _ in STYLES]
    svg = inline(drawn(lambda axes: [axes.plot([0, 1], [k, k], color=one) for k, one in enumerate(styles)]), "a", "b")
    names = re.findall(r'class="stroke-(first|second|third|fourth|fifth|sixth)"', svg)
    assert names == ["first", "second", "third", "fourth", "fifth", "sixth"]


def test_numbers_keep_two_digits():
    svg = inline(drawn(lambda axes: axes.plot([0.123456, 0.654321], [0.2, 0.8], color="#0072B2")), "a", "b")
    before = drawn(lambda axes: axes.plot([0.123456, 0.654321], [0.2, 0.8], color="#0072B2")).decode()
    (path,) = re.findall(r'd="(M [^"]*)"[^>]*class="stroke-first"', svg)
    numbers = [float(one) for one in re.findall(r"-?[\d.]+", path)]
    (exact,) = re.findall(r'd="(M [^"]*)"[^>]*stroke: #0072b2', before)
    assert numbers == pytest.approx([float(one) for one in re.findall(r"-?[\d.]+", exact)], abs=0.0051)


def test_the_ends_of_a_grey_bar_stay_black_and_white(sections):
    """Also on a dark page, where what is written in black is light."""
    (image,) = (panel.svg for panel in sections[2].groups[0].panels if panel.title.startswith("Object phase"))
    triangles = re.findall(r'<path d="M [^"]*" fill="(#[0-9a-f]+)"', image)
    assert {"#fefefe", "#010101"} <= set(triangles)


def test_characters_that_xml_forbids_are_replaced():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        svg = inline(drawn(lambda axes: axes.text(0, 0, "a\x01b\ufffec", parse_math=False)), "a", "b")
    assert "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c" in svg


def test_what_is_text_stays_text():
    bad = "<b>&\"'</b></svg><script>"
    svg = str(inline(drawn(lambda axes: axes.text(0, 0, bad, parse_math=False)), "a", bad))
    assert "<b>" not in svg
    assert "<script" not in svg
    assert svg.count("</svg>") == 1
    assert "&lt;b&gt;&amp;\"'&lt;/b&gt;&lt;/svg&gt;&lt;script&gt;" in svg


def image_in(svg):
    (address,) = re.findall(r'"data:image/\w+;base64,([^"]+)"', svg)
    with Image.open(BytesIO(b64decode(address))) as image:
        return np.asarray(image.convert("RGBA"), int)


@pytest.mark.parametrize("several", [False, True])
def test_images_are_what_they_were(several):
    """Of a colour map exactly, of more colours nearly; and where nothing is known one sees through."""
    values = np.random.default_rng(0).uniform(0, 1, (40, 40))
    values[:10] = np.nan
    colours = colormaps["inferno"](values)
    if several:
        colours[..., :3] = colours[..., :3] * np.linspace(0.5, 1, 40)[:, None]

    svg = drawn(lambda axes: axes.imshow(colours if several else values, cmap="inferno", vmin=0, vmax=1))
    before, after = image_in(svg.decode()), image_in(inline(svg, "a", "b"))
    assert np.array_equal(before[..., 3], after[..., 3])
    assert 0 < (after[..., 3] == 0).mean() < 0.5
    assert len(inline(svg, "a", "b")) < len(svg)
    far = np.abs(before - after)[before[..., 3] > 0]
    assert far.max() == 0 if not several else far.mean() < 12


def test_outlines_do_not_hide_a_small_image(maps):
    assert not any(shows_masks(found) for found in maps.objects.values())
    assert "foreground" not in "".join(drawings_of([maps_section(maps, 1)]))
    large = np.zeros((200, 200))
    large[50:150, 50:150] = 1
    found = SimpleNamespace(foreground=large, background=1 - large, change=atoms((200, 200)))
    assert shows_masks(found)


def page_of(run, folder):
    page, results = folder / f"{run.name}.html", folder / run.name
    CliRunner().invoke(
        main, ["report", str(run), "--results", str(results), "-o", str(page), "-q"], catch_exceptions=False
    )
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(runs.ATOMS, tmp_path_factory.mktemp("page"))


CUT = """return [...document.querySelectorAll(".drawing")].flatMap(svg => {
    const whole = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].filter(text => {
        const box = text.getBoundingClientRect();
        return box.left < whole.left - 1 || box.right > whole.right + 1 || box.bottom > whole.bottom + 1;
    }).map(text => `${text.textContent} of ${svg.getAttribute("aria-label")}`);
})"""
"""Which words are cut at an edge of their drawing."""

LETTERS = """return [...document.querySelectorAll(".drawing")].flatMap(svg => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    return [...svg.querySelectorAll("text")].map(text => scale * parseFloat(getComputedStyle(text).fontSize));
})"""


@needs_a_browser()
@pytest.mark.parametrize("width", [400, 1280])
def test_they_can_be_read_on_the_page(page, width):
    with browser() as chromium:
        chromium.open(page, width)
        letters = chromium.do(LETTERS)
        assert len(letters) > 300
        assert min(letters) > 8.5, "px"
        assert chromium.do("return document.documentElement.scrollWidth") <= width
        inside = """return [...document.querySelectorAll(".drawing")].every(one => {
            const box = one.getBoundingClientRect(), around = one.closest("section").getBoundingClientRect();
            return box.left >= around.left && box.right <= around.right;
        })"""
        assert chromium.do(inside)
        assert chromium.do(CUT) == []
        assert chromium.messages() == []


@needs_a_browser()
@pytest.mark.parametrize(
    "name",
    long_after(1, ["ptyrad_two_modes", "cdtools_p25_halfA", "phaser_lsqml_lo_pos", "ptypy_epie_lo", "quantem_docs"]),
)
def test_no_words_are_cut_whatever_the_numbers(tmp_path, name):
    with browser() as chromium:
        chromium.open(page_of(folders_in(TRUTH)[name], tmp_path), 1280)
        assert chromium.do(CUT) == []


@needs_a_browser()
def test_the_loss_is_on_the_first_screen(page):
    with browser() as chromium:
        chromium.open(page, 1280)
        assert chromium.do("return document.querySelector('.drawing').getBoundingClientRect().bottom") < 900
        assert "loss 0.1973" in chromium.text(".about")


@needs_a_browser()
def test_they_are_dark_where_the_page_is(page):
    colour = "return getComputedStyle(document.querySelector('.drawing text')).fill.match(/\\d+/g).map(Number)"
    with browser() as chromium:
        chromium.open(page, 1280)
        assert max(chromium.do(colour)) < 128
        chromium.open(page, 1280, dark=True)
        assert min(chromium.do(colour)) > 128
