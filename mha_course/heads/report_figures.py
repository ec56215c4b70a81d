"""The figures of the report on a model's heads."""

from __future__ import annotations

import torch
from torch import Tensor

from mha_course.heads.importance import bootstrap
from mha_course.heads.layers import pattern_mix
from mha_course.heads.patterns import LABELS
from mha_course.heads.report import Section, Survey, changes
from mha_course.plots import (
    canvas,
    describe_changes,
    describe_curves,
    describe_head_grid,
    describe_mix,
    describe_profile,
    describe_scores,
    describe_similarity,
    plot_changes,
    plot_curves,
    plot_head_grid,
    plot_mix,
    plot_profile,
    plot_scores,
    plot_similarity,
)
from mha_course.plots.words import head_names

_SHOWN = 20  # heads with intervals


def sections(survey: Survey) -> list[Section]:
    """Draw everything that the report shows."""
    return [
        _all_heads(survey),
        *_layers(survey),
        *_scores(survey),
        _costliest(survey),
        _curves(survey),
        _similarity(survey),
    ]


def _all_heads(survey: Survey) -> Section:
    maps = survey.alike.example
    layers, heads = maps.shape[:2]
    side = min(5.4 / heads, 0.34)  # of a stamp, in inches; readable on a phone
    with canvas(width=0.6 + side * heads, height=0.6 + side * layers) as figure:
        plot_head_grid(maps, figure.axes)
    figure.describe(describe_head_grid(maps))
    return Section(
        "All heads at a glance",
        "Each stamp is one head over one chunk of the text: queries down, keys across, fuller for "
        "more attention. A diagonal looks nearby, a column at one place.",
        figure,
    )


def _costliest(survey: Survey) -> Section:
    worth = survey.worth
    shown = changes(worth, survey.patterns, most=True, shown=_SHOWN)
    heads = [change.head for change in shown]
    mean, low, high = torch.tensor([change[-3:] for change in shown]).T
    with canvas(height=1 + 0.22 * len(heads)) as figure:
        plot_changes(heads, mean, low, high, figure.axes, unit=worth.unit)
    figure.describe(describe_changes(heads, mean, low, high, unit=worth.unit))
    return Section(
        "Heads whose removal costs most",
        "Chosen on the half of the text that finds, measured on the other half, with 95 % "
        "intervals. Diamonds: the loss falls, and the interval excludes zero.",
        figure,
    )


def _layers(survey: Survey) -> list[Section]:
    patterns = survey.patterns
    counts = pattern_mix(patterns.labels)
    unclear = int(counts[:, -1].sum())
    with canvas(height=3.8) as figure:
        plot_mix(counts, LABELS, figure.axes)
    figure.describe(describe_mix(counts, LABELS))
    found = [
        Section(
            "Patterns in each layer",
            "Each head counts under its clearest pattern: at least half of its attention lies on "
            f"the targets, and it beats both baselines by 0.1. {unclear} of {int(counts.sum())} "
            "heads have none so clear.",
            figure,
        )
    ]
    for title, field, label in (
        ("How far heads look", "distance", "mean distance, tokens"),
        ("How evenly heads look", "entropy", "entropy, bits"),
        ("Attention on the first token", "first_token", "share on the first token"),
    ):
        tallies = [getattr(profile, field) for profile in patterns.profiles]
        values = torch.stack([tally.score for tally in tallies])
        baseline = [tally.uniform for tally in tallies]
        with canvas(height=3.0) as figure:
            plot_profile(values, figure.axes, label=label, baseline=baseline)
        figure.describe(describe_profile(values, label=title, baseline=baseline))
        found.append(Section(title, "One point per head; the line is their mean.", figure))
    return found


def _scores(survey: Survey) -> list[Section]:
    change = survey.worth.held_out.mean(-1)
    induction = torch.stack([layer["induction"].score for layer in survey.patterns.scores]).float()
    found = []
    for title, text, scores, full in (
        (
            "Induction, head by head",
            "Attention from a token to the one after its earlier copy, on repeated random tokens.",
            induction,
            1.0,
        ),
        (
            "Change of the loss, head by head",
            "What the removal of one head changes on held-out text. Hollow: the loss falls.",
            change,
            None,
        ),
    ):
        with canvas(height=1.2 + 0.26 * len(scores)) as figure:
            plot_scores(scores, figure.axes, title=title, full=full)
        figure.describe(describe_scores(scores, title=title))
        found.append(Section(title, text, figure))
    return found


def _curves(survey: Survey) -> Section:
    worth = survey.worth
    bands: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    for name, losses in worth.curves.items():
        mean, low, high = bootstrap(losses)
        bands[name] = (mean, low, high)
    with canvas(height=3.6) as figure:
        plot_curves(worth.shares, bands, figure.axes, unit=worth.unit, chance=worth.chance)
    figure.describe(describe_curves(worth.shares, bands, unit=worth.unit))
    return Section(
        "Loss as heads are removed",
        "Heads go in the order of each ranking, least important first, without any retraining. "
        "Bands are 95 % intervals over the held-out texts.",
        figure,
    )


def _similarity(survey: Survey) -> Section:
    alike = survey.alike
    similarity = 1 - alike.distance
    names = head_names(len(survey.patterns.labels), len(survey.patterns.labels[0]))
    with canvas(height=5.4) as figure:
        plot_similarity(
            similarity,
            names,
            figure.axes,
            order=alike.clusters.order,
            clusters=alike.clusters.labels,
        )
    figure.describe(describe_similarity(similarity, names, clusters=alike.clusters.labels))
    return Section(
        "Which heads attend alike",
        "One minus the Jensen-Shannon distance of two heads' attention. Heads stand in the order "
        "of their clusters; a frame surrounds each.",
        figure,
    )
