"""The figures of the report, with what they show in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mha_course.autograder.report.measures import Bar, Spread
from mha_course.autograder.report.summary import Row
from mha_course.autograder.report.text import line, points
from mha_course.plots.canvas import BLUE, GREEN, HEAT, ORANGE, Figure, canvas
from mha_course.plots.words import counted, name_ticks

PARTS = ("all points", "some points", "no points, but tried", "not done")
_LOOKS = ((GREEN, ""), (HEAT, "//"), (ORANGE, ".."), ("none", ""))
_MOST_TASKS = 60


def histogram(counts: Sequence[Bar], numbers: Spread, most: float) -> Figure:
    """Draw how the points are spread."""
    with canvas(height=2.9) as figure:
        axes = figure.axes
        width = counts[0].width
        axes.bar(
            [bar.low for bar in counts],
            [bar.number for bar in counts],
            width=0.9 * width,
            align="edge",
            color=BLUE,
        )
        middle = numbers.median + (0.45 * width if width == 1 else 0)
        axes.axvline(middle, color=ORANGE, linestyle="--", linewidth=1.5)
        axes.annotate(
            f"median {points(numbers.median)}",
            (middle, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, 2),
            textcoords="offset points",
            annotation_clip=False,
        )
        axes.set_xticks([bar.low for bar in counts])
        axes.set_xlabel(f"points, of {points(most)}")
        axes.set_ylabel("students")
        axes.yaxis.get_major_locator().set_params(integer=True)
    tallest = max(counts, key=lambda bar: bar.number)
    return figure.describe(
        f"Bar chart of the points of {counted(numbers.number, 'student')}, from "
        f"{points(numbers.lowest)} to {points(numbers.highest)}. The tallest bar is "
        f"{counted(tallest.number, 'student')} with {tallest.says} points. The median is "
        f"{points(numbers.median)}; half of the class is between {points(numbers.lower)} and "
        f"{points(numbers.upper)}."
    )


def outcomes(rows: Sequence[Row]) -> Figure:
    """Draw for each task how many got all points, some, none, or have not done it."""
    shown = rows[:_MOST_TASKS]
    totals = [max(sum(row.parts), 1) for row in shown]
    with canvas(height=1.0 + 0.27 * len(shown)) as figure:
        axes = figure.axes
        left = np.zeros(len(shown))
        for number, (colour, hatch) in enumerate(_LOOKS):
            shares = np.array(
                [100 * row.parts[number] / total for row, total in zip(shown, totals, strict=True)]
            )
            axes.barh(
                range(len(shown)),
                shares,
                left=left,
                height=0.72,
                facecolor=colour,
                hatch=hatch,
                edgecolor=axes.xaxis.label.get_color(),
                linewidth=0.6,
                label=PARTS[number],
            )
            left += shares
        name_ticks(axes.yaxis, [line(row.question.label, 30) for row in shown], most=_MOST_TASKS)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("students, %")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5)
    by_success = sorted(zip(shown, totals, strict=True), key=lambda one: one[0].parts[0] / one[1])
    (hardest, of_hardest), (easiest, of_easiest) = by_success[0], by_success[-1]
    return figure.describe(
        f"A bar for each of {counted(len(shown), 'task')}, cut into students with all points, "
        "some, none though they tried, and students who have not done it. All points are most "
        f"frequent in {easiest.question.label} ({easiest.parts[0]} of {of_easiest}) and least in "
        f"{hardest.question.label} ({hardest.parts[0]} of {of_hardest}). The table below has the "
        "numbers."
    )
