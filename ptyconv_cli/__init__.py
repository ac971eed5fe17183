"""Has a ptychographic reconstruction converged, and when? Read from its checkpoints, or live in the engine:

    from ptyconv_cli import ConvergenceMonitor
    monitor = ConvergenceMonitor({"tensors": ["objp", "probe"]}, model)  # before the first update
    for niter in range(1, 101):
        update(model)
        if monitor.should_step(niter, save_iters=10):
            monitor.step(model, niter)  # appends to model.convergence_iters

The public names are loaded when first used, so that importing the package is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ptyconv_cli import results

if TYPE_CHECKING:
    from ptyconv_cli.analysis.frc import frc
    from ptyconv_cli.analysis.methods import methods_text
    from ptyconv_cli.analysis.run import analyze_run
    from ptyconv_cli.analysis.study import analyze_study
    from ptyconv_cli.convergence import ConvergenceMonitor, create_convergence_monitor
    from ptyconv_cli.errors import PtyconvError

__version__ = "0.1.0"

DOCUMENTATION = "https://ptyconv.readthedocs.io"
"""Where the docs are, as in the project's metadata: what pages and pictures link to."""

_HOMES = {
    "ConvergenceMonitor": "ptyconv_cli.convergence",
    "create_convergence_monitor": "ptyconv_cli.convergence",
    "analyze_run": "ptyconv_cli.analysis.run",
    "analyze_study": "ptyconv_cli.analysis.study",
    "frc": "ptyconv_cli.analysis.frc",
    "methods_text": "ptyconv_cli.analysis.methods",
    "PtyconvError": "ptyconv_cli.errors",
}

__all__ = [
    "ConvergenceMonitor",
    "PtyconvError",
    "__version__",
    "analyze_run",
    "analyze_study",
    "create_convergence_monitor",
    "frc",
    "methods_text",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def _html_of(analysis: Any) -> str:
    """Return what a notebook shows of an analysis; the page is loaded only where it is asked for."""
    html: str = import_module("ptyconv_cli.page.run_page").html_of(analysis)
    return html


def _rows_of(analysis: Any) -> Any:
    """Return the columns and rows of an analysis' table of changes."""
    report = import_module("ptyconv_cli.analysis.report")
    return report.COLUMNS, report.table_rows(analysis)


results.html_of = _html_of
results.rows_of = _rows_of
