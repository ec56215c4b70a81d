"""Self-checks: what the directives make, how numbers are read, and the questions on a page."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from live_pages import call
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from mha_course import head_dim
from mha_course.widgets import quiz, self_check
from mha_course.widgets.live import BOOK

CHAPTERS = Path(__file__).parents[2] / "chapters"
WITH_QUIZ = sorted(p.stem for p in CHAPTERS.glob("*.md") if "self_check(" in p.read_text("utf-8"))
CHOICE = """:::{question} How many weights does *one* query have?
- One for each key, see {numref}`fig-cuts`.

  Right. They add up to 1.
- One for each head.

  No. Each head has a `row` of them.
- One.

  No. There is no choice in $W_O$ alone.
:::
"""
NUMBER = """:::{number-question} How wide is a head when `d_model = 1024` and `h = 16`?
:unit: numbers, number

- `head_dim(1024, 16)`

  Right. The heads share the width.
- `16`

  No. That is how many there are.
- `1024`

  No. That is all of them together.
- anything else

  No. Divide the width among the heads.
:::
"""
SHARE = """:::{number-question} Which share is one of three?
:tolerance: 1 %

- `1 / 3`

  Right. One of three.
- `3`

  No. That is the other way round.
- anything else

  No. One divided by three.
:::
"""


def shown_in_jupyterlab(folder: Path, text: str) -> str:
    (folder / "page.md").write_text(text, encoding="utf-8")
    shown = self_check("page", folder=folder)
    assert shown is not None
    return str(shown.data)


@pytest.fixture(autouse=True)
def not_in_the_book(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BOOK, raising=False)


# ----------------------------------------------------------------------------- the directives


def test_d_k_of_1024_and_16_is_computed(tmp_path: Path) -> None:
    html = shown_in_jupyterlab(tmp_path, NUMBER)
    assert re.findall(r'data-number="(.*?)"', html) == [str(head_dim(1024, 16)), "16", "1024"]
    assert "<strong>64 numbers</strong>" in html


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("`16`", "`head_dim(1024, 15)`", "ValueError: d_model=1024 is not divisible"),
        ("`16`", "`causal_mask(2, 2)`", "must be a finite number"),
        ("`16`", "`math.inf`", "must be a finite number"),
        ("`16`", "`8 * 8`", "is 64, which another answer is as well"),
        ("`16`", "16", "must be an expression in `code`"),
        ("`head_dim(1024, 16)`", "`1 / 3`", "shown as 0.333: give a tolerance"),
        (":unit: numbers, number", ":tolerance: much", "'much' must be a number, or one in %"),
        (":unit: numbers, number", ":tolerance: -1", "must be a number, or one in %"),
        (":unit: numbers, number", ":tolerance: 100 %", "which another answer is as well"),
        ("- anything else", "- `7`", "the last answer must be 'anything else'"),
        (
            "  No. That is how many there are.",
            "  So many there are.",
            "begins with 'Right' or 'No'",
        ),
        ("  No. That is how many there are.", "  Right. Well.", "2 of them right"),
        ("  Right. The heads", "  No. The heads", "0 of them right"),
        ("numbers, number", "numbers\n\nText.", "one list of answers, and nothing else"),
    ],
)
def test_a_wrong_question_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert NUMBER.count(old) == 1
    html = shown_in_jupyterlab(tmp_path, NUMBER.replace(old, new))
    assert "system-message" in html
    assert said in re.sub(r"&quot;|&#x27;", "'", html)


def test_a_choice_holds_no_link(tmp_path: Path) -> None:
    linked = CHOICE.replace("One for each head.", "See [this](https://example.org).")
    assert "a button: no links in it" in shown_in_jupyterlab(tmp_path, linked)


def test_numbers_are_shown_with_all_that_matters() -> None:
    assert [quiz.shown(n) for n in (1050624, 0.5, 2 / 3, -7, 33.554)] == [
        "1,050,624",
        "0.5",
        "0.667",
        "−7",
        "33.6",
    ]


# ------------------------------------------------------------------------ numbers, as written


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


READ: dict[str, list[float]] = {
    "64": [64],
    " 64. ": [64],
    "+64": [64],
    "−64": [-64],
    "- 64": [-64],
    "1,024": [1024, 1.024],
    "1.024": [1.024, 1024],
    "1 024": [1024],
    "1\u202f024": [1024],
    "1'024": [1024],
    "1_024": [1024],
    "1,048,576": [1048576],
    "1.048.576": [1048576],
    "1.048.576,5": [1048576.5],
    "1,048,576.5": [1048576.5],
    "0,125": [0.125],
    "0.125": [0.125],
    ".5": [0.5],
    ",5": [0.5],
    "2,5": [2.5],
    "1e6": [1e6],
    "1E+6": [1e6],
    "1.5e-3": [0.0015],
    "1,5e-3": [0.0015],
    "1.5 × 10^6": [1.5e6],
    "1.5·10⁶": [1.5e6],
    "10⁻³": [0.001],
    "2**20": [1048576],
    "2^20": [1048576],
    "1/3": [1 / 3],
    "1 ⁄ 3": [1 / 3],
    "½": [0.5],
    "1024 / 16": [64],
    "4*256^2 + 4*256": [263168],
    "-2^2": [-4],
    "2^3^2": [512],
    "8 - 4 - 2": [2],
    "64 / 4 / 2": [8],
    "(1 + 2) * 3": [9],
    "d_k = 64": [64],
    "≈ 0.33": [0.33],
    "６４": [64],  # full width
    "": [],
    "sixty": [],
    "64 or 65": [],
    "1,02,4": [],
    "12,34": [12.34],
    "1,0240": [1.024],
    "1/0": [],
    "9^9^9^9": [],
    "(1 + 2": [],
    "64-": [],
    "1 1/2": [],
    "1.2.3": [],
    "<b>64</b>": [],
    "0x40": [],
}


def test_numbers_are_read_as_people_write_them(blank: Page) -> None:
    found = call(blank, "quiz", "given.map((text) => readings(text))", list(READ))
    wrong = {}
    for (text, values), readings in zip(READ.items(), found, strict=True):
        read = [one["value"] for one in readings if not one["unit"]]
        if read != pytest.approx(values):
            wrong[text] = readings
    assert wrong == {}


UNITS = {
    "64 numbers": "numbers",
    "64numbers": "numbers",
    "1e6 bytes": "bytes",
    "1e6bytes": "bytes",
    "1,024 MB.": "MB",
    "12 MB/s": "MB/s",
    "25 %": "%",
    "25%": "%",
    "3 per  head": "per head",
    "1 024 tokens": "tokens",
    "5 m²": "m^2",
}


def test_units_are_told_from_numbers(blank: Page) -> None:
    found = call(blank, "quiz", "given.map((text) => readings(text)[0]?.unit)", list(UNITS))
    assert dict(zip(UNITS, found, strict=True)) == UNITS


def judged(blank: Page, text: str, units: list[str], *cases: tuple[float, float]) -> Any:
    """Return what `judge` finds of a text; the first case is the right one."""
    numbers = [{"number": number, "within": within} for number, within in cases]
    question = {"units": units, "cases": [*numbers, {"number": None}]}
    return call(blank, "quiz", "judge(given[0], given[1])", [text, question])


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("32", 0),
        ("32 MiB", 0),
        ("32 mebibytes", 0),
        ("32 Mebibytes", 0),
        ("31.68", 0),
        ("32.32", 0),
        ("31.67", 2),
        ("32.33", 2),
        ("4 MiB", 1),
        ("3.97", 1),
        ("0", 2),
        ("-32", 2),
    ],
)
def test_an_answer_is_right_within_its_tolerance(blank: Page, text: str, met: int) -> None:
    found = judged(blank, text, ["MiB", "mebibytes"], (32, 0.32 + 1e-9), (4, 0.04))
    assert found == {"met": met}


def test_a_number_that_two_styles_read_differently_may_be_either(blank: Page) -> None:
    for text in ("1,024", "1.024", "1024", "1 024"):
        assert judged(blank, text, [""], (1024, 0)) == {"met": 0}, text
    assert judged(blank, "1,024", [""], (1.024, 0)) == {"met": 0}
    assert judged(blank, "10.24", [""], (1024, 0)) == {"met": 1}


def test_another_unit_is_named_as_the_mistake(blank: Page) -> None:
    asked = "The number is asked for in MiB; you wrote “{}”."
    for unit in ("MB", "mib", "GiB", "numbers"):
        found = judged(blank, f"32 {unit}", ["MiB"], (32, 0))
        assert found == {"wrongUnit": asked.format(unit)}
    found = judged(blank, "5 heads", [""], (5, 0))
    assert found == {"wrongUnit": "The number has no unit; you wrote “heads”."}


def test_per_cent_are_a_share(blank: Page) -> None:
    assert judged(blank, "75 %", [""], (0.75, 0)) == {"met": 0}
    assert judged(blank, "75", [""], (0.75, 0)) == {"met": 1}
    assert judged(blank, "75 %", ["%"], (75, 0)) == {"met": 0}
    assert judged(blank, "75", ["%"], (75, 0)) == {"met": 0}


def test_what_is_no_number_is_quoted_and_explained(blank: Page) -> None:
    said = judged(blank, " many ", [""], (1, 0))["unread"]
    assert said.startswith("“many” cannot be read as a number. Write it as 64, 1,024, 0.5")
    assert judged(blank, " ", [""], (1, 0))["unread"].startswith("Write it as")


# ------------------------------------------------------------------------------ the questions


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a page with three questions, from a folder of files."""
    folder = tmp_path_factory.mktemp("quiz")
    body = shown_in_jupyterlab(folder, CHOICE + NUMBER + SHARE)
    page = folder / "page.html"
    head = "<!doctype html><html lang=en><meta charset=utf-8><title>Questions</title>"
    page.write_text(f"{head}<main><h1>Questions</h1>{body}</main>", encoding="utf-8")
    return page.as_uri()


