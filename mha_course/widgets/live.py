"""Live figures: one ES module each, for a page without a kernel and for JupyterLab.

On the page of the book a small loader mounts the module; in JupyterLab anywidget does. Both call
its `render` with

- `model`, which has one value, `state`;
- `el`, an element to fill;
- `data`, a function that promises a part of the figure's data by its name.

State is small: it is part of the page. What is large is data. In the book each part becomes a file
that is loaded when the module asks for it, `book_extension` sees to that.

On paper, and where no script runs, a fallback stands in the figure's place.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

BOOK = "MHA_BOOK"
"""Environment variable that the book's build sets: its cells run in no JupyterLab."""

MODULES = Path(__file__).with_name("modules")
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_NAMES = ("blue", "orange", "green", "red", "purple", "heat")


class Heights(NamedTuple):
    """Room for a figure before it is there, so that nothing moves: pixels.

    Attributes:
        wide: On a laptop.
        narrow: On a phone.
    """

    wide: int
    narrow: int


class LiveFigure:
    """A figure that its reader can operate.

    Args:
        module: Name of its file in `modules`, without ".js".
        state: What it begins with; JSON.
        fallback: HTML in its place on paper; or a figure with `_repr_html_`.
        heights: Room for it.
        data: What it asks for when it is used, by name; JSON.
    """

    def __init__(
        self,
        module: str,
        state: Mapping[str, Any],
        fallback: Any,
        heights: Heights,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        self.module = module
        self.state = dict(state)
        self.data = dict(data or {})
        self._fallback = fallback
        self._heights = heights

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        if os.environ.get(BOOK):
            return {"text/html": self.html(), "text/plain": repr(self)}
        bundle = self._widget()._repr_mimebundle_()
        # anywidget returns the data alone, or with the metadata
        return dict(bundle[0] if isinstance(bundle, tuple) else bundle)

    def __repr__(self) -> str:
        return f"LiveFigure({self.module!r}, {self.state})"

    def html(self) -> str:
        """Return what stands on the page; `book_extension` adds the scripts."""
        data = "".join(
            f'<script type="application/json" data-part="{html.escape(name)}">'
            f"{_json(part)}</script>"
            for name, part in self.data.items()
        )
        fallback = self._fallback
        if not isinstance(fallback, str):
            fallback = fallback._repr_html_()
        style = f"--height:{self._heights.wide}px;--height-narrow:{self._heights.narrow}px"
        return (
            f'<div class="mha-live mha-figure" data-module="{html.escape(self.module)}" '
            f'style="{style}"><script type="application/json">{_json(self.state)}</script>{data}'
            f'<div class="mha-live-view"></div>'
            f'<div class="mha-live-fallback">{fallback}</div></div>'
        )

    @cache  # noqa: B019  a figure lives as long as its notebook
    def _widget(self) -> Any:
        return _widget_class(self.module)(state=self.state, data=self.data)


def _json(value: Any) -> str:
    # "<" would end the script wherever it stands in a text
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


_PART = re.compile(
    r'(?P<tag><script type="application/json" data-part="[^"]*")>(?P<json>[^<]+)</script>'
)


def carry_out(page: str, address: Callable[[str], str]) -> str:
    """Take the data of live figures out of a page.

    Args:
        page: HTML.
        address: Keeps the JSON of a part, and says at which address.
    """

    def carried(found: re.Match[str]) -> str:
        return f'{found["tag"]} data-file="{html.escape(address(found["json"]))}"></script>'

    return _PART.sub(carried, page)


@cache
def bundle(module: str) -> str:
    """Return the text of a module with all that it imports: a Blob can import nothing."""
    return _bundled(module, set())


def _bundled(module: str, done: set[str]) -> str:
    text = (MODULES / f"{module}.js").read_text(encoding="utf-8")

    def imported(found: re.Match[str]) -> str:
        name = found[2]
        if name in done:
            return ""
        done.add(name)
        return re.sub(r"^export (?!default)", "", _bundled(name, done), flags=re.MULTILINE)

    return _IMPORT.sub(imported, text)


@cache
def style() -> str:
    """Return the style of live figures, with the colours of all figures of the book."""
    # heavy: matplotlib
    from mha_course.plots.canvas import BLUE, DARK, GREEN, HEAT, ORANGE, PURPLE, RED

    colours = dict(zip(_NAMES, (BLUE, ORANGE, GREEN, RED, PURPLE, HEAT), strict=True))

    def declared(change: Callable[[str], str]) -> str:
        return "".join(f"--mha-{name}:{change(value)};" for name, value in colours.items())

    light = f".mha-live-view{{{declared(str)}}}\n"
    dark = (
        'html[data-theme="dark"] .mha-live-view,'
        f'body[data-jp-theme-light="false"] .mha-live-view{{{declared(DARK.__getitem__)}}}\n'
    )
    fills = "".join(
        f".mha-fill-{name}{{fill:var(--mha-{name})}}\n.mha-line-{name}{{stroke:var(--mha-{name})}}\n"
        for name in colours
    )
    return light + dark + fills + (MODULES / "live.css").read_text(encoding="utf-8")


@cache
def _widget_class(module: str) -> Any:
    import anywidget
    import traitlets

    rendered = bundle(module).replace(
        "export default { render };",
        "export default { render(given) {\n"
        '  given.el.classList.add("mha-live-view");\n'
        # else JupyterLab takes arrow keys for itself; it looks at the element that has the focus
        '  given.el.addEventListener("focusin", ({ target }) =>\n'
        '    target.setAttribute("data-lm-suppress-shortcuts", ""));\n'
        '  const data = async (name) => given.model.get("data")[name];\n'
        "  return render({ ...given, data });\n}};",
    )
    return type(
        "LiveWidget",
        (anywidget.AnyWidget,),
        {
            "_esm": rendered,
            "_css": style(),
            "state": traitlets.Dict().tag(sync=True),
            "data": traitlets.Dict().tag(sync=True),
        },
    )
