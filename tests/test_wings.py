"""The drawing that keeps itself true: imports point down the list of wings, and heavy packages stay where they belong.

Read from the source, so that imports inside functions and those for type checkers count too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ptyconv_cli

PACKAGE = Path(ptyconv_cli.__file__).parent
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))

FLOORS = (
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
    ("errors", "version", "workers"),
)
"""Wings and single modules, from top to bottom; those on one floor don't import each other."""

FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}

IMPORTS_ONLY = {"results": {"errors", "version"}}
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


def room_of(module: str) -> str:
    """Return the wing of a module, which is given as a path: "cli/main.py"; a module outside of them is its own."""
    return module.split("/")[0].removesuffix(".py")


def imported_by(source: str, module: str) -> Iterator[str]:
    """Yield the dotted names that are imported, and those in strings, which `import_module` may be given."""
    here = ("ptyconv_cli/" + module).split("/")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = here[: len(here) - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("ptyconv_cli."):
            yield node.value


def faults(source: str, module: str) -> list[str]:
    """Say what a module imports that it must not."""
    room = room_of(module)
    if room not in FLOOR:
        return [f"{module}: {room} is no wing that this test knows: draw it into FLOORS"]
    found = []
    for name in imported_by(source, module):
        package, _, rest = name.partition(".")
        if package == "ptyconv_cli":
            below = rest.split(".")[0]
            below = below if below in FLOOR else "__init__"  # a name that the package gives away itself
            if below != room and FLOOR[below] <= FLOOR[room]:
                found.append(f"{module}: imports {name}, which is not below {room}")
            elif below not in IMPORTS_ONLY.get(room, FLOOR) and below != room:
                found.append(f"{module}: imports {name}, but {room} may import nothing but {IMPORTS_ONLY[room]}")
        elif not {room, module} & HOMES.get(package, {room}):
            found.append(f"{module}: imports {name}, which is for {', '.join(sorted(HOMES[package]))}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    assert faults((PACKAGE / module).read_text(), module) == []


def test_all_that_is_drawn_is_there():
    assert {room_of(module) for module in MODULES} == set(FLOOR)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("metrics/new.py", "from ptyconv_cli.analysis.run import analyze_run"),
        ("metrics/new.py", "import ptyconv_cli.cli.main"),
        ("metrics/new.py", "def late():\n    from ptyconv_cli.verdict import rules"),
        ("metrics/new.py", "if TYPE_CHECKING:\n    from ptyconv_cli import convergence"),
        ("metrics/new.py", "from ..checkpoints.watch import Watch"),
        ("metrics/new.py", "from .. import checkpoints"),
        ("metrics/new.py", "from ptyconv_cli import analyze_run"),
        ("metrics/new.py", "import_module('ptyconv_cli.cli.main')"),
        ("results/new.py", "from ptyconv_cli.workers import Workers"),
        ("errors.py", "from ptyconv_cli.version import __version__"),
        ("verdict/new.py", "from ptyconv_cli.convergence import ConvergenceMonitor"),
        ("analysis/new.py", "import click"),
        ("cli/new.py", "import matplotlib.figure as figure"),
        ("pictures/new.py", "def late():\n    from torch import Tensor"),
        ("pictures/new.py", "from ptyconv_cli.page.images import encoded"),
        ("page/new.py", "from ptyconv_cli.cli.console import say"),
        ("cli/new.py", "from jinja2 import Environment"),
        ("pictures/new.py", "from PIL import Image"),
        ("results/new.py", "import_module('ptyconv_cli.page.notebook')"),
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
        ("results/new.py", "from ptyconv_cli.errors import PtyconvError\nfrom .series import SERIES"),
        ("checkpoints/formats/pt.py", "import torch"),
    ],
)
def test_this_test_can_pass(module, source):
    assert faults(source, module) == []
