"""Numbers for the text of a page: glued here, printed where the text says {glue:text}`name`.

The `glue` of myst_nb does the same, but it imports nbformat, and that compiles a grammar: more than
a second for every page.
"""

from __future__ import annotations

from IPython.core.formatters import format_display_data
from IPython.display import display

_PREFIX = "application/papermill.record/"  # myst_nb takes such an output up and does not show it


def glue(name: str, value: object) -> None:
    """Keep a value under a name for the text of the page; nothing is shown here.

    Args:
        name: Name, unique on the page.
        value: A number or a text.
    """
    bundle, metadata = format_display_data(value)
    metadata["scrapbook"] = {"name": name, "mime_prefix": _PREFIX}
    display({_PREFIX + kind: data for kind, data in bundle.items()}, raw=True, metadata=metadata)
