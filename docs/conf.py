"""How Sphinx makes the site of docs/: `make docs`. Neither it nor the pages need a network."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = "Cairn"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["notebooks/.ipynb_checkpoints"]
templates_path = ["style/templates"]
suppress_warnings = ["ref.python"]  # a name in a docstring that several classes have

myst_heading_anchors = 4  # as GitHub makes them

default_role = "code"  # docstrings are Markdown where they name code
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_attr_annotations = False  # autodoc has them
python_maximum_signature_line_length = 72

html_theme = "pydata_sphinx_theme"
html_title = "Cairn"
html_show_sourcelink = False
html_static_path = ["style/site.css"]
html_css_files = ["site.css"]
html_sidebars = {"**": ["contents"]}
html_theme_options = {
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}


def setup(app: Any) -> None:
    """Let docstrings be read as they are written."""
    app.connect("autodoc-process-docstring", keep_colon, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", shorten_arrays)


def keep_colon(_: Any, what: str, *event: Any) -> None:
    """Of a property, napoleon takes what stands before a colon for its type."""
    lines = event[-1]
    if what in {"attribute", "property"} and lines:
        lines[0] = lines[0].replace(": ", " -- ", 1)


def shorten_arrays(*event: Any) -> tuple[str | None, ...]:
    """Write array types as the source does: in parameters, and in what is returned."""
    array = r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[(~?[\w.]+)\]\]"
    return tuple(text and re.sub(array, r"~numpy.typing.NDArray[\1]", text) for text in event[-2:])
