"""What ptyconv offers, under its own name: the same as `ptyconv_cli`, where it lives. See docs/api.md."""

from typing import TYPE_CHECKING, Any

import ptyconv_cli
from ptyconv_cli import __all__ as __all__
from ptyconv_cli import __version__ as __version__

if TYPE_CHECKING:
    from ptyconv_cli import ConvergenceMonitor as ConvergenceMonitor
    from ptyconv_cli import PtyconvError as PtyconvError
    from ptyconv_cli import analyze_run as analyze_run
    from ptyconv_cli import analyze_study as analyze_study
    from ptyconv_cli import create_convergence_monitor as create_convergence_monitor
    from ptyconv_cli import frc as frc
    from ptyconv_cli import methods_text as methods_text


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(ptyconv_cli, name)
