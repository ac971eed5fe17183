"""The notebook of the docs: runs it from top to bottom, and writes what it shows into it.

python tests/support/notebook.py
"""

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from runs import ROOT

PATH = ROOT / "docs" / "notebook.ipynb"

CELLS = [
    """# A run in a notebook

The sample run of PtyRAD, from its checkpoints to an answer. Install ptyconv where your Jupyter runs; this notebook is
in `docs/` of its repository, beside `sample_data/`.""",
    """>>> from ptyconv import analyze_run

run = analyze_run("../sample_data/atoms", device="cpu")
run""",
    """What `analyze_run` returns shows itself, as above. All of its numbers are there as attributes
([the Python functions](api.md)).""",
    """>>> verdict = run.verdict
print(verdict.state, "since iteration", verdict.converged_since)
print("keep", verdict.keep)
for name in ("objp", "obja", "probe", "probe_pos_shifts"):
    found = verdict.doublings[name]
    print(f"{name}: {found.points[-1].relative:.2g} {found.unit}, tolerated {found.tolerance:g} {found.unit}")""",
    """## With a tolerance of your own

5 % may be too much for [your question](questions.md#which-tolerance-suits-my-question).""",
    """>>> import textwrap

strict = analyze_run("../sample_data/atoms", device="cpu", tolerances={"phase": "1%"})
print(textwrap.fill(strict.verdict.sentence, 80))""",
    """## As a table

`to_frame` gives the changes between checkpoints to pandas, where that is installed: raw, and aligned, which is without
what the data cannot determine.""",
    """>>> table = run.to_frame()
table[table["series"] == "objp_fg"].set_index("niter")[["since", "raw", "aligned"]].round(6)""",
    """## Two halves of one data set

Measured this time: a Siemens star at beamline P25 of PETRA III, DESY, by N. Samadi, A. Karabay, P. Sheng, C. Qiu,
K. Spiers, W. Xu, A. Levitan and M. Guizar-Sicairos ([doi
10.5281/zenodo.17899482](https://doi.org/10.5281/zenodo.17899482), CC BY 4.0), each half reconstructed with cdtools
0.3.2. The pictures of both are compared detail by detail ([how](frc.md)).""",
    """>>> from ptyconv import frc

star = "../sample_data/siemens_star"
halves = frc(f"{star}/half_A", f"{star}/half_B", threshold="half-bit")
for line in halves.answer:
    print(textwrap.fill(line, 80))
for point in halves.points[::3]:
    print(f"iteration {point.niter}: mean ring correlation {point.area:.3f}, correlation {point.correlation:.3f}")""",
    """## For a paper""",
    """>>> from ptyconv import methods_text

print(textwrap.fill(methods_text(run), 80))""",
]
"""Text, and, where they begin with >>>, lines to be run."""


def made() -> NotebookNode:
    """The notebook without what it shows."""
    cells = [
        nbformat.v4.new_code_cell(text.removeprefix(">>> "), id=f"cell-{place}")
        if text.startswith(">>> ")
        else nbformat.v4.new_markdown_cell(text, id=f"cell-{place}")
        for place, text in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def run(notebook: NotebookNode) -> NotebookNode:
    """The same with what it shows; an error in a cell is raised."""
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(PATH.parent)}})
    with client.setup_kernel():
        for place, cell in enumerate(notebook.cells):
            client.execute_cell(cell, place)
            cell.metadata.pop("execution", None)  # when it ran
            for output in cell.get("outputs", ()):
                if "data" in output:
                    output.data["text/plain"] = output.data["text/plain"].replace(f"{ROOT}/", "")
    notebook.metadata.pop("language_info", None)  # which says the version of Python
    return notebook


def shown(notebook: NotebookNode) -> list[str]:
    """The text that its cells print or show, without pictures."""
    return [
        output.get("text") or output["data"]["text/plain"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    ]


def main() -> None:
    PATH.write_text(nbformat.writes(run(made())) + "\n")


if __name__ == "__main__":
    main()
