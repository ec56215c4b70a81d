"""A survey of a model's heads as lines for a terminal and as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import torch

from mha_course.heads.importance import bootstrap
from mha_course.heads.pattern_table import PatternTable
from mha_course.heads.patterns import LABELS, Label
from mha_course.heads.survey import Alike, Settings, Worth
from mha_course.plots.canvas import Figure
from mha_course.plots.page import html_file
from mha_course.plots.words import head_names

_SHOWN = 10  # heads in a list


class Survey(NamedTuple):
    """All that a report tells.

    Attributes:
        model: The model's name.
        text: What was read, in words.
        settings: How much of it.
        patterns: What the heads attend to.
        worth: What they are worth.
        alike: How alike they are.
    """

    model: str
    text: str
    settings: Settings
    patterns: PatternTable
    worth: Worth
    alike: Alike


class Best(NamedTuple):
    """The head that has a pattern most clearly, beside the baselines of the pattern."""

    pattern: str
    head: str
    score: float
    uniform: float
    fixed_offset: float
    queries: int


class Change(NamedTuple):
    """One head, and what its removal changes on held-out text, with a 95 % interval."""

    head: str
    pattern: Label
    mean: float
    low: float
    high: float


class Section(NamedTuple):
    """A figure of the report under its heading, with the sentence that says how to read it."""

    title: str
    text: str
    figure: Figure


def best_heads(patterns: PatternTable) -> list[Best]:
    """The best head for every pattern that had a query in the texts."""
    found = []
    for name, tally in patterns.scores[0].items():
        if tally.queries == 0:
            continue
        scores = torch.stack([layer[name].score for layer in patterns.scores])
        best = int(scores.argmax())
        found.append(
            Best(
                name,
                head_names(*scores.shape)[best],
                scores.flatten()[best].item(),
                tally.uniform,
                tally.fixed_offset,
                tally.queries,
            )
        )
    return found


def changes(
    worth: Worth, patterns: PatternTable, *, most: bool, shown: int = _SHOWN
) -> list[Change]:
    """Heads whose removal costs most on held-out text, or those that are better gone.

    The most important ones are chosen by the texts that find, and shown on the held-out texts;
    suspected harmful heads likewise.
    """
    names = head_names(*worth.changes.shape[:2])
    order = worth.changes.mean(-1).flatten().argsort(descending=most).tolist()
    if not most:
        order = [i for i in order if worth.negative.suspects.flatten()[i]]
    interval = bootstrap(worth.held_out)
    labels = [label for layer in patterns.labels for label in layer]
    return [
        Change(
            names[i],
            labels[i],
            *(bound.flatten()[i].item() for bound in interval),
        )
        for i in order[:shown]
    ]


def layer_lines(patterns: PatternTable) -> list[str]:
    """One line per layer: which of its heads have which pattern."""
    lines = ["layer  heads with a clear pattern"]
    for layer, names in enumerate(patterns.labels):
        told = []
        for label in LABELS[:-1]:  # the last is "none"
            having = [str(head) for head, name in enumerate(names) if name == label]
            if having:
                told.append(f"{label} {' '.join(having)}")
        lines.append(f"{layer:5}  {', '.join(told) or '-'}")
    return lines


def pattern_lines(patterns: PatternTable) -> list[str]:
    """One line per pattern: its best head, beside the baselines."""
    lines = ["pattern         best head  score  even attention  best fixed offset"]
    for best in best_heads(patterns):
        offset = "" if best.fixed_offset != best.fixed_offset else f"{best.fixed_offset:.2f}"
        lines.append(
            f"{best.pattern:15} {best.head:>9}  {best.score:5.2f}  {best.uniform:14.2f}  "
            f"{offset:>17}".rstrip()
        )
    return lines


def worth_lines(worth: Worth, patterns: PatternTable) -> list[str]:
    """What the heads are worth, in a few lines."""
    intact = bootstrap(worth.intact)
    lines = [
        f"loss of the whole model on held-out text: {intact.mean:.3f} {worth.unit} "
        f"({intact.low:.3f} to {intact.high:.3f}); knowing nothing: {worth.chance:.3f}",
        "",
        "removing one head raises it most for   change   95 % interval",
    ]
    lines += map(_change_line, changes(worth, patterns, most=True))
    suspects, confirmed = (int(heads.sum()) for heads in worth.negative)
    lines += [
        "",
        f"heads that look harmful: {suspects} on the first half of the text, "
        f"{confirmed} of them on the other half, too",
    ]
    lines += map(_change_line, changes(worth, patterns, most=False))
    return lines


def html_page(survey: Survey, sections: Sequence[Section]) -> str:
    """Write everything into one page without scripts or links to other files.

    Every text in it, tokens and file names too, is escaped.
    """
    import transformers

    worth, alike = survey.worth, survey.alike
    return html_file(
        "mha_course.heads",
        "report.html.j2",
        survey=survey,
        date=datetime.now(UTC).date().isoformat(),
        versions={"torch": torch.__version__, "transformers": transformers.__version__},
        intact=bootstrap(worth.intact),
        best=best_heads(survey.patterns),
        suspects=changes(worth, survey.patterns, most=False),
        confirmed=int(worth.negative.confirmed.sum()),
        suspected=int(worth.negative.suspects.sum()),
        agreement=[
            (name, row) for name, row in zip(worth.rankings, worth.agreement.tolist(), strict=True)
        ],
        curves=_curve_rows(worth),
        shares=worth.shares,
        clusters=_clusters(alike, survey.patterns),
        sections=sections,
    )


def _curve_rows(worth: Worth) -> list[tuple[str, list[float]]]:
    return [(name, losses.mean(-1).tolist()) for name, losses in worth.curves.items()]


def _clusters(alike: Alike, patterns: PatternTable) -> list[list[str]]:
    """Clusters of two heads or more, the largest first, as names."""
    names = head_names(len(patterns.labels), len(patterns.labels[0]))
    members: dict[int, list[str]] = {}
    for index, label in enumerate(alike.clusters.labels.tolist()):
        members.setdefault(label, []).append(names[index])
    return sorted((group for group in members.values() if len(group) > 1), key=len, reverse=True)


def _change_line(change: Change) -> str:
    return (
        f"  {change.head:>6}  {change.pattern:28} {change.mean:+8.4f}  "
        f"{change.low:+.4f} to {change.high:+.4f}"
    )
