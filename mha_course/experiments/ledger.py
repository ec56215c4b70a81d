"""The ledger: what is said about multi-head attention, with a verdict and its evidence.

`chapters/data/ledger.yml` is written by hand, without a single measured number: it names findings
of experiments, and says whether each must hold. The numbers come from the result files. So a
measurement that changes either changes only what the book prints, or contradicts a verdict, and
then `problems` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Literal

import yaml
from IPython.display import HTML

from mha_course.experiments.catalogue import NAMES, findings
from mha_course.experiments.result import Finding, read

Kind = Literal["finding", "derivation", "citation"]
Verdict = Literal["holds", "holds under conditions", "false", "open", "answered"]
VERDICTS = ("holds", "holds under conditions", "false", "open", "answered")
CONFIDENCE = ("high", "medium", "low")
SIDES = ("for", "against", "about")
DATA = Path("data")  # where a chapter finds the results: it runs in its own folder
_KINDS: tuple[Kind, ...] = ("finding", "derivation", "citation")
_FIELDS = {"id", "claim", "verdict", "detail", "confidence", "chapter", "anchor", "evidence"}


@dataclass(frozen=True)
class Evidence:
    """One reason for a verdict.

    Attributes:
        kind: "finding" of an experiment, "derivation" on a page, or "citation".
        where: "experiment/finding", "chapter#anchor", or a key of the references.
        side: Whether it speaks for the claim, against it, or about its conditions.
        holds: What the finding must be; None for the other kinds.
        says: What a derivation or a citation says; a finding says it itself.
    """

    kind: Kind
    where: str
    side: Literal["for", "against", "about"]
    holds: bool | None = None
    says: str = ""


@dataclass(frozen=True)
class Row:
    """One claim or question of the ledger.

    Attributes:
        id: As in C04 or Q01.
        claim: The claim in short, or the question.
        verdict: What became of it; a question is "answered" or "open".
        detail: What the verdict depends on, or the answer.
        confidence: How sure we are.
        chapter: Page that treats it.
        anchor: Label of the place on that page.
        evidence: The reasons.
    """

    id: str
    claim: str
    verdict: Verdict
    detail: str
    confidence: Literal["high", "medium", "low"]
    chapter: str
    anchor: str
    evidence: tuple[Evidence, ...]


def read_ledger(data: Path = DATA) -> list[Row]:
    """Read `ledger.yml`.

    Raises:
        ValueError: a row or its evidence has not the fields that it needs.
    """
    rows = yaml.safe_load((data / "ledger.yml").read_text(encoding="utf-8"))
    return [_row(row) for row in rows]


def _row(row: dict[str, Any]) -> Row:
    name = row.get("id", row)
    if row.keys() != _FIELDS:
        raise ValueError(f"{name}: fields {sorted(row.keys() ^ _FIELDS)} are missing, or too many")
    for field, allowed in (("verdict", VERDICTS), ("confidence", CONFIDENCE)):
        if row[field] not in allowed:
            raise ValueError(f"{name}: {field} {row[field]!r} is none of {', '.join(allowed)}")
    evidence = tuple(_evidence(name, item) for item in row["evidence"])
    return Row(**{**row, "evidence": evidence})


def _evidence(row: str, item: dict[str, Any]) -> Evidence:
    kinds = [kind for kind in _KINDS if kind in item]
    if len(kinds) != 1:
        raise ValueError(f"{row}: evidence {item} must have one of {', '.join(_KINDS)}")
    kind = kinds[0]
    needed = {kind, "side", "holds" if kind == "finding" else "says"}
    if item.keys() != needed or item["side"] not in SIDES:
        raise ValueError(f"{row}: evidence {item} must have {sorted(needed)}, side one of {SIDES}")
    return Evidence(kind, item[kind], item["side"], item.get("holds"), item.get("says", ""))


@cache
def all_findings(data: Path = DATA) -> Mapping[str, Finding]:
    """Every finding of every result file, by "experiment/finding"."""
    return {
        f"{name}/{key}": finding
        for name in NAMES
        if (data / f"{name}.json").exists()
        for key, finding in findings(read(data / f"{name}.json")).items()
    }


def problems(rows: Sequence[Row], found: Mapping[str, Finding]) -> list[str]:
    """Say where verdicts contradict their evidence; empty if nowhere."""
    return [problem for row in rows for problem in (*_contradicted(row, found), *_unfit(row))]


def _contradicted(row: Row, found: Mapping[str, Finding]) -> list[str]:
    wrong = []
    for evidence in row.evidence:
        if evidence.kind != "finding":
            continue
        finding = found.get(evidence.where)
        if finding is None:
            wrong.append(f"{row.id}: there is no finding {evidence.where}")
        elif finding.holds != evidence.holds:
            wrong.append(
                f"{row.id}: the ledger says that {evidence.where} "
                f"{'holds' if evidence.holds else 'does not hold'}, but: {finding.says}"
            )
    return wrong


def _unfit(row: Row) -> list[str]:
    """Whether the sides of the evidence allow the verdict."""
    sides = {evidence.side for evidence in row.evidence}
    is_question = row.id.startswith("Q")
    if is_question != (row.verdict == "answered") and row.verdict != "open":
        return [
            f"{row.id}: {row.verdict!r} is no verdict of a {'question' if is_question else 'claim'}"
        ]
    needs: dict[str, tuple[set[str], set[str]]] = {  # sides that must be there, and must not
        "holds": ({"for"}, {"against"}),
        "false": ({"against"}, {"for"}),
        "holds under conditions": ({"for"}, set()),
        "answered": (set(), set()),
        "open": (set(), set()),
    }
    must, must_not = needs[row.verdict]
    wrong = []
    if not row.evidence:
        wrong.append(f"{row.id}: there is no evidence")
    if not must <= sides:
        wrong.append(f"{row.id}: {row.verdict!r} without evidence {' and '.join(must - sides)} it")
    if must_not & sides:
        wrong.append(
            f"{row.id}: {row.verdict!r} beside evidence {' and '.join(must_not & sides)} it"
        )
    if row.verdict == "holds under conditions" and not sides & {"against", "about"}:
        wrong.append(f"{row.id}: no evidence shows that there are conditions")
    return wrong


def resolved(rows: Sequence[Row], found: Mapping[str, Finding]) -> list[dict[str, Any]]:
    """The ledger as plain data with every number in it, for other programs."""
    return [
        {
            "id": row.id,
            "claim": row.claim,
            "verdict": row.verdict,
            "detail": row.detail,
            "confidence": row.confidence,
            "link": f"{row.chapter}.html#{row.anchor}",
            "evidence": [
                {"kind": e.kind, "where": e.where, "side": e.side, "says": _says(e, found)}
                for e in row.evidence
            ],
        }
        for row in rows
    ]


def claims_table(*ids: str, data: Path = DATA) -> HTML:
    """Table of some claims for the page that treats them.

    Raises:
        ValueError: a claim is not in the ledger.
    """
    rows = {row.id: row for row in read_ledger(data)}
    missing = [claim for claim in ids if claim not in rows]
    if missing:
        raise ValueError(f"{', '.join(missing)} not in {data / 'ledger.yml'}")
    return ledger_table([rows[claim] for claim in ids], all_findings(data))


def ledger_table(rows: Sequence[Row], found: Mapping[str, Finding]) -> HTML:
    """Table of rows of the ledger, with the evidence folded under each verdict."""
    body = "".join(_html_row(row, found) for row in rows)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("id", "claim", "verdict, evidence"))
    return HTML(f'<table class="table mha-ledger"><thead><tr>{head}</tr></thead>{body}</table>')


def _html_row(row: Row, found: Mapping[str, Finding]) -> str:
    reasons = "".join(
        f"<li><b>{e.side}</b>: {escape(_says(e, found))} ({_source(e)})</li>" for e in row.evidence
    )
    link = f"{row.chapter}.html#{row.anchor}"
    return (
        f'<tr><th scope="row" id="{row.id.lower()}"><a href="{link}">{row.id}</a></th>'
        f"<td>{escape(row.claim)}</td>"
        f"<td><b>{row.verdict}</b> (confidence: {row.confidence}). {escape(row.detail)}"
        f"<details><summary>evidence for {row.id}</summary><ul>{reasons}</ul></details></td></tr>"
    )


def _says(evidence: Evidence, found: Mapping[str, Finding]) -> str:
    return found[evidence.where].says if evidence.kind == "finding" else evidence.says


def _source(evidence: Evidence) -> str:
    if evidence.kind == "derivation":
        page, _, anchor = evidence.where.partition("#")
        return f'<a href="{page}.html#{anchor}">shown here</a>'
    if evidence.kind == "finding":
        name, _, _ = evidence.where.partition("/")
        return f"measured: <code>mha-course experiment {name}</code>"
    return f"source: {evidence.where}"
