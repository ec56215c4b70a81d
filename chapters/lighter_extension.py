"""Sphinx extension: a page loads what it uses, and shows its text before its scripts run.

The theme and the extensions add their scripts to every page: search, tabs, toggles. Their styles
are a dozen files, which are mostly rules for what this book does not have; of these, one file is
made for all pages, with the rules that can match something.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import tinycss2
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

# Part of a file's name, and what is on a page that needs the file
USED_BY = {
    "togglebutton": re.compile(r'class="(?:[^"]* )?(?:toggle[ "]|admonition [^"]*\bdropdown)'),
    "design-tabs.js": re.compile(r'class="(?:[^"]* )?sd-tab-set'),
    "clipboard": re.compile(r'class="highlight'),
    "copybutton": re.compile(r'class="highlight'),
    "searchtools": re.compile(r'id="search-results"'),
    "language_data": re.compile(r'id="search-results"'),
    "searchindex": re.compile(r'id="search-results"'),
}
THEME_SCRIPT = "_static/scripts/pydata-sphinx-theme.js"
STYLE, OWN_STYLE = "_static/styles/book.css", "_static/book.css"
# Names that scripts put together from parts: the theme's, and those of our figures
_MADE_NAMES = ("bs-tooltip-", "bs-popover-", "mha-")
_SCRIPT = re.compile(r'<script\b[^>]*\bsrc="(?P<file>[^"]+)"[^>]*></script>\s*')
_SHEET = re.compile(
    r'<link\b(?=[^>]*\brel="stylesheet")[^>]*\bhref="(?P<file>[^":?]+)[^"]*"[^>]*>\s*'
)
_OPTIONS = re.compile(r'<script src="[^"]*documentation_options\.js[^"]*"></script>')
_PRELOAD = re.compile(r'<link rel="preload" as="script"[^>]*>\s*')
_ADDRESS = re.compile(r"""url\(["']?(?!data:|#)([^"')]+)["']?\)""")
_IMPORT = re.compile(r"""@import\s+(?:url\()?["']([^"']+)["']\)?;""")
_WORD = re.compile(r"[\w-]+")
_TOGGLES = re.compile(r"<script>(?:let toggle(?:Hint|Open)|var togglebutton)[^<]*</script>\s*")
_KERNEL = re.compile(
    r'<script type="text/x-thebe-config">.*?</script>\s*(?:<script>kernelName[^<]*</script>\s*)?',
    re.DOTALL,
)
_THEME = re.compile(r'<script data-cfasync="false">.*?</script>', re.DOTALL)
# The theme's own leaves "auto" there until all has been loaded, and that has no colours and no
# lines; and it throws where a browser keeps nothing.
_THEME_AT_ONCE = """<script>
(({ dataset }) => {
  let kept = null;
  try {
    kept = localStorage.getItem("mode");
  } catch {
    // the reader has forbidden it
  }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  dataset.mode = kept || "auto";
  dataset.theme = dataset.mode !== "auto" ? dataset.mode : dark ? "dark" : "light";
})(document.documentElement);
</script>"""
_FOLD_LABEL = re.compile(r'<p( class="(?:collapsed|expanded) admonition-title">[^<]*)</p>')
_SIGNATURE = re.compile(r"<dl>\n(<dd><em class=\"sig-param\">.*?)</dl>", re.DOTALL)
_LINE = re.compile(r"<dd>(.*?)</dd>", re.DOTALL)
_STYLE_OF_FIGURE = re.compile(r"<style>(\.mha-[^<]*)</style>")
_VIEWPORT = re.compile(r'<meta name="viewport"[^>]*>')
_AT_ONCE = re.compile(r"<script(?![^>]*\b(?:defer|async)\b)(?=[^>]* src=)")
# See _static/below.js. Who comes to a place further down gets all at once, so that it stays there.
_BELOW_LATER = """<script>
if (!location.hash && performance.getEntriesByType("navigation")[0]?.type === "navigate")
  document.documentElement.dataset.below = "later";
