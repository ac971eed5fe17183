"""The drawing that keeps itself true: imports point down the list of layers, and heavy packages stay where they belong.

Read from the source, so that imports inside functions and those for type checkers count too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ptyconv_cli

PACKAGE = Path(ptyconv_cli.__file__).parent
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))

LAYERS = (
    ("__init__", "__main__"),
    ("cli",),
    ("page",),
    ("pictures",),
    ("analysis",),
    ("convergence",),
    ("verdict",),
    ("checkpoints",),
    ("quantities",),
    ("metrics",),
    ("results",),
    ("errors", "workers"),
)
"""Packages and single modules, from top to bottom; those of one layer don't import each other."""

LAYER = {name: number for number, layer in enumerate(LAYERS) for name in layer}

IMPORTS_ONLY = {"results": {"errors"}}
"""What plot and ls read results with, and so may anything else."""

HOMES = {
    "click": {"cli"},
    "jinja2": {"page"},
    "markupsafe": {"page"},
    "matplotlib": {"pictures"},
    "PIL": {"page"},
    "torch": {
        "convergence",
        "metrics/device.py",
        "metrics/snapshot.py",
        "metrics/planes_gpu.py",
        "metrics/percentiles_gpu.py",
        "checkpoints/formats/pt.py",
    },
    "distributed": {"cli/cluster.py"},
    "dask": {"cli/cluster.py"},
    "zarr": {"checkpoints/formats/zarr_tree.py"},
}
"""Where a package may be imported; elsewhere it would slow down what does without it."""


def package_of(module: str) -> str:
    """Return the package of a module, which is given as a path: "cli/main.py"; a module outside of them is its own."""
    return module.split("/")[0].removesuffix(".py")


def imported_by(source: str, module: str) -> Iterator[str]:
    """Yield the dotted names that are imported, and those in strings, which `import_module` may be given."""
    place = ("ptyconv_cli/" + module).split("/")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = place[: len(place) - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("ptyconv_cli."):
            yield node.value


def faults(source: str, module: str) -> list[str]:
    """Say what a module imports that it must not."""
    here = package_of(module)
    if here not in LAYER:
        return [f"{module}: {here} is no package that this test knows: draw it into LAYERS"]
    found = []
    for name in imported_by(source, module):
        package, _, rest = name.partition(".")
        if name in ("ptyconv_cli.__version__", "ptyconv_cli.DOCUMENTATION"):  # which are set before all else
            continue
        if package == "ptyconv_cli":
            below = rest.split(".")[0]
            below = below if below in LAYER else "__init__"  # a name that the package gives away itself
            if below != here and LAYER[below] <= LAYER[here]:
                found.append(f"{module}: imports {name}, which is not below {here}")
            elif below not in IMPORTS_ONLY.get(here, LAYER) and below != here:
                found.append(f"{module}: imports {name}, but {here} may import nothing but {IMPORTS_ONLY[here]}")
        elif not {here, module} & HOMES.get(package, {here}):
            found.append(f"{module}: imports {name}, which is for {', '.join(sorted(HOMES[package]))}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    assert faults((PACKAGE / module).read_text(), module) == []


def test_all_that_is_drawn_is_there():
    assert {package_of(module) for module in MODULES} == set(LAYER)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("metrics/new.py", "from ptyconv_cli.analysis.run import analyze_run"),
        ("metrics/new.py", "import ptyconv_cli.cli.main"),
        ("metrics/new.py", "def late():\n    from ptyconv_cli.verdict import rules"),
        ("metrics/new.py", "if TYPE_CHECKING:\n    from ptyconv_cli import convergence"),
        ("metrics/new.py", "from ..checkpoints.chain import Run"),
        ("metrics/new.py", "from .. import checkpoints"),
        ("metrics/new.py", "from ptyconv_cli import analyze_run"),
        ("metrics/new.py", "import_module('ptyconv_cli.cli.main')"),
        ("results/new.py", "from ptyconv_cli.workers import Workers"),
        ("errors.py", "from ptyconv_cli.workers import Workers"),
        ("verdict/new.py", "from ptyconv_cli.convergence import ConvergenceMonitor"),
        ("metrics/new.py", "from ptyconv_cli.quantities import QUANTITIES"),
        ("analysis/new.py", "import click"),
        ("cli/new.py", "import matplotlib.figure as figure"),
        ("pictures/new.py", "def late():\n    from torch import Tensor"),
        ("pictures/new.py", "from ptyconv_cli.page.images import encoded"),
        ("page/new.py", "from ptyconv_cli.cli.console import say"),
        ("cli/new.py", "from jinja2 import Environment"),
        ("pictures/new.py", "from PIL import Image"),
        ("results/new.py", "import_module('ptyconv_cli.page.run_page')"),
        ("checkpoints/formats/new.py", "import torch"),
        ("metrics/new.py", "import torch"),
        ("analysis/new.py", "def late():\n    import torch"),
        ("attic/new.py", ""),
        ("attic.py", ""),
    ],
)
def test_this_test_can_fail(module, source):
    assert len(faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cli/new.py", "import click, os\nfrom ptyconv_cli.results import text\nfrom .console import say"),
        ("results/new.py", "from ptyconv_cli.errors import PtyconvError\nfrom .history import Curve"),
        ("checkpoints/formats/pt.py", "import torch"),
    ],
)
def test_this_test_can_pass(module, source):
    assert faults(source, module) == []
