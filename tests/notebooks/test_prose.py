"""The text of the book: numbers that come from somewhere, plain sentences, one spelling."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import codespell_lib
import pytest
import textstat
from prose import (
    CHAPTERS,
    claims_said,
    glossary,
    linked_terms,
    paragraphs,
    plain,
    reading_minutes,
    sentences,
    without_questions,
)

PAGES = sorted(CHAPTERS.glob("*.md"))
ROOT = CHAPTERS.parent
LOOKED_UP = {"reference", "notation", "glossary"}  # not read from top to bottom
NAMES = [page.stem for page in PAGES]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


# -------------------------------------------------------------------------------- numbers

MEASURED = re.compile(
    r"(?<![\w.#-])[−-]?\d+(?:,\d{3})*(?:\.\d+|(?=\s?%)|(?<=,\d{3}))(?![\w.]*\.\w)"
)
"""Numbers that look measured: with decimals, in per cent, or with thousands."""

OURS = re.compile(
    r"(?:[Hh]eads?|and|or|,) \d{1,2}\.\d{1,2}\b"  # head 4.4, heads 17.3 and 18.6
    r"|(?:torch|Python|version|arXiv|CC BY) \d[\d.]+"
    r"|95 % interval|here 95 %"  # what interval is meant
)
"""Numbers that are names."""


def unfounded(text: str) -> list[str]:
    """Numbers in the text that are neither glued in, nor cited, nor given in a cell or a claim."""
    cells = re.findall(r"^```\{code-cell\}.*?^```$", text, re.DOTALL | re.MULTILINE)
    given = "\n".join(cells + claims_said(text)).replace(",", "").replace("_", "")
    found = []
    for paragraph in paragraphs(without_questions(text)):
        if re.search(r"\{(foot)?cite", paragraph):
            continue
        own = re.sub(
            r"\[[^]]*\]\([^)]*\)", "", paragraph
        )  # a link quotes the heading that it leads to
        for number in MEASURED.findall(OURS.sub("", plain(own))):
            if number.replace(",", "").lstrip("−-") not in given:
                found.append(f"{number}: {paragraph[:80]}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_number_is_computed_loaded_or_cited(page: Path) -> None:
    assert unfounded(read(page)) == []


def test_an_unfounded_number_is_seen() -> None:
    cell = "```{code-cell} python3\nx = 0.25\n```"
    text = f"# T\n\n{cell}\n\nIt is {{glue:text}}`x` of 0.25.\n\nPaper: 25.8 {{footcite}}`a`.\n\n"
    assert unfounded(text + "Head 4.4 and $0.7$ and `0.3`, 12 heads, in 2017.") == []
    for bad in ("It is 0.37 here.", "About 40 % went.", "There are 1,234 of them.", "- at −0.15"):
        assert len(unfounded(text + bad)) == 1, bad


# ------------------------------------------------------------------------------- sentences

EASIEST, HARDEST = 100, 60  # Flesch's reading ease; 60 to 70 is plain English
LONGEST = 45  # words


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.stem not in LOOKED_UP], ids=lambda page: page.stem
)
def test_text_is_easy_to_read(page: Path) -> None:
    said = sentences(read(page))
    ease = textstat.flesch_reading_ease(" ".join(s.rstrip(":") + "." for s in said))
    assert HARDEST <= ease <= EASIEST
    too_long = [s for s in said if len(s.split()) > LONGEST]
    assert too_long == []


def test_hard_text_is_seen() -> None:
    hard = "Notwithstanding considerable methodological heterogeneity, interpretability remains."
    assert textstat.flesch_reading_ease(hard) < HARDEST


STATED = re.compile(r"\*\*Time:\*\* about (\d+) minutes")


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if STATED.search(read(p)) and p.stem not in LOOKED_UP],
    ids=lambda page: page.stem,
)
def test_stated_reading_time_is_the_computed_one(page: Path) -> None:
    stated = STATED.search(read(page))
    assert stated is not None
    minutes = reading_minutes(read(page))
    assert int(stated[1]) % 5 == 0
    assert abs(int(stated[1]) - minutes) <= 3, f"{minutes:.1f} minutes"
    if page.stem != "start":
        assert 12 <= minutes <= 27.5


FILLER = re.compile(
    r"\b(delve|leverag|utili|crucial|pivotal|seamless|cutting-edge|state-of-the-art|"
    r"powerful|simply|obviously|clearly|of course|basically|in order to|it is important to note|"
    r"very|really|truly)\w*",
    re.IGNORECASE,
)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_filler(page: Path) -> None:
    found = [f"{m[0]}: {s[:70]}" for s in sentences(read(page)) for m in FILLER.finditer(s)]
    assert found == []


# -------------------------------------------------------------------------------- glossary

FEWEST_TERMS, MOST_TERMS = 4, 12  # links to the glossary on one page
WITHOUT_TERMS = {
    *("references", "reference", "exercises", "your-progress", "glossary"),
    *("for-instructors", "running-a-class", "grading-a-class"),
    "class-on-jupyterhub",
}

# Terms that no page links to, and why they stand in the glossary all the same
UNLINKED = {
    "bootstrap": "how the reports of `mha-course heads` get their intervals",
    "d_v": "a size, in a table of the notation page",
    "layer normalisation": "in docstrings of the package",
    "loop form": "one of three values of `form`; the other two are linked",
    "mean ablation": "an option of the package",
    "prefix matching": "what papers call the score of an induction head",
}


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.stem not in WITHOUT_TERMS], ids=lambda page: page.stem
)
def test_page_links_to_some_terms_each_once(page: Path) -> None:
    terms = linked_terms(read(page))
    assert FEWEST_TERMS <= len(terms) <= MOST_TERMS
    assert sorted(terms) == sorted(set(terms)), "the first use is linked, no other"


def test_terms_and_pages_agree() -> None:
    linked = {t for p in PAGES if p.stem != "glossary" for t in linked_terms(read(p))}
    entries = glossary()
    assert linked <= {name for names in entries for name in names}
    unlinked = {names[0] for names in entries if not linked & set(names)}
    assert unlinked == UNLINKED.keys(), "link to the term where it is first used, or list it"


def test_links_to_terms_are_seen() -> None:
    text = "A {term}`head`, two {term}`Heads <head>` and {term}`W_Q, W_K, W_V`."
    assert linked_terms(text) == ["head", "head", "w_q, w_k, w_v"]
    assert plain(text) == "A head, two Heads and WQ, WK, WV."  # underscores go
    assert ["mha", "multi-head attention"] in glossary()


# -------------------------------------------------------------------------------- spelling


def american(folder: Path) -> Path:
    """A dictionary of American spellings: codespell has one of British ones; turned round."""
    pairs = Path(codespell_lib.__file__).parent / "data" / "dictionary_en-GB_to_en-US.txt"
    turned = []
    for line in pairs.read_text(encoding="utf-8").splitlines():
        british, _, us = line.partition("->")
        us = us.split(",")[0].strip()
        if us and us not in (
            "practice",
            "license",
            "program",
            "meter",
            "story",
            "stories",
            "check",
        ):
            turned.append(f"{us}->{british}")
    path = folder / "american.txt"
    path.write_text("\n".join(turned) + "\n", encoding="utf-8")
    return path


def misspelt(text: str, folder: Path) -> str:
    file = folder / "text.txt"
    file.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "codespell_lib", "-D", str(american(folder)), "-D", "-"]
    return subprocess.run([*command, str(file)], capture_output=True, text=True).stdout


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_spelling_is_right_and_british(page: Path, tmp_path: Path) -> None:
    assert misspelt("\n\n".join(map(plain, paragraphs(read(page)))), tmp_path) == ""


def test_other_spelling_is_seen(tmp_path: Path) -> None:
    found = misspelt("The color of teh neighbor, initialized.", tmp_path)
    for word in ("color", "teh", "neighbor", "initialized"):
        assert word in found


def test_words_of_the_code_are_right() -> None:
    """Docstrings, comments and messages too, in either spelling: libraries are American."""
    folders = ["mha_course", "tests", "benchmarks", "README.md", "CONTRIBUTING.md", "solutions"]
    command = [sys.executable, "-m", "codespell_lib", "--skip", "*.json,*.pyc,__pycache__"]
    words = "--ignore-words-list=abd,adresse,hist,te,ser,ans,nd,fo,ba,bu,ist,teh,utili,notin"
    result = subprocess.run([*command, words, *folders], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout == ""
