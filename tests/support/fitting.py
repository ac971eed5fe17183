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
