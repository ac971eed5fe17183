"""Has a ptychographic reconstruction converged, and when? Read from its checkpoints, or live in the engine.

- `analyze_run(folder)`: a run, `analyze_study(folder)`: many; what they return shows itself, and has all numbers.
- `frc(run_a, run_b)`: down to which detail two runs agree, or one with itself at half of its iterations.
- `methods_text(analysis)`: a paragraph for a paper.
- `ConvergenceMonitor` and `create_convergence_monitor`: in an engine's loop.
- `PtyconvError`: what cannot be analyzed, in words for people.

All of it lives in `ptyconv_cli`, and is loaded when it is first used. See docs/api.md.
"""

from typing import TYPE_CHECKING, Any

import ptyconv_cli
from ptyconv_cli import __all__ as __all__
from ptyconv_cli import __version__ as __version__

if TYPE_CHECKING:
    from ptyconv_cli import *  # noqa: F403


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(ptyconv_cli, name)
