"""What the book's extensions make of pages: formulas, styles, scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from lighter_extension import (
    THEME_SCRIPT,
    lighter,
    one_style,
    used_rules,
    valid,
    with_quick_tab_stops,
)
from maths_extension import Formulas, set_page
from sphinx.errors import ExtensionError


@pytest.fixture(scope="module")
def formulas() -> Formulas:
    return Formulas()


def page(body: str) -> str:
    return f"<html><head></head><body>{body}</body></html>"


def test_a_formula_becomes_a_drawing_with_its_letters_and_mathml(formulas: Formulas) -> None:
    body = r'<span class="math notranslate nohighlight">\(a &lt; \sqrt{b}\)</span>'
    tree = BeautifulSoup(set_page(page(body), formulas, "maths.css"), "html.parser")
    assert tree.select_one("mjx-assistive-mml").get_text() == "a<b"
    assert tree.select_one("mjx-assistive-mml math > msqrt > mi").get_text() == "b"
    used = {tag["href"] for tag in tree.select(".math use")}
    assert used == {f"#{tag['id']}" for tag in tree.select(".mha-glyphs path")}
    assert len(used) == 4
    assert tree.select_one(".math svg")["aria-hidden"] == "true"
    assert tree.select_one("head link")["href"] == "maths.css"


def test_attributes_of_mathml_survive(formulas: Formulas) -> None:
    said = BeautifulSoup(formulas.set(r"a\,(b)^\top", False), "html.parser")
    assert said.select_one("mspace")["width"] == "0.167em"
    assert said.select_one("mo[stretchy]")["stretchy"] == "false"


@pytest.mark.parametrize(
    "body",
    [
        r'<div class="math nohighlight">\[\begin{split}a &amp;= b\\c\end{split}\]</div>',
        r'<div class="math nohighlight" id="x"><span class="eqno">(1)</span>\[a\]</div>',
        r'<div class="amsmath math notranslate nohighlight">\begin{align*}a\end{align*}</div>',
    ],
)
def test_displayed_formulas_are_set_and_can_be_scrolled_to(formulas: Formulas, body: str) -> None:
    shown = set_page(page(body), formulas, "maths.css")
    container = BeautifulSoup(shown, "html.parser").select_one("div.math mjx-container")
    assert container["display"] == "true"
    assert container["tabindex"] == "0"
    assert ("eqno" in body) == ("eqno" in shown)


def test_a_page_without_formulas_stays_as_it_is(formulas: Formulas) -> None:
    assert set_page(page("<p>none</p>"), formulas, "maths.css") == page("<p>none</p>")


@pytest.mark.parametrize("tex", [r"\nosuchthing", r"\frac{1}{", r"a \right)", "a_b_c"])
def test_what_is_no_formula_stops_the_build(formulas: Formulas, tex: str) -> None:
    with pytest.raises(ValueError, match="is no formula"):
        set_page(page(rf'<span class="math">\({tex}\)</span>'), formulas, "maths.css")


def test_a_form_that_is_not_known_stops_the_build(formulas: Formulas) -> None:
    with pytest.raises(ValueError, match="not known"):
        set_page(page(r'<span class="math">first \(a\)</span>'), formulas, "maths.css")


def test_rules_stay_that_can_match_something() -> None:
    style = """@charset "utf-8"; /*! licence */ /* note */
    .used, .gone { a: 1 } #there .gone { a: 2 }
    p:not(.gone) > .used::after { a: 3 } .gone { a: 4 } .mha-fill-blue { a: 5 }
    @media (width > 1px) { .gone { a: 6 } [data-x] { a: 7 } } @media print { .gone { a: 8 } }
    @keyframes turn { from { a: 9 } } a { a: 0; }"""
    kept = used_rules(style, {"used", "there"})
    assert [number for number in "0123456789" if f"a: {number}" in kept] == list("013579")
    assert ".used{" in kept
    assert "/*! licence */" in kept
    assert "note" not in kept


def test_styles_become_one_file_in_their_order(tmp_path: Path) -> None:
    static = tmp_path / "_static"
    (static / "styles").mkdir(parents=True)
    (static / "first.css").write_text(".x { color: green }")
    (static / "a.css").write_text(
        '@import "first.css";\n.x { color: red; background: url(images/i.png) }'
    )
    (static / "b.css").write_text(".x { color: blue }")
    few, many = tmp_path / "few.html", tmp_path / "chapters" / "many.html"
    link = '<link rel="stylesheet" href="{}" />'
    pages = {
        few: f'{link.format("_static/b.css?v=1")}<b class="x">',
        many: f'{link.format("../_static/a.css")}\n{link.format("../_static/b.css")}<b class="x">',
    }
    done = one_style(tmp_path, pages)
    style = (static / "styles" / "book.css").read_text()
    assert style.index("green") < style.index("red") < style.index("blue")
    assert "@import" not in style
    assert "url(../images/i.png)" in style
    assert done[few].count("<link") == done[many].count("<link") == 1
    assert 'href="_static/styles/book.css?v=' in done[few]
    assert 'href="../_static/styles/book.css?v=' in done[many]


def test_scripts_wait_and_those_that_nothing_needs_go() -> None:
    given = """<head><script src="_static/clipboard.min.js"></script>
    <script src="searchindex.js"></script><script src="_static/doctools.js"></script>
    <script>let toggleHintShow = 1;</script><script src="_static/togglebutton.js"></script></head>
    <body>"""
    bare = lighter(f"{given}</body>")
    assert bare.count("<script") == 1
    assert '<script defer src="_static/doctools.js">' in bare
    full = lighter(
        f'{given}<div class="highlight"></div><i class="admonition dropdown"></i></body>'
    )
    for kept in ("clipboard", "toggleHintShow", "togglebutton.js"):
        assert kept in full
    assert "searchindex" not in full
    assert "<script src=" not in full


def test_pages_are_mended() -> None:
    shown = valid(
        '<meta name="viewport" content="1" /><meta name="viewport" content="2" />'
        '<summary aria-label="Toggle hidden content"><p class="collapsed admonition-title">Show</p>'
        '</summary><dt><dl>\n<dd><em class="sig-param">x</em>,</dd>\n</dl></dt>'
    )
    assert shown.count("viewport") == 1
    assert '<summary><span class="collapsed admonition-title">Show</span>' in shown
    assert '<div class="sig-line"><em class="sig-param">x</em>,</div>' in shown
    assert "<dl>" not in shown


def test_the_themes_script_asks_first_and_writes_then(site: Path) -> None:
    built = (site / THEME_SCRIPT).read_text()
    assert with_quick_tab_stops(built) == built
    blocks = 'document.querySelectorAll(["pre",".x > .y"].join(", "))'
    quick = with_quick_tab_stops(f"{blocks}.forEach(e=>{{e.tabIndex=e.scrollWidth>e.a?0:-1}})")
    assert quick.startswith(f"Array.from({blocks},e=>[e,e.closest(")
    assert "||e.scrollWidth>e.a?0:-1]).forEach(([e,t])=>" in quick
    with pytest.raises(ExtensionError, match="has changed"):
        with_quick_tab_stops("nothing of the kind")
