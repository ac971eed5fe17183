"""Draws the pictures that README and docs show again: `make pictures`."""

import tempfile
from io import BytesIO
from pathlib import Path

import long_runs
from browser import browser, missing
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from ptyrad_names import TENSORS
from runs import ALL, DATA, ROOT, SAMPLE

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

OF_SAMPLE = ("raw_and_aligned.png", "convergence.png", "trajectory.png", "maps.png", "comparison.png")
PAGE, PAGE_HEIGHT = ROOT / "sample_data" / "report.png", 1378
"""The picture of the page, which is drawn by a browser, with the fonts that are there; its height in px."""

SHOWN = [
    *(ROOT / "sample_data" / name for name in OF_SAMPLE),
    ROOT / "docs" / "drifting.png",
    ROOT / "docs" / "frc.png",
]


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
    analysis = analyze_run(SAMPLE, device="cpu")
    maps = maps_of_run(SAMPLE, Selection(TENSORS, None, None, True), percentile_range=DEFAULT_PERCENTILES, device="cpu")
    runs = {name: analyze_run(ALL[f"{name}_lr"], device="cpu").results for name in ("constant", "cosine")}
    drifting = analyze_run(DATA / "truth" / "ptyrad_dose1e4", device="cpu")
    pair = [long_runs.unpack(name, folder / name) for name in ("pair_A", "pair_B")]
    drawn = {
        "raw_and_aligned.png": raw_and_aligned(analysis),
        "convergence.png": draw_dashboard(analysis.results, PlotOptions(), "png"),
        "trajectory.png": draw_trajectory(analysis.results, "png"),
        "maps.png": draw_maps(maps, "png"),
        "comparison.png": draw_comparison(runs, comparison(runs, (), PlotOptions()), "png"),
        "drifting.png": draw_trajectory(drifting.results, "png"),
        "frc.png": draw_frc(frc(*pair), "png"),
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


def page_picture(folder: Path) -> bytes:
    """The upper part of the sample run's page, as Chromium shows it."""
    page = folder / "report.html"
    results = ["--results", str(folder / "results"), "-o", str(page), "--device", "cpu", "-q"]
    ptyconv(["report", str(SAMPLE), *results], standalone_mode=False)
    with browser() as chromium:
        chromium.open(page, width=1060)
        taken = chromium.picture(PAGE_HEIGHT)
    with Image.open(BytesIO(taken)) as whole:
        smaller = BytesIO()
        whole.convert("RGB").save(smaller, "png", optimize=True)
    return smaller.getvalue()


def main() -> None:
    if missing():
        print(f"{PAGE.name} is left as it is: {missing()}")
    else:
        with tempfile.TemporaryDirectory() as name:
            PAGE.write_bytes(page_picture(Path(name)))
    with tempfile.TemporaryDirectory() as name:
        draw(Path(name))
        for place in SHOWN:
            place.write_bytes((Path(name) / place.name).read_bytes())


if __name__ == "__main__":
    main()
