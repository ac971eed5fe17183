"""The docs as a site: `make docs`. Nothing is loaded from anywhere, neither to build it nor to read it."""

import re

from ptyconv_cli import __version__

project = "ptyconv"
author = "the ptyconv authors"
copyright = "2026, the ptyconv authors"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]

# Headings have the names that GitHub gives them, to which the pages link.
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebook holds its output; the tests run it
suppress_warnings = ["myst.header"]  # a README begins with what it is, not with the title of a page

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 80

default_role = "code"

html_theme = "furo"
html_title = f"ptyconv {__version__}"
html_show_sphinx = False
html_copy_source = False


def with_links(app, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Have pages that docstrings name be links."""
    lines[:] = [re.sub(r"docs/(\w+)\.md", r":doc:`\1`", line) for line in lines]


def on_the_site(app, page: str, source: list[str]) -> None:
    """Have links to the README lead to the first page of the site, which it is there."""
    source[0] = source[0].replace("](../README.md", "](index.md")


def setup(app) -> None:
    """Connect what is done to pages as they are read."""
    app.connect("source-read", on_the_site)
    app.connect("autodoc-process-docstring", with_links)
