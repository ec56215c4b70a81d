"""The ledger: every claim has a verdict that its evidence bears out, and a place in the book."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mha_course.experiments.ledger import (
    Evidence,
    Row,
    all_findings,
    claims_table,
    problems,
    read_ledger,
    resolved,
)
from mha_course.experiments.result import Finding
from mha_course.experiments.sources import Source, sources

ROOT = Path(__file__).parents[2]
CHAPTERS = ROOT / "chapters"
DATA = CHAPTERS / "data"
CLAIMS = {f"C{n:02}" for n in range(1, 36)} | {f"Q{n:02}" for n in range(1, 6)}
ROWS = read_ledger(DATA)
SOURCES = sources(ROOT / "references.bib")


def source(chapter: str) -> str:
    return (CHAPTERS / f"{chapter}.md").read_text(encoding="utf-8")


def test_every_claim_and_question_has_one_row() -> None:
    ids = [row.id for row in ROWS]
    assert len(ids) == len(set(ids))
    assert set(ids) >= CLAIMS
    assert ids == sorted(ids)


def test_no_verdict_contradicts_its_result_file() -> None:
    assert problems(ROWS, all_findings(DATA)) == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row_says_enough_and_leads_somewhere(row: Row) -> None:
    assert row.claim
    assert len(row.detail) > 10
    assert f"({row.anchor})=" in source(row.chapter), "the label that the row links to"
    for evidence in row.evidence:
        if evidence.kind == "derivation":
            chapter, _, label = evidence.where.partition("#")
            assert f"({label})=" in source(chapter), evidence.where
        if evidence.kind == "citation":
            assert evidence.where in SOURCES


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row_stands_in_the_table_of_its_chapter(row: Row) -> None:
    shown = re.findall(r"claims_table\(([^)]*)\)", source(row.chapter))
    assert len(shown) == 1
    assert f'"{row.id}"' in shown[0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_no_measured_number_is_typed_into_a_row(row: Row) -> None:
    """Decimals and percentages come from findings, or are quoted from the claim or a source."""
    own = [row.detail, *(e.says for e in row.evidence if e.kind == "derivation")]
    for text in own:
        quoted = re.findall(r"\d+(?:\.\d+)?", row.claim)
        for number in re.findall(r"\d+\.\d+|\d+(?= %)", text):
            assert number in [*quoted, "1.1"], f"{number} in {text!r}"


def test_published_file_is_the_ledger_with_its_numbers() -> None:
    published = json.loads((DATA / "ledger.json").read_text(encoding="utf-8"))
    assert published == resolved(ROWS, DATA), "`mha-course ledger` writes it anew"


# ------------------------------------------------------------------- do these checks see faults?

FOUND = {"cost/true": Finding(True, "it is 3"), "cost/false": Finding(False, "it is 2")}


def row(verdict: str, *evidence: Evidence, name: str = "C99") -> Row:
    return Row(name, "claim", verdict, "detail", "high", "start", "top", evidence)  # type: ignore[arg-type]


def finding(name: str, side: str, holds: bool = True) -> Evidence:
    return Evidence("finding", f"cost/{name}", side, holds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            row("holds", finding("false", "for")),
            "the ledger says that cost/false holds, but: it is 2",
        ),
        (row("holds", finding("true", "for", False)), "cost/true does not hold, but: it is 3"),
        (row("holds", finding("gone", "for")), "there is no finding cost/gone"),
        (row("holds", finding("true", "against")), "without evidence for it"),
        (
            row("holds", finding("true", "for"), finding("true", "against")),
            "beside evidence against",
        ),
        (row("false", finding("true", "for")), "without evidence against it"),
        (row("holds under conditions", finding("true", "for")), "no evidence shows that there are"),
        (row("open"), "there is no evidence"),
        (row("answered", finding("true", "for")), "'answered' is no verdict of a claim"),
        (row("holds", finding("true", "for"), name="Q09"), "'holds' is no verdict of a question"),
    ],
)
def test_a_verdict_that_does_not_fit_is_found(bad: Row, message: str) -> None:
    assert any(message in problem for problem in problems([bad], FOUND))


@pytest.mark.parametrize(
    "good",
    [
        row("holds", finding("true", "for"), finding("false", "about", False)),
        row("false", finding("false", "against", False)),
        row("holds under conditions", finding("true", "for"), finding("true", "against")),
        row("open", finding("true", "about")),
        row("answered", finding("true", "about"), name="Q09"),
    ],
)
def test_a_verdict_that_fits_is_let_through(good: Row) -> None:
    assert problems([good], FOUND) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("verdict: maybe", "verdict 'maybe' is none of"),
        ("confidence: sure", "confidence 'sure' is none of"),
        ("anchor: x\n  note: y", r"fields \['note'\] are missing, or too many"),
        ("evidence: [{derivation: a}]", "must have"),
        ("evidence: [{finding: a, holds: perhaps, side: for}]", "'perhaps' must be true or false"),
        ("evidence: [{says: a, side: for}]", "must have one of finding, derivation, citation"),
        ("evidence: [{citation: a, says: b, side: with}]", "side one of"),
    ],
)
def test_a_row_that_is_not_one_is_refused(tmp_path: Path, change: str, message: str) -> None:
    fields = {
        "id": "C99",
        "claim": "c",
        "verdict": "open",
        "detail": "d",
        "confidence": "low",
        "chapter": "p",
        "anchor": "a",
        "evidence": "[]",
    }
    changed, _, _ = change.partition(":")
    lines = [f"{k}: {v}" for k, v in fields.items() if k != changed] + [change]
    (tmp_path / "ledger.yml").write_text("- " + "\n  ".join(lines))
    with pytest.raises(ValueError, match=message):
        read_ledger(tmp_path)


def test_table_of_a_page_shows_verdict_evidence_and_numbers() -> None:
    shown = claims_table("C28", "C24", data=DATA).data
    assert shown.index('id="c28"') < shown.index('id="c24"')
    assert 'href="what-heads-cost.html#where-33-percent-comes-from"' in shown
    assert all_findings(DATA)["cost/a-third-more-than-one-head-without-w-o"].says in shown
    with pytest.raises(ValueError, match=r"C77 not in .*ledger\.json"):
        claims_table("C77", data=DATA)


def test_every_reference_has_an_author_a_year_and_an_address() -> None:
    assert SOURCES["vaswani2017"] == Source(
        "Vaswani et al. 2017", "https://arxiv.org/abs/1706.03762"
    )
    for key, source in SOURCES.items():
        assert re.fullmatch(r"[^{}\\]+ (19|20)\d\d", source.label), f"{key}: {source.label}"
        assert source.address.startswith("https://")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("@misc{a, title = {b}, year = {2001}, doi = {1}}", "a has no author, or no year"),
        ("@misc{a, author = {B, C}, year = {2001}}", "a has no doi, no eprint"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(
    tmp_path: Path, entry: str, message: str
) -> None:
    (tmp_path / "x.bib").write_text(entry)
    with pytest.raises(ValueError, match=message):
        sources(tmp_path / "x.bib")