</script>"""
# The theme asks every block whether it scrolls, and at once writes to it whether Tab stops there:
# so each question makes the browser lay out the page again. What is not laid out is not asked
# yet, and Tab stops there.
_TAB_STOPS = re.compile(
    r"(?P<blocks>document\.querySelectorAll\(\[[^\]]*\]\.join\(\", \"\)\))"
    r"\.forEach\(e=>\{e\.tabIndex=(?P<stop>e\.scrollWidth>[^}]*\?0:-1)\}\)"
)
_LATER = 'e.closest("[data-below] .cell:not([data-laid-out])")'
_WRITE = ".forEach(([e,t])=>{e.tabIndex===t||(e.tabIndex=t)})"


def lighter(page: str) -> str:
    """Return a page without scripts that it does not use; the others wait until it has been read.

    Args:
        page: HTML.
    """
    body = page[page.find("<body") :]

    def kept(found: re.Match[str]) -> str:
        name = found["file"].rpartition("/")[2]
        needs = next((use for part, use in USED_BY.items() if part in name), None)
        return found[0] if needs is None or needs.search(body) else ""

    page = _PRELOAD.sub("", _KERNEL.sub("", _SCRIPT.sub(kept, page)))
    page = _THEME.sub(f"{_THEME_AT_ONCE}\n{_BELOW_LATER}", page)
    if "togglebutton.js" not in page:
        page = _TOGGLES.sub("", page)
    # the page of the search runs its script from the page itself
    return page if "searchtools.js" in page else _AT_ONCE.sub("<script defer", page)


def valid(page: str) -> str:
    """Return a page without what is no valid HTML, or keeps readers out, in what others write.

    Args:
        page: HTML.
    """
    # one is enough
    first = _VIEWPORT.search(page)
    if first:
        page = page[: first.end()] + _VIEWPORT.sub("", page[first.end() :])
    # "Show code cell source" names what it does; this label says something else
    page = page.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    page = _FOLD_LABEL.sub(r"<span\1</span>", page)
    # the corner of a table heads nothing
    page = page.replace('<th class="head"><p></p></th>', "<td></td>")
    # the book's name stands beside the navigation, in no landmark
    page = page.replace(
        '<div id="pst-primary-sidebar" class="',
        '<div id="pst-primary-sidebar" role="region" aria-label="Book" class="',
    )
    # an entry of a list; the role that docutils gives it has gone out of use
    page = page.replace(' role="doc-biblioentry"', ' role="listitem"')
    # the lines of a long signature, as a list of definitions of nothing
    return _SIGNATURE.sub(
        lambda found: _LINE.sub(r'<div class="sig-line">\1</div>', found[1]), page
    )


def with_quick_tab_stops(script: str) -> str:
    """Return the theme's script so that it asks all blocks first, and writes what has changed.

    Raises:
        ExtensionError: it is another script than the one known here.
    """
    if _WRITE in script:  # by an earlier build, of which this is a part
        return script
    quick, found = _TAB_STOPS.subn(
        rf"Array.from(\g<blocks>,e=>[e,{_LATER}||\g<stop>]){_WRITE}", script
    )
    if found != 1:
        raise ExtensionError("the theme's script has changed: see _TAB_STOPS")
    return quick


def used_rules(style: str, words: set[str]) -> str:
    """Return the rules of a style sheet that can match something.

    Args:
        style: The style sheet.
        words: Every name of a class or an id, and any others.
    """
    kept = []
    for rule in tinycss2.parse_stylesheet(style, skip_whitespace=True):
        if rule.type == "comment":
            kept.append(f"/*{rule.value}*/" if rule.value.startswith("!") else "")  # licences
        elif rule.type == "qualified-rule":
            selectors = [one for one in _selectors(rule.prelude) if _can_match(one, words)]
            if selectors:
                chosen = ",".join(tinycss2.serialize(one).strip() for one in selectors)
                kept.append(f"{chosen}{{{tinycss2.serialize(rule.content).strip()}}}")
        elif rule.type == "at-rule" and rule.at_keyword in ("media", "supports"):
            if inner := used_rules(tinycss2.serialize(rule.content), words):
                prelude = tinycss2.serialize(rule.prelude).strip()
                kept.append(f"@{rule.at_keyword} {prelude}{{{inner}}}")
        elif rule.type == "at-rule" and rule.at_keyword != "charset":
            kept.append(rule.serialize())
    return "\n".join(text for text in kept if text)


def _selectors(prelude: list[Any]) -> list[list[Any]]:
    """Part a list of selectors at its commas."""
    parts: list[list[Any]] = [[]]
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _can_match(selector: list[Any], words: set[str]) -> bool:
    """Say whether all classes and ids of a selector are among the words; others count as found."""
    for before, token in zip([None, *selector], selector, strict=False):
        of_class = before is not None and before.type == "literal" and before.value == "."
        named = (token.type == "ident" and of_class) or token.type == "hash"
        if named and token.value not in words and not token.value.startswith(_MADE_NAMES):
            return False
    return True


def one_style(folder: Path, pages: dict[Path, str]) -> dict[Path, str]:
    """Write the styles of all pages into one file, and return the pages with this one.

    Args:
        folder: The built book.
        pages: HTML of every page, by its file.
    """
    scripts = [file.read_text(encoding="utf-8") for file in folder.glob("_static/**/*.js")]
    words = {word for text in (*pages.values(), *scripts) for word in _WORD.findall(text)}
    sheets: dict[Path, None] = {}
    # the page with the most styles says which comes before which
    for file, page in sorted(pages.items(), key=lambda one: -len(_SHEET.findall(one[1]))):
        for found in _SHEET.finditer(page):
            sheets.setdefault((file.parent / found["file"]).resolve())
    target = folder / STYLE

    def moved(sheet: Path) -> str:
        style = sheet.read_text(encoding="utf-8").replace("p.admonition-title", ".admonition-title")
        style = style.replace("p.collapsed", ".collapsed").replace("p.expanded", ".expanded")
        style = _ADDRESS.sub(
            lambda found: f"url({_way(target.parent, sheet.parent / found[1])})", style
        )
        # a file that names another keeps readers waiting for one after the other
        return _IMPORT.sub(lambda found: moved((sheet.parent / found[1]).resolve()), style)

    style = "\n".join(used_rules(moved(sheet), words) for sheet in sheets)
    target.write_text(style, encoding="utf-8")
    version = hashlib.sha256(style.encode()).hexdigest()[:8]  # so that none is taken from a cache
    done = {}
    for file, page in pages.items():
        first = _SHEET.search(page)
        if first:
            link = f'<link rel="stylesheet" href="{_way(file.parent, target)}?v={version}" />\n'
            page = page[: first.start()] + link + _SHEET.sub("", page[first.end() :])
        done[file] = page
    return done


def _way(start: Path, target: Path) -> str:
    return Path(os.path.relpath(target, start)).as_posix()


def finish(app: Sphinx, error: Exception | None) -> None:
    """Make all pages lighter once they are written."""
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir).resolve()
    before = {
        file: file.read_text(encoding="utf-8")
        for file in folder.rglob("*.html")
        if "_static" not in file.relative_to(folder).parts  # templates of the theme
    }
    options = (folder / "_static" / "documentation_options.js").read_text(encoding="utf-8")
    at_once = f"<script>{options.strip()}</script>"
    pages = {}
    own_styles: dict[str, None] = {}  # that figures bring along
    for file, page in before.items():
        own_styles.update(dict.fromkeys(_STYLE_OF_FIGURE.findall(page)))
        page = _STYLE_OF_FIGURE.sub("", _OPTIONS.sub(lambda _: at_once, page))
        pages[file] = valid(lighter(page))
    with (folder / OWN_STYLE).open("a", encoding="utf-8") as own:
        own.write("\n".join(own_styles))
    for file, page in one_style(folder, pages).items():
        if page != before[file]:
            file.write_text(page, encoding="utf-8")
    theme = folder / THEME_SCRIPT
    theme.write_text(with_quick_tab_stops(theme.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_js_file("below.js", loading_method="defer")
    app.connect("build-finished", finish, priority=800)  # after the theme has written its styles
    return {"parallel_read_safe": True, "parallel_write_safe": True}
