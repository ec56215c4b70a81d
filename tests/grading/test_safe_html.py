"""What learners wrote is shown to instructors, and nothing of it runs."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from mha_course.autograder.safe_html import markdown2html
from mha_course.grading.assignment import read_assignments

RUN = "window.ran=(window.ran||0)+1"
HOSTILE = [
    f"<script>{RUN}</script>",
    f"<img src=x onerror='{RUN}'>",
    f"<img title='>' src=x onerror='{RUN}'>",
    f"<svg onload='{RUN}'></svg>",
    f"<svg><animate onbegin='{RUN}' attributeName=x dur=1s></svg>",
    f"<details open ontoggle='{RUN}'>x</details>",
    f"<input autofocus onfocus='{RUN}'>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f"<a href='javascript:{RUN}'>press</a>",
    f"[press](javascript:{RUN})",
    f"[press](java&#x0A;script:{RUN})",
    f"[press]( &#1;javascript:{RUN})",
    f"[press][1]\n\n[1]: javascript:{RUN}",
    f"<math><maction actiontype=statusline xlink:href='javascript:{RUN}'>press</maction></math>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<form><button formaction='javascript:{RUN}'>press</button></form>",
    f"<style>@import 'x';</style><b style='background:url(javascript:{RUN})'>x</b>",
    f"<object data='javascript:{RUN}'></object><embed src='javascript:{RUN}'>",
    f"<base href='javascript:{RUN}//'><a href='x'>press</a>",
    f"```\n</code></pre><script>{RUN}</script>\n```",
    f"$</script><script>{RUN}</script>$",
    f"$$<img src=x onerror={RUN}>$$",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_nothing_runs(browser: Browser, source: str) -> None:
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_content(f"<!doctype html><body>{markdown2html(source)}</body>")
    for link in page.locator("a, button, maction").all():
        link.click(no_wait_after=True, force=True)
    page.wait_for_timeout(50)
    assert page.evaluate("window.ran") is None
    assert not [url for url in asked if not url.startswith(("about:", "data:"))]
    page.close()


def test_the_probes_do_run_when_nothing_holds_them(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(f"<!doctype html><body>{HOSTILE[1]}{HOSTILE[3]}</body>")
    page.wait_for_function("window.ran >= 2")
    page.close()


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("a *b* **c** `d<e>`", "<p>a <em>b</em> <strong>c</strong> <code>d&lt;e&gt;</code></p>"),
        ("$a < b$ and $$\\frac{1}{2}$$", "$a &lt; b$ and $$\\frac{1}{2}$$"),
        ("[book](https://example.org/a?b=1#c)", '<a href="https://example.org/a?b=1#c">book</a>'),
        ("[file](notes.md)", '<a href="notes.md">file</a>'),
        ("![plot](plot.png)", '<img src="plot.png" alt="plot">'),
        ("| a |\n|---|\n| 1 |", "<td>1</td>"),
        ("<details><summary>Hint</summary>text</details>", "<summary>Hint</summary>"),
        ("- one\n- two", "<li>one</li>"),
    ],
)
def test_what_is_harmless_stays(source: str, kept: str) -> None:
    assert kept in markdown2html(source)


def test_the_cards_of_the_exercises_lose_nothing() -> None:
    texts = [
        cell.source
        for assignment in read_assignments("solutions")
        for cell in assignment.notebook.cells
        if cell.cell_type == "markdown"
    ]
    assert sum("<details>" in text for text in texts) > 50
    for text in texts:
        shown = markdown2html(text)
        assert shown.count("<details>") == text.count("<details>")
        assert "&lt;summary" not in shown
        assert "&lt;details" not in shown


def test_no_field_for_points_can_be_forged() -> None:
    shown = markdown2html("# test_head_dim\n\n<span id=test_head_dim class=score>24</span>")
    assert "id=" not in shown
    assert "class=" not in shown
