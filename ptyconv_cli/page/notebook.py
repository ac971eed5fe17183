"""What a notebook shows of an analysis: the sentence, the table of doublings, and the dashboard."""

from ptyconv_cli.page.run_page import DASHBOARD, drawn, part, run_on_page
from ptyconv_cli.pictures.dashboard import draw_dashboard
from ptyconv_cli.pictures.panels import PlotOptions
from ptyconv_cli.results.run_analysis import RunAnalysis

MOST = 2e6
"""Characters that the dashboard may take."""


def html_of(analysis: RunAnalysis) -> str:
    """Return an analysis as HTML that is whole in itself."""
    name = analysis.results.name
    dashboard = draw_dashboard(analysis.results, PlotOptions(), "png")
    shown = run_on_page(analysis, name)
    return part("notebook.html", shown=shown, picture=drawn(DASHBOARD, dashboard, MOST, name))