@pytest.fixture
def reader(browser: Browser) -> Iterator[BrowserContext]:
    """A browser in which nobody has answered anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context
    context.close()


@pytest.fixture
def page(reader: BrowserContext, small: str) -> Page:
    return opened(reader, small)


def opened(reader: BrowserContext, address: str) -> Page:
    page = reader.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    expect(page.locator(".mha-score progress"), str(problems)).to_be_visible()
    return page


def reload(page: Page) -> None:
    page.wait_for_timeout(200)  # what has just been stored may be on its way to another process
    page.reload()
    expect(page.locator(".mha-score progress")).to_be_visible()


def question(page: Page, number: int) -> Locator:
    return page.locator(".mha-question").nth(number - 1)


def score(page: Page) -> str:
    return page.locator(".mha-score").inner_text()


def stored(page: Page) -> dict[str, Any]:
    kept = page.evaluate("localStorage.getItem('mha-course/quiz/page')")
    return dict(json.loads(kept)) if kept else {}


def test_choices_by_mouse(page: Page) -> None:
    asked = question(page, 1)
    said = asked.get_by_role("status")
    assert said.inner_text() == ""
    asked.get_by_role("button", name="One for each head.").click()
    assert said.inner_text() == "No. Each head has a row of them."
    assert said.locator("code").inner_text() == "row"
    expect(asked.get_by_role("button", name="One for each head. ✗ not right")).to_be_visible()
    expect(asked).to_contain_text("not yet: 1 try")
    assert "0 of 3 right at the first try, 0 of 3 answered." in score(page)
    asked.get_by_role("button", name="One for each key").click()
    assert said.inner_text() == "Right. They add up to 1."
    expect(asked).to_contain_text("✓ right: 2 tries")
    assert "0 of 3 right at the first try, 1 of 3 answered." in score(page)


def test_after_the_right_choice_the_others_say_why_and_do_not_count(page: Page) -> None:
    asked = question(page, 1)
    asked.get_by_role("button", name="One for each key").click()
    asked.get_by_role("button", name="One.", exact=True).click()
    assert asked.get_by_role("status").inner_text().startswith("No. There is no choice")
    expect(asked).to_contain_text("✓ right at the first try")
    assert "1 of 3 right at the first try, 1 of 3 answered." in score(page)


def test_the_same_wrong_choice_counts_once(page: Page) -> None:
    wrong = question(page, 1).get_by_role("button", name="One for each head.")
    wrong.click()
    wrong.click()
    expect(question(page, 1)).to_contain_text("not yet: 1 try")


def test_everything_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")  # the first choice
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert question(page, 1).get_by_role("status").inner_text().startswith("No. Each head")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert question(page, 1).get_by_role("status").inner_text().startswith("Right.")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.type("64")
    page.keyboard.press("Enter")
    assert question(page, 2).get_by_role("status").inner_text().startswith("64 numbers")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.type("0,33")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the button "Check"
    said = question(page, 3).get_by_role("status").inner_text()
    assert said.startswith("0.333\n\nRight. One of three.")
    assert "These were all questions: 2 of 3 right at the first try, 3 of 3 answered." in said
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Start again"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent").startswith("One for each key")
    assert "0 of 3 right at the first try, 0 of 3 answered." in score(page)


@pytest.mark.parametrize(
    ("typed", "said", "mark"),
    [
        ("64", "64 numbers\n\nRight. The heads share the width.", "✓ right at the first try"),
        ("64 numbers", "64 numbers\n\nRight. The heads share the width.", "✓ right at"),
        ("16", "No. That is how many there are.", "not yet: 1 try"),
        ("1,024", "No. That is all of them together.", "not yet: 1 try"),
        ("1.024", "No. That is all of them together.", "not yet: 1 try"),
        ("65", "No. Divide the width among the heads.", "not yet: 1 try"),
        ("64 bytes", "No. The number is asked for in numbers; you wrote “bytes”.", "1 try"),
    ],
)
def test_every_number_has_its_answer(page: Page, typed: str, said: str, mark: str) -> None:
    asked = question(page, 2)
    asked.get_by_role("textbox", name="Your number in numbers").fill(typed)
    asked.get_by_role("button", name="Check").click()
    assert asked.get_by_role("status").inner_text() == said
    expect(asked).to_contain_text(mark)


def test_what_cannot_be_read_does_not_count(page: Page) -> None:
    asked = question(page, 2)
    for typed in ("", "sixty-four", "<img src=x onerror=alert(1)>"):
        asked.get_by_role("textbox").fill(typed)
        asked.get_by_role("button", name="Check").click()
        assert "Write it as 64" in asked.get_by_role("status").inner_text()
    assert asked.locator("img").count() == 0
    assert "not yet" not in asked.inner_text()


def test_an_answer_that_is_shown_is_not_right(page: Page) -> None:
    asked = question(page, 2)
    asked.get_by_role("button", name="Show the answer").click()
    assert asked.get_by_role("status").inner_text().startswith("64 numbers")
    asked.get_by_role("textbox").fill("64")
    asked.get_by_role("button", name="Check").click()
    expect(asked).to_contain_text("answer shown")
    assert "0 of 3 right at the first try, 1 of 3 answered." in score(page)


# ------------------------------------------------------------------------------ what is kept


def answer_some(page: Page) -> None:
    question(page, 1).get_by_role("button", name="One for each key").click()
    field = question(page, 2).get_by_role("textbox")
    for typed in ("16", "64"):
        field.fill(typed)
        field.press("Enter")


def test_the_score_survives_a_reload_and_start_again_forgets_it(page: Page) -> None:
    expect(page.get_by_role("button", name="Start again")).to_be_hidden()
    answer_some(page)
    before = score(page)
    assert "1 of 3 right at the first try, 2 of 3 answered." in before
    assert "The score stays in this browser." in before
    reload(page)
    expect(page.locator(".mha-score")).to_have_text(re.compile("2 of 3 answered"))
    assert score(page) == before
    expect(question(page, 1)).to_contain_text("✓ right at the first try")
    expect(question(page, 1).get_by_role("button", name="✓ right")).to_be_visible()
    expect(question(page, 2)).to_contain_text("✓ right: 2 tries")
    expect(question(page, 2).get_by_role("textbox")).to_have_value("64")
    page.get_by_role("button", name="Start again").click()
    assert stored(page) == {}
    assert "Your answers on this page are forgotten." in score(page)
    assert "✓" not in page.locator(".mha-quiz").inner_text()
    reload(page)
    expect(page.locator(".mha-score")).to_have_text(re.compile("0 of 3 answered"))


def test_only_answers_are_kept_and_nothing_is_sent(page: Page) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    answer_some(page)
    kept = stored(page)
    assert [one["state"] for one in kept.values()] == ["right", "right", "open"]
    assert [one["tries"] for one in kept.values()] == [["0"], ["16", "64"], []]
    assert page.evaluate("Object.keys(localStorage)") == ["mha-course/quiz/page"]
    assert page.evaluate("document.cookie") == ""
    assert sent == []


REFUSED = (
    "Object.defineProperty(window, 'localStorage', {get() {"
    " throw new DOMException('no', 'SecurityError') }})"
)
FULL = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }"


@pytest.mark.parametrize("script", [REFUSED, FULL], ids=["refused", "full"])
def test_without_storage_it_works_and_says_so(
    reader: BrowserContext, small: str, script: str
) -> None:
    reader.add_init_script(script)
    page = opened(reader, small)
    answer_some(page)
    assert "1 of 3 right at the first try, 2 of 3 answered." in score(page)
    assert "This browser keeps nothing: the score is gone when you leave the page." in score(page)
    page.get_by_role("button", name="Start again").click()
    assert "0 of 3 answered" in score(page)


@pytest.mark.parametrize(
    "kept",
    [
        "no JSON",
        "null",
        "7",
        "[]",
        '{"KEY": null}',
        '{"KEY": {"tries": 5, "state": "right"}}',
        '{"KEY": {"tries": [{}], "state": "right"}}',
        '{"KEY": {"tries": [], "state": "won"}}',
        '{"other": {"tries": ["0"], "state": "right"}}',
    ],
)
def test_what_others_have_stored_is_left_out(reader: BrowserContext, small: str, kept: str) -> None:
    page = opened(reader, small)
    key = question(page, 1).get_attribute("data-key")
    page.evaluate(
        "kept => localStorage.setItem('mha-course/quiz/page', kept)", kept.replace("KEY", str(key))
    )
    reload(page)
    expect(page.locator(".mha-score")).to_have_text(re.compile("0 of 3 answered"))
    answer_some(page)
    assert "2 of 3 answered" in score(page)


def test_a_question_that_has_changed_begins_anew(tmp_path: Path) -> None:
    def keys(text: str) -> list[str]:
        return re.findall(r'data-key="(.*?)"', shown_in_jupyterlab(tmp_path, text))

    first, second = keys(CHOICE + NUMBER)
    assert keys(NUMBER + CHOICE.replace("They add up", "Together they come")) == [second, first]
    assert keys(CHOICE.replace("One for each head", "One a head"))[0] != first


# ------------------------------------------------------------------ without scripts, on paper


@pytest.fixture
def scriptless(browser: Browser, small: str) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(small)
    yield page
    context.close()


def test_without_scripts_answers_open_and_say_why(scriptless: Page) -> None:
    asked = question(scriptless, 1)
    why = asked.get_by_text("They add up to 1.")
    expect(why).to_be_hidden()
    asked.get_by_text("One for each key").click()
    expect(why).to_be_visible()
    number = question(scriptless, 2)
    expect(number.get_by_text("That is how many there are.")).to_be_hidden()
    number.get_by_text("Show the answer").click()
    for text in ("64 numbers", "16 numbers", "That is how many there are.", "Anything else"):
        expect(number.get_by_text(text)).to_be_visible()
    expect(scriptless.locator(".mha-answers")).to_be_hidden()


def check_print(page: Page) -> None:
    page.emulate_media(media="print")
    text = page.locator(".mha-quiz").inner_text()
    for once in (
        "How many weights does one query have?",
        "One for each key",
        "Each head has a row of them.",
        "That is how many there are.",
        "1,024 numbers",
    ):
        assert text.count(once) == 1, once
    questions, _, answers = text.partition("Answers\n")
    assert "They add up to 1." in answers
    assert "64" not in questions
    assert "Your number: ____________ numbers" in questions
    for screen in ("✓", "Check", "Show the answer", "Start again", "browser", "try"):
        assert screen not in text, screen


def test_paper_has_questions_and_then_all_answers(page: Page, scriptless: Page) -> None:
    check_print(page)
    check_print(scriptless)


def test_paper_is_the_same_after_answers(page: Page) -> None:
    answer_some(page)
    check_print(page)


def test_paper_is_the_same_with_open_folds(scriptless: Page) -> None:
    scriptless.get_by_text("Show the answer").first.click()
    question(scriptless, 1).get_by_text("One for each key").click()
    check_print(scriptless)


# ------------------------------------------------------------------------------ in JupyterLab


def test_a_notebook_has_the_questions_as_well(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": [line + "\n" for line in CHOICE.splitlines()]},
        {"cell_type": "code", "source": [":::{question} none"]},
        {"cell_type": "markdown", "source": NUMBER},
    ]
    (tmp_path / "page.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    shown = self_check("page", folder=tmp_path)
    assert shown is not None
    assert len(re.findall(r'<div class="mha-question', shown.data)) == 2


def test_a_page_that_is_not_there_is_named(tmp_path: Path) -> None:
    shown = self_check("page", folder=tmp_path)
    assert shown is not None
    assert f"no questions in page.md or page.ipynb in {tmp_path}" in shown.data


def test_in_the_book_the_cell_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BOOK, "1")
    assert self_check("page") is None


# ---------------------------------------------------------------------- the chapters, as built


@pytest.mark.parametrize("chapter", WITH_QUIZ)
def test_questions_of_a_chapter_are_whole(chapter: str) -> None:
    shown = self_check(chapter, folder=CHAPTERS)
    assert shown is not None
    html = re.sub(r"<(style|script)>.*?</\1>", "", shown.data, flags=re.DOTALL)
    assert "system-message" not in html
    assert "{" not in re.sub(r"<code>.*?</code>|\\\(.*?\\\)", "", html), "a role is left"
    said = re.findall(r"<p>((?:Right|No)\b.*?)</p>", html, re.DOTALL)
    assert len(said) >= 2 * 15, "each stands on the screen and on paper"
    short = [why for why in said if len(why.split()) < 4]
    assert short == ["No. $d$"] * 0, "each answer says why"
    for right, why in re.findall(r"<strong>(.*?)</strong></p>\s*<p>Right(.*?)</p>", html):
        number = right.split()[0]
        assert not re.search(rf"(?<![\d,.]){re.escape(number)}(?![\d,.]*\d)", why), "computed above"


def test_the_right_choice_has_no_usual_place() -> None:
    everywhere: Counter[int] = Counter()
    for chapter in WITH_QUIZ:
        shown = self_check(chapter, folder=CHAPTERS)
        assert shown is not None
        here: Counter[int] = Counter()
        for question in shown.data.split('<div class="mha-question')[1:]:
            verdicts = re.findall(r'<details class="mha-choice mha-(right|wrong)', question)
            if verdicts:
                here[verdicts.index("right")] += 1
        assert max(here.values()) <= 0.6 * here.total(), chapter
        everywhere += here
    assert max(everywhere.values()) < 0.45 * everywhere.total()


def test_chapters_about_sizes_ask_for_numbers() -> None:
    asking = [
        name
        for name in WITH_QUIZ
        if ":::{number-question}" in (CHAPTERS / f"{name}.md").read_text("utf-8")
    ]
    assert {"cutting-d-model-into-heads", "what-heads-cost", "how-many-heads"} <= set(asking)
    cutting = self_check("cutting-d-model-into-heads", folder=CHAPTERS)
    assert cutting is not None
    assert f"<strong>{head_dim(1024, 16)} numbers</strong>" in cutting.data


def built(site: Path, chapter: str) -> str:
    return (site / f"chapters/{chapter}.html").as_uri()


@pytest.mark.parametrize("chapter", WITH_QUIZ)
def test_every_chapters_questions_can_be_answered(
    reader: BrowserContext, site: Path, chapter: str
) -> None:
    page = opened(reader, built(site, chapter))
    questions = page.locator(".mha-question")
    count = questions.count()
    assert count >= 5
    keys = questions.evaluate_all("all => all.map(one => one.dataset.key)")
    assert len(set(keys)) == count
    for number in range(1, count + 1):
        asked = question(page, number)
        numbers = asked.locator(".mha-case.mha-right")
        if numbers.count():
            asked.get_by_role("textbox").fill(str(numbers.get_attribute("data-number")))
            asked.get_by_role("button", name="Check").click()
        else:
            rights = asked.locator("details").evaluate_all(
                "all => all.map(one => one.classList.contains('mha-right'))"
            )
            assert rights.count(True) == 1
            asked.locator("button.mha-choice").nth(rights.index(True)).click()
        expect(asked.get_by_role("status")).to_contain_text("Right.")
    assert f"{count} of {count} right at the first try" in score(page)
    reload(page)
    expect(page.locator(".mha-score")).to_contain_text(f"{count} of {count} right")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
def test_no_reader_is_left_out(browser: Browser, site: Path, scheme: Any, width: int) -> None:
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 800}, reduced_motion="reduce"
    )
    page = opened(context, built(site, "cutting-d-model-into-heads"))
    for state in ("before", "after"):
        found = Axe().run(page, context=".mha-quiz")
        assert found.violations_count == 0, f"{state}: {found.generate_report()}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), state
        field = question(page, 1).get_by_role("textbox")
        for typed in ("16", "64"):
            field.fill(typed)
            field.press("Enter")
        for button in page.locator("button.mha-choice").all()[:3]:
            button.click()
    context.close()


def test_formulas_are_set_in_choices_and_in_what_is_said(
    reader: BrowserContext, site: Path
) -> None:
    page = opened(reader, built(site, "what-heads-cost"))
    field = question(page, 1).get_by_role("textbox")
    field.fill("263,168")
    field.press("Enter")
    said = question(page, 1).get_by_role("status")
    expect(said.locator("mjx-container")).to_be_visible()
    assert "\\(" not in page.locator(".mha-quiz").inner_text()
