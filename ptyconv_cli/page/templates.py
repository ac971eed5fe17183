"""Fills in the templates: text becomes text, and only what the package itself brings is markup, style or script."""

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ptyconv_cli.results.text import printable
from ptyconv_cli.version import __version__

FOLDER = Path(__file__).parent / "templates"


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )


def _finalized(value: Any) -> Any:
    """Return what is put into a page: text without control characters, or halves of letters that UTF-8 has not."""
    return (
        printable(value, keep="\n\N{NO-BREAK SPACE}")
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def page(template: str, **content: Any) -> bytes:
    """Return a page that is whole in itself: its style and script are in it, and nothing else may be loaded or run."""
    style, script = (FOLDER / name for name in ("page.css", "viewer.js"))
    filled = (
        _environment()
        .get_template(template)
        .render(
            content,
            version=__version__,
            style=Markup(style.read_text(encoding="utf-8")),
            script=Markup(script.read_text(encoding="utf-8")),
            policy=_policy(style, script),
        )
    )
    return filled.encode()


def part(template: str, **content: Any) -> str:
    """Return a part of a page, with the style in it, for a notebook."""
    style = Markup((FOLDER / "notebook.css").read_text(encoding="utf-8"))
    return _environment().get_template(template).render(content, style=style)


def as_data(content: Any) -> Markup:
    """Return content as JSON that a script element can hold: nothing in it ends the element."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _policy(style: Path, script: Path) -> str:
    """Return a content security policy that allows this style, this script and pictures in the page, nothing else."""
    allowed = {"style-src": style, "script-src": script}
    hashes = [f"{what} 'sha256-{_hash(path.read_text(encoding='utf-8'))}'" for what, path in allowed.items()]
    return "; ".join(["default-src 'none'", "img-src data:", *hashes, "base-uri 'none'", "form-action 'none'"])


def _hash(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()
