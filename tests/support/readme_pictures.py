"""Draws the pictures that README and docs show again: `make pictures`."""

import tempfile
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import long_runs
from browser import browser, missing
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from ptyrad_names import TENSORS
from runs import ALL, ATOMS, DATA, HALVES, ROOT, SAMPLE, SAMPLES

from ptyconv_cli import analyze_run, frc
from ptyconv_cli.analysis.maps import maps_of_run
from ptyconv_cli.checkpoints.chain import Selection
from ptyconv_cli.cli.main import main as ptyconv
from ptyconv_cli.pictures.comparison import draw_comparison
from ptyconv_cli.pictures.comparison_panels import comparison
from ptyconv_cli.pictures.dashboard import draw_dashboard
from ptyconv_cli.pictures.drawing import STYLES, picture, set_logarithmic
from ptyconv_cli.pictures.frc import draw_frc
from ptyconv_cli.pictures.maps import draw_maps
from ptyconv_cli.pictures.mpl import Figure, the_same_for_everyone
from ptyconv_cli.pictures.panels import PlotOptions
from ptyconv_cli.pictures.trajectory import draw_trajectory
from ptyconv_cli.quantities.settings import DEFAULT_PERCENTILES
from ptyconv_cli.results.run_analysis import RunAnalysis

NAMES = {"objp_bg": "background", "objp_fg": "foreground"}

TOP = 0.385
"""How much of the height of a trajectory's picture its title and first row take."""

OF_SAMPLE = ("convergence.png", "trajectory.png", "maps.png")
OF_DOCS = ("raw_and_aligned.png", "comparison.png", "drifting.png", "frc.png", "frc_measured.png")
SHOWN = [*(SAMPLES / name for name in OF_SAMPLE), *(ROOT / "docs" / name for name in OF_DOCS)]


class PagePicture(NamedTuple):
    """The picture of a part of a run's page, drawn by a browser, with the fonts that are there.

    `part`: of an element, with what is around it, as many px as `MARGIN`; or from the top, so many px.
    """

    run: Path
    place: Path
    part: str | int


PAGE = PagePicture(ATOMS, SAMPLES / "report.png", ".viewer .panes, .viewer .player")
PAGES = (PAGE, PagePicture(HALVES[0], ROOT / "docs" / "page_measured.png", 1420))
WIDTH, MARGIN = 1200, 12

BOX = """const boxes = [...document.querySelectorAll(arguments[0])].map(one => one.getBoundingClientRect());
return [Math.min(...boxes.map(one => one.left)), Math.min(...boxes.map(one => one.top)),
        Math.max(...boxes.map(one => one.right)), Math.max(...boxes.map(one => one.bottom))]"""


@the_same_for_everyone
def raw_and_aligned(analysis: RunAnalysis) -> bytes:
    """The phase change of a run twice, side by side: raw, and without ambiguities that the data cannot constrain."""
    figure = Figure(figsize=(9, 3.8), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    titles = "raw, as PtyRAD records it", "aligned: the ambiguities removed"
    for axes, title, points in zip(panels, titles, (analysis.points, analysis.aligned_points), strict=True):
        for (key, label), (colour, dashes) in zip(NAMES.items(), STYLES, strict=False):
            niters, values = zip(*((point.niter, point.value) for point in points[key]), strict=True)
            axes.plot(niters, values, color=colour, linestyle=dashes, marker=".", label=label)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    set_logarithmic(panels[0])
    panels[0].set_ylabel("change in 10 iterations (rad)")
    figure.suptitle("Change of the object's phase", fontsize=13)
    return picture(figure, "png")


def draw(folder: Path) -> None:
    """Draw all of `SHOWN` into a folder, by their names."""
    small_run, analysis = analyze_run(SAMPLE, device="cpu"), analyze_run(ATOMS, device="cpu")
    maps = maps_of_run(ATOMS, Selection(TENSORS, None, None, True), percentile_range=DEFAULT_PERCENTILES, device="cpu")
    runs = {name: analyze_run(ALL[f"{name}_lr"], device="cpu").results for name in ("constant", "cosine")}
    drifting = analyze_run(DATA / "truth" / "ptyrad_dose1e4", device="cpu")
    pair = [long_runs.unpack(name, folder / name) for name in ("pair_A", "pair_B")]
    drawn = {
        "raw_and_aligned.png": raw_and_aligned(small_run),
        "convergence.png": draw_dashboard(analysis.results, PlotOptions(), "png"),
        "trajectory.png": draw_trajectory(analysis.results, "png"),
        "maps.png": draw_maps(maps, "png"),
        "comparison.png": draw_comparison(runs, comparison(runs, (), PlotOptions()), "png"),
        "drifting.png": draw_trajectory(drifting.results, "png"),
        "frc.png": draw_frc(frc(*pair), "png"),
        "frc_measured.png": draw_frc(frc(*HALVES, threshold="half-bit"), "png"),
    }
    for name, content in drawn.items():
        (folder / name).write_bytes(small(content, TOP if name == "drifting.png" else 1.0))


def small(content: bytes, height: float) -> bytes:
    """Return the upper part of a PNG in fewer bytes, for a clone carries every version of it; no pixel is another."""
    with Image.open(BytesIO(content)) as whole:
        part = whole.crop((0, 0, whole.width, round(height * whole.height))).convert("RGB")
        drawn_by = PngInfo()
        drawn_by.add_text("Software", whole.info["Software"])
        smaller = BytesIO()
        part.save(smaller, "png", optimize=True, pnginfo=drawn_by)
    return smaller.getvalue()


def page_picture(of_page: PagePicture, folder: Path) -> bytes:
    """The upper part of a run's page, as Chromium shows it."""
    page = folder / "report.html"
    results = ["--results", str(folder / "results"), "-o", str(page), "--device", "cpu", "-q"]
    ptyconv(["report", str(of_page.run), *results], standalone_mode=False)
    with browser() as chromium:
        chromium.open(page, width=WIDTH)
        taken = chromium.picture()
        box = chromium.do(BOX, of_page.part) if isinstance(of_page.part, str) else None
    with Image.open(BytesIO(taken)) as whole:
        left, top, right, bottom = map(round, box) if box else (0, 0, WIDTH, of_page.part)
        around = MARGIN if box else 0
        part = whole.crop((left - around, top - around, right + around, bottom + around))
        smaller = BytesIO()
        part.convert("RGB").save(smaller, "png", optimize=True)
    return smaller.getvalue()


def main() -> None:
    for of_page in PAGES:
        if missing():
            print(f"{of_page.place.name} is left as it is: {missing()}")
            continue
        with tempfile.TemporaryDirectory() as name:
            of_page.place.write_bytes(page_picture(of_page, Path(name)))
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name))
        for place in SHOWN:
            place.write_bytes((Path(name) / place.name).read_bytes())


if __name__ == "__main__":
    main()
