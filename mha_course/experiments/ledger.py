"""The ledger: what is said about multi-head attention, with a verdict and its evidence.

`chapters/data/ledger.yml` is written by hand, without a single measured number: it names findings
of experiments, and says whether each must hold. The numbers come from the result files. So a
measurement that changes either changes only what the book prints, or contradicts a verdict, and
then `problems` says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from IPython.display import HTML

from mha_course.experiments.catalogue import NAMES, findings
from mha_course.experiments.result import Finding, read
from mha_course.experiments.sources import Source, sources

Kind = Literal["finding", "derivation", "citation"]
Verdict = Literal["holds", "holds under conditions", "false", "open", "answered"]
Confidence = Literal["high", "medium", "low"]
Side = Literal["for", "against", "about"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
CONFIDENCE: tuple[Confidence, ...] = get_args(Confidence)
SIDES: tuple[Side, ...] = get_args(Side)
DATA = Path("data")  # where a chapter finds the results: it runs in its own folder
_KINDS: tuple[Kind, ...] = get_args(Kind)
_TRUTH = {"true": True, "false": False}
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
    side: Side
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
    confidence: Confidence
    chapter: str
    anchor: str
    evidence: tuple[Evidence, ...]


def read_ledger(data: Path = DATA) -> list[Row]:
    """Read `ledger.yml`.

    Raises:
        ValueError: a row or its evidence has not the fields that it needs.
    """
    # all as text: plain YAML would take the verdict `false` for a truth value
    rows = yaml.load((data / "ledger.yml").read_text(encoding="utf-8"), yaml.BaseLoader)
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
    if kind == "finding" and item["holds"] not in _TRUTH:
        raise ValueError(f"{row}: holds {item['holds']!r} must be true or false")
    holds = _TRUTH[item["holds"]] if kind == "finding" else None
    return Evidence(kind, item[kind], item["side"], holds, item.get("says", ""))


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


def resolved(rows: Sequence[Row], data: Path = DATA) -> list[dict[str, Any]]:
    """The ledger as plain data with every number and source in it."""
    found, cited = all_findings(data), sources(data.resolve().parents[1] / "references.bib")
    return [
        {
            "id": row.id,
            "claim": row.claim,
            "verdict": row.verdict,
            "detail": row.detail,
            "confidence": row.confidence,
            "link": f"{row.chapter}.html#{row.anchor}",
            "evidence": [_resolved(evidence, found, cited) for evidence in row.evidence],
        }
        for row in rows
    ]


def _resolved(
    evidence: Evidence, found: Mapping[str, Finding], cited: Mapping[str, Source]
) -> dict[str, str]:
    says = evidence.says
    if evidence.kind == "finding":
        name, _, _ = evidence.where.partition("/")
        says, source, link = found[evidence.where].says, f"mha-course experiment {name}", ""
    elif evidence.kind == "derivation":
        page, _, anchor = evidence.where.partition("#")
        source, link = page, f"{page}.html#{anchor}"
    else:
        source, link = cited[evidence.where]
    return {
        "kind": evidence.kind,
        "where": evidence.where,
        "side": evidence.side,
        "says": says,
        "source": source,
        "link": link,
    }


def claims_table(*ids: str, data: Path = DATA) -> HTML:
    """Table of some claims, with their evidence folded under each verdict.

    It is made from the published `ledger.json`, so that a page needs no experiment to show it.

    Raises:
        ValueError: a claim is not in the ledger.
    """
    published = json.loads((data / "ledger.json").read_text(encoding="utf-8"))
    rows = {row["id"]: row for row in published}
    missing = [claim for claim in ids if claim not in rows]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} not in {data / 'ledger.json'}; `mha-course ledger --write` "
            "makes it from ledger.yml"
        )
    body = "".join(_html_row(rows[claim]) for claim in ids)
    head = "".join(f'<th scope="col">{name}</th>' for name in ("id", "claim", "verdict"))
    return HTML(f'<table class="table mha-ledger"><thead><tr>{head}</tr></thead>{body}</table>')


def _html_row(row: dict[str, Any]) -> str:
    reasons = "".join(
        f"<li><b>{e['side']}:</b> {escape(e['says'])} ({_html_source(e)})</li>"
        for e in row["evidence"]
    )
    return (
        f'<tr><th scope="row" id="{row["id"].lower()}"><a href="{row["link"]}">{row["id"]}</a></th>'
        f"<td>{escape(row['claim'])}</td>"
        f"<td><b>{row['verdict']}</b>, confidence {row['confidence']}. {escape(row['detail'])}"
        f"<details><summary>evidence for {row['id']}</summary><ul>{reasons}</ul></details></td>"
        "</tr>"
    )


def _html_source(evidence: Mapping[str, str]) -> str:
    if evidence["kind"] == "finding":
        return f"measured: <code>{evidence['source']}</code>"
    label = "shown here" if evidence["kind"] == "derivation" else escape(evidence["source"])
    return f'<a href="{escape(evidence["link"])}">{label}</a>'
