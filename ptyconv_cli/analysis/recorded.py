"""What an engine itself recorded of a run, from its last checkpoint: all that there is of a run with one."""

from dataclasses import replace
from pathlib import Path

from ptyconv_cli.analysis.cached_headers import read_recorded
from ptyconv_cli.checkpoints.chain import Selection, on_one_axis, read_chain
from ptyconv_cli.checkpoints.opening import one_look
from ptyconv_cli.errors import PtyconvError
from ptyconv_cli.quantities import all_series
from ptyconv_cli.results.history import points_since
from ptyconv_cli.results.run_analysis import Results


def recorded_results(path: Path, names: str | None = None) -> Results:
    """Return the loss, the live record of changes and other histories of a run, as there is to draw of it.

    `path`: its folder or a file; `names`: see `analysis.run.analyze_run`. The changes are raw, and each is since the
    one before, the first since the run's beginning; units: `quantities.all_series`. Raises PtyconvError where there is
    no checkpoint, or nothing was recorded.
    """
    with one_look():
        runs = read_chain(path, Selection(None, None, None, False, names=names), ())
        engine = read_recorded(runs).engine
    last = on_one_axis(runs)[-1].headers[-1]
    points = {
        series.key: points_since(last.before, engine.convergence[series.key])
        for series in all_series()
        if engine.convergence.get(series.key)
    }
    if not points and not engine.loss:
        raise PtyconvError(f"{last.path}: the engine recorded neither loss nor changes in it")
    return Results(
        name=last.path.name,
        points=points,
        engine=replace(engine, convergence={}),  # which are the points
        shapes=dict(last.shapes),
        dx=last.dx,
        recorded=True,
    )
