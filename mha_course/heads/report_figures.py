"""The figures of the report on a model's heads."""

from __future__ import annotations

import torch

from mha_course.heads.importance import bootstrap
from mha_course.heads.layers import pattern_mix
from mha_course.heads.patterns import LABELS
from mha_course.heads.report import Section, Survey, head_name
from mha_course.plots.canvas import canvas
from mha_course.plots.grids import describe_scores, plot_scores
from mha_course.plots.layers import describe_mix, describe_profile, plot_mix, plot_profile
from mha_course.plots.pruning import Band, describe_curves, plot_curves
from mha_course.plots.similarity import describe_similarity, plot_similarity


def sections(survey: Survey) -> list[Section]:
    """Draw everything that the report shows."""
    return [*_layers(survey), *_scores(survey), _curves(survey), _similarity(survey)]


def _layers(survey: Survey) -> list[Section]:
    patterns = survey.patterns
    counts = pattern_mix(patterns.labels)
    with canvas(height=3.8) as figure:
        plot_mix(counts, LABELS, figure.axes)
    figure.describe(describe_mix(counts, LABELS))
    found = [
        Section(
            "Patterns in each layer",
            "Each head counts under its clearest pattern: at least half of its attention lies on "
            "the targets, and it beats both baselines by 0.1. Most heads of real models have none "
            "so clear.",
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
        with canvas(height=3.0) as figure:
            plot_profile(
                values, figure.axes, label=label, baseline=[tally.uniform for tally in tallies]
            )
        figure.describe(describe_profile(values, label=title))
        found.append(Section(title, "One point per head; the line is their mean.", figure))
    return found


def _scores(survey: Survey) -> list[Section]:
    changes = survey.worth.held_out.mean(-1)
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
            changes,
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
    bands: dict[str, Band] = {}
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
    num_heads = len(survey.patterns.labels[0])
    names = [head_name(i, num_heads) for i in range(alike.num_heads)]
    with canvas(height=5.4) as figure:
        plot_similarity(
            similarity,
            names,
            figure.axes,
            order=alike.clusters.order,
            clusters=alike.clusters.labels,
        )
    figure.describe(describe_similarity(similarity, names))
    return Section(
        "Which heads attend alike",
        "One minus the Jensen-Shannon distance of two heads' attention. Heads stand in the order "
        "of their clusters; a frame surrounds each.",
        figure,
    )
