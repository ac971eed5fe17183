"""Whether the texts of a picture are inside it, and not over each other."""

from itertools import pairwise

from matplotlib.backends.backend_agg import FigureCanvasAgg


def check_that_all_texts_fit(drawn):
    renderer = FigureCanvasAgg(drawn).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in drawn.texts]
    boxes += [axes.get_tightbbox(renderer) for axes in drawn.axes]
    assert min(box.x0 for box in boxes) > -2
    assert max(box.x1 for box in boxes) < drawn.bbox.width + 2
    for one, other in pairwise(sorted(boxes[: len(drawn.texts)], key=lambda box: -box.y0)):
        assert one.y0 > other.y1 - 2


def check_that_tick_labels_are_apart(axes, along="x"):
    """In the direction of an axis."""
    renderer = FigureCanvasAgg(axes.figure).get_renderer()
    axes.get_tightbbox(renderer)
    axis = axes.xaxis if along == "x" else axes.yaxis
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    labels = [tick.label1 if tick.label1.get_visible() else tick.label2 for tick in ticks]
    boxes = [label.get_window_extent(renderer) for label in labels if label.get_text()]
    assert len(boxes) > 1
    ends = sorted((box.x0, box.x1) if along == "x" else (box.y0, box.y1) for box in boxes)
    for (_, end), (begin, _) in pairwise(ends):
        assert end + 1 < begin
