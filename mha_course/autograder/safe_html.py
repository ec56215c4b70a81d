"""Show what learners wrote without running it.

nbgrader's formgrader and feedback put the HTML in a Markdown cell on the page as it is: a script in
a written answer would run with the instructor's rights. `nbgrader_config.py` puts this filter in
place of nbconvert's.
"""

from __future__ import annotations

import re

import bleach
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

_TAGS = """
    a abbr b blockquote br caption code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins
    kbd li mark ol p pre s span strong sub summary sup table tbody td tfoot th thead tr u ul
"""
# not `id`, which could be that of a field for points, and of classes only those of coloured code
_PLAIN = frozenset({"align", "alt", "colspan", "rowspan", "scope", "start", "title"})
_CODE_CLASS = re.compile(r"highlight|[a-z]{1,2}[a-z0-9]?")
_ADDRESS = re.compile(r"(?:https?:|mailto:|#|[\w./-]+(?:[?#]|$))", re.IGNORECASE)
_PICTURE = re.compile(r"(?:data:image/(?:png|jpeg|gif);base64,|[\w./-]+$)", re.IGNORECASE)


def markdown2html(source: str) -> str:
    r"""Return Markdown as HTML that runs nothing and loads nothing from elsewhere.

    >>> markdown2html("**bold** <script>alert(1)</script>")
    '<p><strong>bold</strong> &lt;script&gt;alert(1)&lt;/script&gt;</p>\n'
    """
    # what nbconvert does; tags that a cell itself contains go through to the cleaning
    renderer = IPythonRenderer(escape=False, exclude_anchor_links=True)
    html = MarkdownWithMath(renderer=renderer).render(source)
    return str(
        bleach.clean(
            html,
            tags=_TAGS.split(),
            attributes=_is_allowed,
            protocols={"http", "https", "mailto", "data"},
        )
    )


def _is_allowed(tag: str, name: str, value: str) -> bool:
    if name == "href":
        return tag == "a" and bool(_ADDRESS.match(value))
    if name == "src":
        return tag == "img" and bool(_PICTURE.match(value))
    if name == "class":
        return bool(_CODE_CLASS.fullmatch(value))
    return name in _PLAIN
