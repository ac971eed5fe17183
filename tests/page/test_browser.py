"""The page in a real browser: Chromium, headless."""

import re
import shutil

import h5py
import numpy as np
import pytest
import runs
from browser import browser, needs_a_browser
from click.testing import CliRunner
from maps import maps_in
from phantoms import two_mode_run
from selenium.webdriver.common.keys import Keys

from ptyconv_cli.cli.main import main

pytestmark = needs_a_browser()

HOSTILE = "<script>alert(1)<"
"""A folder's name cannot hold the slash that would end the element."""


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


def report(run_dir, page):
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
        self[name] = report(run_dir, self.folder / f"{name}.html")
        return self[name]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return Pages(tmp_path_factory.mktemp("pages"))


ALL = ("sample", "cosine_lr", "two_mode", "phaser", "study", "hostile")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("width", [1280, 400])
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
    assert chromium.text("[data-pane=right] .title") == "Iteration 60 − iteration 120"


def test_the_difference_is_the_number_that_the_scale_says(chromium, pages):
    """The brightest red is where brute force has the largest difference, and none is beyond it."""
    chromium.open(pages["sample"])
    chromium.choose("scale", 1)
    (low, high) = chromium.text("[data-pane=right] .low"), chromium.text("[data-pane=right] .high")
    top = float(re.match(r"[\d.]+", high)[0])
    assert low.startswith(f"−{top}")
    assert top == pytest.approx(float(chromium.text("[data-pane=left] .high").split()[0]) + 0.0635, rel=0.02)


@pytest.mark.parametrize("what", ["obja", "probe", "positions"])
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


def test_the_keys(chromium, pages):
    chromium.open(pages["sample"])
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
    chromium.driver.execute_async_script("setTimeout(arguments[0], 1000)")
    chromium.press(" ")
    assert chromium.text("[name=play]") == "Play"
    assert chromium.text("output") != "iteration 120"


def test_two_iterations_side_by_side(chromium, pages):
    chromium.open(pages["sample"])
    chromium.choose("beside", "other")
    chromium.choose("other", 2)
    assert chromium.text("[data-pane=right] .title") == "Object phase, iteration 30"
    beside = chromium.pixels("right")
    chromium.choose("slider", 2)
    assert chromium.pixels("left") == beside


def test_colours(chromium, pages):
    chromium.open(pages["sample"])
    assert all(red == green == blue for red, green, blue in chromium.pixels("left"))
    chromium.choose("colours", "viridis")
    assert not any(red == green == blue for red, green, blue in chromium.pixels("left"))


def test_across_a_boundary_it_is_said_that_nothing_is_compared(chromium, pages):
    chromium.open(pages["phaser"])
    chromium.choose("beside", "last")
    chromium.choose("slider", 0)
    assert "across a run boundary" in chromium.text("[data-pane=right] .none")
    chromium.choose("slider", 5)
    assert chromium.text("[data-pane=right] .none") == ""


def test_names_and_what_files_say_are_text(chromium, pages):
    chromium.open(pages["hostile"])
    assert chromium.text("h1") == HOSTILE
    said = chromium.text("main")
    assert "<img src=x onerror=alert(1)>" in said
    assert "</script><script>alert(2)</script>" in said
    assert chromium.do("return document.scripts.length") == 2
    assert chromium.do("return document.querySelectorAll('main img[src=x]').length") == 0


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


def test_without_scripts_the_answer_and_pictures_are_there(chromium, pages):
    chromium.open(pages["sample"], scripts=False)
    page = chromium.driver.page_source
    assert "From iteration 60 to 120 the object phase changed by 6&nbsp;% of" in page
    assert np.frombuffer(chromium.picture(), np.uint8).size > 10_000
    chromium.open(pages["sample"])  # with them again
