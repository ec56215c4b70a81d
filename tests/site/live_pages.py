"""What the tests of live figures share: calling the functions of a module in a page."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page

from mha_course.widgets.live import MODULES, bundle

CLOSE = 1e-5

# A browser's storage: forbidden by the reader, full, or with somebody else's value
BROKEN_STORAGE = [
    "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } });",
    "Storage.prototype.setItem = () => { throw new Error('full'); };",
    "Storage.prototype.getItem = () => '{not json';",
    "Storage.prototype.getItem = () => '42';",
]


def call(page: Page, module: str, expression: str, given: Any = None) -> Any:
    """Evaluate an expression in which the exports of a module are names, and `given` is data."""
    text = (MODULES / f"{module}.js").read_text(encoding="utf-8")
    names = ", ".join(re.findall(r"^export function (\w+)", text, re.MULTILINE))
    return page.evaluate(
        f"""async ([text, given]) => {{
            const blob = new Blob([text], {{type: "text/javascript"}});
            const {{ {names} }} = await import(URL.createObjectURL(blob));
            return {expression};
        }}""",
        [bundle(module).replace("\nfunction ", "\nexport function "), given],
    )
