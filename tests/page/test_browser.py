"""The page in a real browser: Chromium, headless."""

import re
import shutil
from contextlib import nullcontext
from itertools import product

import brute_force
import h5py
import numpy as np
import pytest
import runs
from blank import blank_pictures
from browser import browser, needs_a_browser
from click.testing import CliRunner
from maps import maps_in, planted_run
from phantoms import two_mode_run
from rarely import long_after, long_but
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from ptyconv_cli.cli.main import main

pytestmark = needs_a_browser()

HOSTILE = "<script>alert(1)<"
"""A folder's name cannot hold the slash that would end the element."""


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


def report(run_dir, page, drawn=False):
    """Make a page, of which the pictures are blank, but for those of the viewer, where they are not `drawn`."""
    with nullcontext() if drawn else blank_pictures():
        result = CliRunner().invoke(main, ["report", str(run_dir), "-o", str(page), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    return page


def hostile(folder):
    """The sample run in a folder whose name, like an attribute in its files, is a script; one file is left out."""
    run_dir = shutil.copytree(runs.SAMPLE, folder / HOSTILE)
    (run_dir / "model_iter0050.hdf5").rename(run_dir / "model_iter0055<img src=x onerror=alert(1)>.hdf5")
    for path in run_dir.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            del file["ptyrad_version"]
            file["ptyrad_version"] = "</script><script>alert(2)</script>"
    return run_dir


class Pages(dict):
    """The pages of all kinds of runs, each of which is made when it is asked for."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __missing__(self, name):
        copies = {
            "sample": runs.SAMPLE,
            "cosine_lr": runs.ALL["cosine_lr"],
            "phaser": runs.DATA / "phaser" / "epie_resize",
            "study": runs.DATA / "hypertune" / "collated_and_trials",
        }
        if name == "two_mode":
            (self.folder / name).mkdir()
            run_dir = two_mode_run(self.folder / name)
        else:
            run_dir = shutil.copytree(copies[name], self.folder / name) if name in copies else hostile(self.folder)
        self[name] = report(run_dir, self.folder / f"{name}.html", drawn=name == "sample")
        return self[name]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return Pages(tmp_path_factory.mktemp("pages"))


ALL = ("sample", "cosine_lr", "two_mode", "phaser", "study", "hostile")


@pytest.mark.parametrize(
    ("name", "width"),
    long_but(product(ALL, (1280, 400)), ("sample", 1280), ("sample", 400), ("study", 400), ("hostile", 1280)),
)
def test_a_page_loads_without_a_message_or_a_request_and_fits_the_window(chromium, pages, name, width):
    chromium.open(pages[name], width, dark=width == 400)
    if name == "study":
        chromium.do("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        chromium.wait()
    assert chromium.messages() == []
    assert chromium.requests() == [pages[name].as_uri()]
    assert chromium.do("return document.documentElement.scrollWidth") == width
    assert len(set(map(tuple, chromium.pixels("left")))) > 10
    unsaid = "return [...document.images].filter((one) => !one.alt || !one.complete || !one.naturalWidth).length"
    assert chromium.do(unsaid) == 0
    assert chromium.do("return [...document.querySelectorAll('canvas.image')].every((one) => one.ariaLabel)")


def test_messages_and_requests_are_seen(chromium, pages, tmp_path):
    """The test above can fail: a script or a picture that the page's policy forbids leaves a message."""
    page = tmp_path / "page.html"
    text = (
        pages["sample"].read_text().replace("</main>", "<script>alert(1)</script><img src='http://a.b/c.png'></main>")
    )
    page.write_text(text)
    chromium.open(page)
    messages = " ".join(chromium.messages())
    assert "script-src" in messages
    assert "img-src" in messages
    assert "http://a.b/c.png" in chromium.requests()  # which was blocked on its way


def test_the_slider_changes_the_picture(chromium, pages):
    chromium.open(pages["sample"])
    assert chromium.text("[data-pane=left] .title") == "Object phase, iteration 120"
    last = chromium.pixels("left")
    chromium.choose("slider", 0)
    assert chromium.text("[data-pane=left] .title") == "Object phase, iteration 10"
    assert chromium.pixels("left") != last
    chromium.choose("slider", 11)
    assert chromium.pixels("left") == last


def test_the_difference_at_the_last_iteration_is_blank(chromium, pages):
    chromium.open(pages["sample"])
    chromium.choose("beside", "last")
    assert len(set(map(tuple, chromium.pixels("right")))) == 1
    assert "the last checkpoint itself" in chromium.text("[data-pane=right]")
    chromium.choose("slider", 5)
    assert len(set(map(tuple, chromium.pixels("right")))) > 10
    assert chromium.text("[data-pane=right] .title") == "Object phase: iteration 60 − iteration 120"


LIGHT = [(5, 48, 97), (33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43), (103, 0, 31)]
"""The colours of differences from the most negative to the most positive: ColorBrewer's RdBu, from its blue end."""


def colours_of(shares):
    """The colours of differences, which are given as shares of what the scale reaches to."""
    return np.stack([np.interp(shares, np.linspace(-1, 1, 7), channel) for channel in np.transpose(LIGHT)], -1)


@pytest.mark.parametrize("scale", long_after(1, [0.3, 0.03]))
def test_the_difference_is_that_of_brute_force_through_the_colours(chromium, pages, scale):
    now, before = (runs.stored(runs.SAMPLE / f"model_iter{niter:04d}.hdf5")[0] for niter in (30, 120))
    difference = brute_force.residual(*brute_force.difference("objp", now["objp"], before["objp"])).sum(1).mean(0)
    chromium.open(pages["sample"])
    chromium.choose("beside", "last")
    chromium.choose("slider", 2)
    chromium.choose("scale", scale)
    low, high = (chromium.text(f"[data-pane=right] .{end}") for end in ("low", "high"))
    reach = float(re.match(r"[\d.]+", high)[0])
    assert low.startswith(f"−{reach:g}")
    assert high == f"{reach:g} rad"
    phase_low, phase_high = (
        float(chromium.text(f"[data-pane=left] .{end}").split()[0].replace("−", "-")) for end in ("low", "high")
    )
    assert reach == pytest.approx(scale * (phase_high - phase_low), rel=0.01)
    shown = np.reshape(chromium.pixels("right"), (*difference.shape, 3))
    # A picture's levels are the roots of the share of the whole range: half a level is that much of the scale.
    half_a_level = (np.sqrt(np.abs(difference) * scale / reach) / 127 + 1 / (4 * 127**2)) / scale
    shares = difference / reach
    expected = colours_of(shares)
    near = np.max([np.abs(colours_of(shares + sign * half_a_level) - expected) for sign in (-1, 1)], axis=0)
    assert (np.abs(shown - expected) <= near + 4).all()
    signs = np.sign(shown[..., 0] - shown[..., 2])
    far = np.abs(shares) > 0.1
    assert far.sum() > 20
    assert (signs[far] == np.sign(difference)[far]).all()


@pytest.mark.parametrize("width", long_after(1, [1280, 400]))
def test_the_scale_bar_is_as_long_as_it_says(chromium, pages, width):
    tensors, dx = runs.stored(runs.SAMPLE / "model_iter0120.hdf5")
    whole = {"objp": dx * tensors["objp"].shape[-1], "probe": dx * tensors["probe"].shape[-1]}
    chromium.open(pages["sample"], width)
    for what, extent in whole.items():
        chromium.choose("what", what)
        for side in ("left", "right"):
            length = float(chromium.text(f"[data-pane={side}] .length").removesuffix(" Å"))
            assert share_of_the_stage(chromium, side) == pytest.approx(length / extent, rel=0.01)


@pytest.mark.long
def test_the_scale_bar_of_positions_is_as_long_as_it_says(chromium, planted):
    """The dots are its measure: the first and the last of a row are 27 px, or 6.75 Å, apart."""
    for side in ("left", "right"):
        length = float(chromium.text(f"[data-pane={side}] .length").removesuffix(" Å"))
        canvas = canvas_of(chromium, side)
        assert share_of_the_stage(chromium, side) == pytest.approx(
            length * canvas.scale / canvas.red.shape[1], rel=0.01
        )


def share_of_the_stage(chromium, side):
    """How much of a picture's width its scale bar takes."""
    return chromium.do(
        "const pane = document.querySelector(`[data-pane=${arguments[0]}]`);"
        "const [bar, stage] = ['.bar', '.stage'].map((one) => pane.querySelector(one).getBoundingClientRect().width);"
        "return bar / stage",
        side,
    )


MOVE = np.array([0.03, 0.015])
"""By how many px (y, x) some of the positions of `planted` moved, or 0.0075 Å and 0.00375 Å."""


@pytest.fixture
def planted(chromium, tmp_path):
    """The page of a run whose positions lie on a grid, 8 rows of 10, five of which moved down and right."""

    def plant(tensors):
        tensors["probe_pos_shifts"][4:50:11] += MOVE

    page = report(planted_run(tmp_path / "run", plant), tmp_path / "page.html")
    chromium.open(page)
    chromium.choose("what", "positions")


class Canvas:
    """What is drawn of `planted`: the red of its pixels, and where the positions are in it.

    The grid is 6.75 Å wide, 9 steps of 0.75 Å, with 6 % of that beside it.
    """

    def __init__(self, red):
        self.red = red
        self.scale = red.shape[1] / (6.75 * 1.12)
        self.step = 0.75 * self.scale
        self.first = np.full(2, 0.06 * 6.75 * self.scale)
        rows, columns = np.nonzero(red < 200)
        assert columns.min() == pytest.approx(self.first[1], abs=8)
        assert columns.max() == pytest.approx(self.first[1] + 9 * self.step, abs=8)
        assert rows.min() == pytest.approx(self.first[0], abs=8)


def canvas_of(chromium, side):
    width = chromium.do(f"return document.querySelector('[data-pane={side}] canvas.image').width")
    return Canvas(np.reshape(chromium.pixels(side), (-1, width, 3))[..., 0].astype(int))


@pytest.mark.long
def test_an_arrow_points_where_its_position_went(chromium, planted):
    stretch = float(re.search(r"arrows ([\d.]+) × as long", chromium.text("[data-pane=left] .notes"))[1])
    canvas = canvas_of(chromium, "left")
    place = canvas.first + canvas.step * np.array([3, 7])
    arrow = canvas.scale * stretch * 0.25 * (1 - 5 / 80) * MOVE  # without what all did together
    length = np.hypot(*arrow)
    assert 15 < length < 0.8 * canvas.step
    ink = np.argwhere(canvas.red < 60) - place
    ink = ink[np.hypot(*ink.T) < 0.8 * canvas.step]  # the others have short ones
    along, across = ink @ arrow / length, ink @ np.array([arrow[1], -arrow[0]]) / length
    assert along.max() == pytest.approx(length, abs=3)
    assert along.min() > -3
    head = np.abs(across) > 3
    assert set(np.sign(across[head])) == {-1, 1}
    assert along[head].min() > 0.3 * length
    assert along[head].max() < length - 3


@pytest.mark.parametrize("what", long_after(1, ["positions", "obja", "probe"]))
def test_all_there_is_can_be_shown(chromium, pages, what):
    chromium.open(pages["sample"])
    before = chromium.pixels("left")
    chromium.choose("what", what)
    assert chromium.pixels("left") != before
    chromium.choose("slider", 3)
    for beside in ("half", "last"):
        chromium.choose("beside", beside)
        assert len(set(map(tuple, chromium.pixels("right")))) > 1
    assert re.search(r"\d Å$", chromium.text("[data-pane=left] .length"))
    assert chromium.messages() == []


@pytest.mark.long
def test_slices_and_modes(chromium, pages):
    chromium.open(pages["two_mode"])
    whole = chromium.pixels("left")
    chromium.choose("part", 2)
    assert chromium.pixels("left") != whole
    assert "slice 2 of 3, mean of 2 object modes" in chromium.text("[data-pane=left] .notes")
    chromium.choose("what", "probe")
    chromium.choose("part", 1)
    assert re.search(r"mode 1 of 2 · \d+(\.\d)? % of the intensity", chromium.text("[data-pane=left] .notes"))
    assert chromium.text("[data-pane=right] .title").startswith("Probe intensity, iteration")


def look_at(chromium, selector):
    """Scroll to an element, so that it is in the middle of the window."""
    chromium.do("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)


@pytest.mark.long
def test_keys_of_the_page_stay_its_own(chromium, pages):
    """While the viewer is only partly in sight, and where a scrolled table or picture has the focus."""
    chromium.open(pages["sample"])
    partly = "document.querySelector('.viewer').getBoundingClientRect().top - innerHeight + 200"
    chromium.do(f"scrollTo(0, {partly})")
    began = chromium.do("return scrollY")
    assert began > 0
    chromium.press(Keys.HOME)
    chromium.wait_for("scrollY === 0")
    assert chromium.text("output") == "iteration 120, to keep"
    chromium.do(f"scrollTo(0, {partly})")
    chromium.press(Keys.SPACE)
    chromium.wait_for(f"scrollY > {began}")
    assert chromium.text("[name=play]") == "Play"
    look_at(chromium, ".panes")
    ActionChains(chromium.driver).key_down(Keys.SHIFT).send_keys(Keys.SPACE).key_up(Keys.SHIFT).perform()
    assert chromium.text("[name=play]") == "Play"
    look_at(chromium, ".panes")
    chromium.do("const one = document.querySelector('.wide'); one.tabIndex = 0; one.focus({preventScroll: true})")
    chromium.press(Keys.ARROW_LEFT)
    assert chromium.text("output") == "iteration 120, to keep"
    chromium.do("document.activeElement.blur()")
    chromium.press(Keys.ARROW_LEFT)
    assert chromium.text("output") == "iteration 110"


def test_the_keys(chromium, pages):
    chromium.open(pages["sample"])
    look_at(chromium, ".panes")
    for key, niter in ((Keys.ARROW_LEFT, 110), (Keys.ARROW_LEFT, 100), (Keys.ARROW_RIGHT, 110), (Keys.HOME, 10)):
        chromium.press(key)
        assert chromium.text("output") == f"iteration {niter}"
    chromium.press(Keys.END)
    last = chromium.pixels("left")
    chromium.press("f")
    assert chromium.text("[data-pane=left] .title") == "Object phase, iteration 60"
    assert chromium.pixels("left") != last
    chromium.press("f")
    assert chromium.pixels("left") == last
    chromium.press(" ")
    assert chromium.text("[name=play]") == "Pause"
    chromium.wait_for("!document.querySelector('output').textContent.startsWith('iteration 120')")
    chromium.press(" ")
    assert chromium.text("[name=play]") == "Play"


@pytest.mark.long
def test_two_iterations_side_by_side(chromium, pages):
    chromium.open(pages["sample"])
    chromium.choose("beside", "other")
    chromium.choose("other", 2)
    assert chromium.text("[data-pane=right] .title") == "Object phase, iteration 30"
    beside = chromium.pixels("right")
    chromium.choose("slider", 2)
    assert chromium.pixels("left") == beside


def test_what_is_compared_is_what_the_control_says(chromium, pages):
    """A mode has no differences, and positions cannot be beside others: what was chosen comes back with what has it."""
    chromium.open(pages["two_mode"])

    def said():
        return chromium.do(
            "const one = document.querySelector('[name=beside]');"
            "return [one.value, [...one.options].filter((one) => !one.disabled).map((one) => one.value)]"
        )

    chromium.choose("what", "probe")
    assert said() == ["half", ["half", "last", "other"]]
    chromium.choose("part", 1)
    assert said() == ["other", ["other"]]
    chromium.choose("part", 0)
    assert said() == ["half", ["half", "last", "other"]]
    chromium.choose("beside", "other")
    chromium.choose("what", "positions")
    assert said() == ["last", ["half", "last"]]


def test_what_a_screen_reader_is_told(chromium, pages):
    chromium.open(pages["sample"])
    label = "return document.querySelector(`[data-pane=${arguments[0]}] canvas.image`).ariaLabel"
    scale = chromium.text("[data-pane=right] .high")
    assert chromium.do(label, "right") == (
        "Object phase: iteration 120 − iteration 60. sum of 2 slices, aligned difference, "
        f"colours from −{scale.split()[0]} rad to {scale}"
    )
    assert chromium.do(label, "left").startswith("Object phase, iteration 120. sum of 2 slices, colours from −")
    chromium.open(pages["study"])
    names = chromium.do("return [...document.querySelectorAll('.viewer')].map((one) => one.ariaLabel)")
    assert len(set(names)) == len(names) > 1
    assert chromium.do("return [...document.querySelectorAll('section')].every((one) => one.ariaLabel)")


def test_colours(chromium, pages):
    chromium.open(pages["sample"])
    assert all(red == green == blue for red, green, blue in chromium.pixels("left"))
    chromium.choose("colours", "viridis")
    assert not any(red == green == blue for red, green, blue in chromium.pixels("left"))


@pytest.mark.long
def test_across_a_boundary_it_is_said_that_nothing_is_compared(chromium, pages):
    chromium.open(pages["phaser"])
    chromium.choose("beside", "last")
    chromium.choose("slider", 0)
    assert "across a run boundary" in chromium.text("[data-pane=right] .none")
    chromium.choose("slider", 5)
    assert chromium.text("[data-pane=right] .none") == ""


def page_with(tmp_path, plant):
    return report(planted_run(tmp_path / "run", plant), tmp_path / "page.html")


@pytest.mark.long
def test_a_probe_without_intensity_is_not_finite(chromium, tmp_path):
    """Though there is no boundary that it could be compared across."""

    def plant(tensors):
        tensors["probe"][...] = 0

    chromium.open(page_with(tmp_path, plant))
    chromium.choose("what", "probe")
    assert chromium.text("[data-pane=right] .none") == "no difference is finite"


@pytest.mark.long
def test_a_position_that_is_not_finite_is_named(chromium, tmp_path):
    def plant(tensors):
        tensors["probe_pos_shifts"][7] = np.nan

    chromium.open(page_with(tmp_path, plant))
    chromium.choose("what", "positions")
    said = "80 positions · a position is NaN or infinite: nothing can be aligned"
    assert chromium.text("[data-pane=left] .notes") == said


@pytest.mark.long
def test_a_constant_object_has_no_scale_and_huge_values_an_exponent(chromium, tmp_path):
    run_dir = planted_run(tmp_path / "run", lambda tensors: None)
    for path in run_dir.iterdir():
        with h5py.File(path, "r+") as file:
            file["optimizable_tensors/objp"][...] = 0
            file["optimizable_tensors/obja"][...] *= 1e30
    chromium.open(report(run_dir, tmp_path / "page.html"))
    hidden = "return [document.querySelector('[name=scale]').closest('label').hidden,"
    hidden += "document.querySelector('[data-pane=right] .legend').hidden]"
    assert chromium.do(hidden) == [True, True]
    chromium.choose("what", "obja")
    assert chromium.do(hidden) == [False, False]
    for selector in ("[data-pane=left] .low", "[data-pane=left] .high", "[data-pane=right] .high"):
        assert re.match(r"−?\d\.\d\de\d\d$", chromium.text(selector))


def test_a_checkpoint_is_not_said_to_move_from_itself(chromium, pages):
    chromium.open(pages["sample"])
    assert "flickers" in chromium.text(".keys")
    chromium.choose("what", "positions")
    assert "flickers" not in chromium.text(".keys")
    chromium.choose("beside", "last")
    assert chromium.text("[data-pane=right] .title") == "Scan positions, iteration 120"
    assert chromium.text("[data-pane=right] .notes") == "120 positions · this is the last checkpoint itself"
    chromium.choose("slider", 0)
    assert chromium.text("[data-pane=left] .notes") == "120 positions · this is the first checkpoint itself"


@pytest.mark.parametrize("name", long_after(1, ["sample", "two_mode"]))
def test_on_a_phone_nothing_is_cut(chromium, pages, name):
    """The table of doublings, and what is chosen in controls."""
    chromium.open(pages[name], 400)
    assert chromium.do(
        "return [...document.querySelectorAll('.wide:has(.doublings)')].map((one) => one.className)"
    ) == ["wide"]
    cut = (
        "const context = new OffscreenCanvas(1, 1).getContext('2d');"
        "return [...document.querySelectorAll('select')].filter((one) => one.offsetParent).filter((one) => {"
        "  const style = getComputedStyle(one); context.font = style.font;"
        "  const room = one.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight) - 20;"
        "  return context.measureText(one.selectedOptions[0].text).width > room;"
        "}).map((one) => one.name)"
    )
    for what in ("objp", "obja", "probe"):
        chromium.choose("what", what)
        for beside in ("half", "last", "other"):
            chromium.choose("beside", beside)
            assert chromium.do(cut) == []


@pytest.mark.long
def test_on_a_phone_the_slider_is_beside_the_picture(chromium, pages):
    chromium.open(pages["sample"], 400)
    look_at(chromium, "[data-pane=left] .stage")
    bottom = chromium.do("return document.querySelector('[name=slider]').getBoundingClientRect().bottom")
    assert 0 < bottom < 900
    assert chromium.do("return getComputedStyle(document.querySelector('.panes')).touchAction") == "pan-y pinch-zoom"


def dragged(chromium, start, end, steps=8):
    """Put a finger down at one place (x, y) of the window, and take it off at another."""
    tell = chromium.driver.execute_cdp_cmd
    tell("Emulation.setTouchEmulationEnabled", {"enabled": True})
    places = [[a + (b - a) * step / steps for a, b in zip(start, end, strict=True)] for step in range(steps + 1)]
    for what, (x, y) in [("touchStart", places[0]), *(("touchMove", place) for place in places[1:])]:
        tell("Input.dispatchTouchEvent", {"type": what, "touchPoints": [{"x": x, "y": y}]})
    tell("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    chromium.wait()
    tell("Emulation.setTouchEmulationEnabled", {"enabled": False})


def test_the_slider_follows_a_finger(chromium, pages):
    chromium.open(pages["sample"], 400)
    look_at(chromium, "[data-pane=left] .stage")
    assert chromium.text("[name=now]") == "iteration 120, to keep"
    left, top, right, bottom = chromium.do(
        "const box = document.querySelector('[name=slider]').getBoundingClientRect();"
        "return [box.left, box.top, box.right, box.bottom]"
    )
    middle = (top + bottom) / 2
    before = chromium.pixels("left")
    dragged(chromium, (right - 10, middle), (left + 10, middle))
    assert chromium.text("[name=now]") == "iteration 10"
    assert chromium.pixels("left") != before
    dragged(chromium, (left + 10, middle), ((left + right) / 2, middle))
    assert chromium.text("[name=now]") in ("iteration 60", "iteration 70")


IS_HIDDEN = "return document.querySelector('[name=kept]').hidden"


def test_the_checkpoint_to_keep_is_marked(chromium, pages):
    chromium.open(pages["sample"])
    assert chromium.text("[name=now]") == "iteration 120, to keep"
    assert chromium.do(IS_HIDDEN)


def test_a_button_shows_the_checkpoint_to_keep(chromium, tmp_path):
    run_dir = shutil.copytree(runs.DATA / "truth" / "ptyrad_dose1e4", tmp_path / "run")
    chromium.open(report(run_dir, tmp_path / "page.html"))
    assert chromium.text("[name=now]") == "iteration 400"
    assert not chromium.do(IS_HIDDEN)
    assert chromium.text("[name=kept]") == "Show 50, to keep"
    chromium.do("document.querySelector('[name=kept]').click()")
    chromium.wait()
    assert chromium.text("[name=now]") == "iteration 50, to keep"


@pytest.mark.parametrize(("width", "is_cut"), long_after(1, [(400, True), (1280, False)]))
def test_a_table_of_runs_that_is_cut_says_so(chromium, pages, width, is_cut):
    chromium.open(pages["study"], width)
    hint = "return getComputedStyle(document.querySelector('.wide:has(.runs) + .legend-text'), '::before').content"
    assert chromium.do(hint) == ('"Swipe the table sideways. "' if is_cut else "none")
    heads = chromium.do("return [...document.querySelectorAll('.runs thead th')].map((one) => one.textContent)")
    assert heads[:5] == ["run", "verdict", "at", "loss", "moved"]
    assert len(heads) > 5


def test_names_and_what_files_say_are_text(chromium, pages):
    chromium.open(pages["hostile"])
    assert chromium.text("h1") == HOSTILE
    said = chromium.text("main")
    assert "<img src=x onerror=alert(1)>" in said
    assert "</script><script>alert(2)</script>" in said
    assert chromium.do("return document.scripts.length") == 2
    assert chromium.do("return document.querySelectorAll('main img[src=x]').length") == 0


@pytest.mark.long
def test_positions_alone(chromium, tmp_path):
    run_dir = shutil.copytree(runs.SAMPLE, tmp_path / "run")
    page = tmp_path / "page.html"
    CliRunner().invoke(main, ["report", str(run_dir), "-o", str(page), "-t", "probe_pos_shifts", "--device", "cpu"])
    chromium.open(page)
    assert chromium.text("[data-pane=left] .title") == "Scan positions, iteration 10 to 120"
    far = np.sqrt((maps_in(runs.SAMPLE, ("probe_pos_shifts",), begin=10, at=120).displacements ** 2).sum(1).mean())
    assert f"120 positions · RMS {far:.3g} Å" in chromium.text("[data-pane=left] .notes")
    assert len(set(map(tuple, chromium.pixels("right")))) > 1
    assert chromium.messages() == []


def test_a_study_opens_the_run_that_is_asked_for(chromium, pages):
    chromium.open(pages["study"])
    chromium.do("document.querySelectorAll('table.runs a')[2].click()")
    chromium.wait()
    assert chromium.do("return [...document.querySelectorAll('details')].map((one) => one.open)") == [
        *(False, False, True, False)
    ]
    first = chromium.pixels("left", "#run-3")
    chromium.choose("slider", 0, "#run-3")
    assert chromium.pixels("left", "#run-3") != first


@pytest.mark.long
def test_a_run_that_was_folded_is_opened_again_and_does_not_play(chromium, pages):
    chromium.open(pages["study"])
    run = "document.querySelector('#run-3')"
    for _ in range(2):
        chromium.do("document.querySelectorAll('table.runs a')[2].click()")
        chromium.wait()
        assert chromium.do(f"return {run}.open")
        chromium.do(f"{run}.querySelector('[name=play]').click()")
        assert chromium.do(f"return {run}.querySelector('[name=play]').textContent") == "Pause"
        chromium.do(f"{run}.open = false")
        chromium.wait()
        assert chromium.do(f"return {run}.querySelector('[name=play]').textContent") == "Play"


def test_an_address_that_means_nothing_does_no_harm(chromium, pages):
    chromium.open(pages["sample"])
    chromium.driver.get("about:blank")
    chromium.driver.get(f"{pages['sample'].as_uri()}#%")
    chromium.wait()
    assert chromium.messages() == []
    look_at(chromium, ".panes")
    chromium.press(Keys.ARROW_LEFT)
    assert chromium.text("output") == "iteration 110"


def test_without_scripts_the_answer_and_pictures_are_there(chromium, pages):
    chromium.open(pages["sample"], scripts=False)
    page = chromium.driver.page_source
    assert "From iteration 60 to 120 the object phase changed by 6&nbsp;% of" in page
    assert np.frombuffer(chromium.picture(), np.uint8).size > 10_000
    chromium.open(pages["sample"])  # with them again
