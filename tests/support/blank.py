"""Pictures that show nothing, for tests of what is done with them: to draw them takes most of an analysis."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import pytest
from PIL import Image

DRAWING = ("dashboard", "trajectory", "maps", "frc")


def _blank() -> bytes:
    content = BytesIO()
    Image.new("L", (1200, 900), 255).save(content, "png")
    return content.getvalue()


BLANK = _blank()


def patch(patched: pytest.MonkeyPatch) -> None:
    """Let every picture of an analysis, of maps and of a ring correlation be blank, until what is patched is undone."""
    for name in DRAWING:
        patched.setattr(f"ptyconv_cli.pictures.{name}.draw_{name}", lambda *_, **__: BLANK)


@contextmanager
def blank_pictures() -> Iterator[None]:
    """Let them be blank meanwhile."""
    with pytest.MonkeyPatch.context() as patched:
        patch(patched)
        yield
