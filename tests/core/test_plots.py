"""Figures: one described SVG that takes its colours from the page, and tables beside it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
import torch

from mha_course.plots import (
    BLUE,
    GREEN,
    HEAT,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SERIES,
    Figure,
    canvas,
    plot_attention,
    plot_rows,
    table,
)
from mha_course.plots.canvas import _DARK_TEXT, DARK
from mha_course.plots.cover import cover
from mha_course.plots.diagrams import arrow, box, plot_cuts, plot_grid

STAND_INS = (INK, BLUE, ORANGE, GREEN, RED, PURPLE, HEAT)
LIGHT_PAGE, LIGHT_TEXT, DARK_PAGE = "#ffffff", "#222832", "#121212"  # the theme's colours


def lines() -> Figure:
    with canvas(1, 2) as figure:
        for ax in figure.axes:
            for i in range(5):
                ax.plot([0, 1], [0, i], label=f"a < {i} & b")
            ax.grid()
            ax.legend(title="series")
            ax.set(title="Growth of “x”", xlabel="x", ylabel="y")
            ax.annotate("here", (0.5, 1), (0.7, 2), arrowprops={"arrowstyle": "->", "color": INK})
        figure.axes[1].scatter([0.1, 0.2], [1, 2])
        figure.axes[1].fill_between([0, 1], [0, 0], [1, 2], alpha=0.3)
    return figure.describe('Ten lines: they start at 0 & rise by <0 … 4>, as "x" does.')


def heat_map() -> Figure:
    with canvas() as figure:
        plot_rows(torch.tensor([[0.0, 1.0], [0.25, 0.75]]), ["a", "b"], ["c", "d"], figure.axes)
    return figure.describe("A heat map.").table(["a"], ["<c>", "d"], [[0.25, 0.75]])


def pattern() -> Figure:
    with canvas() as figure:
        plot_attention(torch.eye(3), ["x", "y", "z"], figure.axes)
    return figure.describe("A diagonal.")


def diagrams() -> Figure:
    with canvas(1, 3) as figure:
        plot_cuts(512, [1, 2, 16], figure.axes[0])
        plot_grid(torch.tensor([[0, 1]]), [["a", "b"]], figure.axes[1], title="Grid")
        box(figure.axes[2], 0, 0, 1, 1, text="box")
        arrow(figure.axes[2], (0, 0), (1, 1))
    return figure.describe("Bars, a grid and a box.")


FIGURES = [lines, heat_map, pattern, diagrams, cover]


@pytest.fixture(params=FIGURES, ids=lambda make: make.__name__)
def figure(request: pytest.FixtureRequest) -> Figure:
    make: Callable[[], Figure] = request.param
    return make()


def test_drawing_is_one_svg_with_a_description(figure: Figure) -> None:
    svg = figure.svg()
    root = ET.fromstring(svg)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == figure._description
    assert svg.count("<svg") == svg.count("</svg>") == 1


def test_text_stays_text(figure: Figure) -> None:
    texts = ["".join(t.itertext()) for t in ET.fromstring(figure.svg()).iter("text")]
    assert texts
    assert all(text.strip() for text in texts)


def test_drawing_brings_no_style_sheet_and_no_fixed_size(figure: Figure) -> None:
    svg = figure.svg()
    assert "<style" not in svg
    assert "<metadata" not in svg
    root = ET.fromstring(svg)
    assert root.get("viewBox")
    assert root.get("width") is None
    assert root.get("height") is None


def test_groups_that_say_nothing_are_gone(figure: Figure) -> None:
    svg = figure.svg()
    assert "<g>" not in svg
    assert svg.count("<g ") == svg.count("</g>")


def test_rules_beside_the_drawing_reach_only_our_figures(figure: Figure) -> None:
    (sheet,) = re.findall(r"<style>(.*?)</style>", figure._repr_html_())
    for selectors in re.findall(r"([^{}]+)\{", sheet):
        for selector in selectors.split(","):
            assert ".mha-" in selector


def test_all_colours_come_from_the_page(figure: Figure) -> None:
    svg = re.sub(r"var\(--mha-[0-9a-f]{6},#[0-9a-f]{6}\)", "", figure.svg())
    styled = " ".join(re.findall(r'(?:style|fill|stroke)="([^"]*)"', svg))
    assert re.findall(r"#[0-9a-fA-F]{6}\b", styled) == []
    for stand_in in STAND_INS:
        assert stand_in.lower() not in svg.lower()


def test_every_reference_has_its_target_and_ids_are_unique(figure: Figure) -> None:
    svg = figure.svg()
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)) <= {
        pair for i in ids for pair in ((i, ""), ("", i))
    }
    assert "xlink" not in svg


def test_ids_of_two_figures_never_clash() -> None:
    ids = [set(re.findall(r' id="([^"]+)"', make().svg())) for make in FIGURES]
    assert any(ids)
    assert len(set.union(*ids)) == sum(map(len, ids))


def test_the_same_figure_gives_the_same_bytes() -> None:
    assert lines()._repr_html_() == lines()._repr_html_()


def test_file_stands_alone_and_follows_the_scheme(tmp_path: Path) -> None:
    path = tmp_path / "figure.svg"
    lines().save(path)
    root = ET.parse(path).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    style = root.find("{http://www.w3.org/2000/svg}style")
    assert style is not None
    assert "prefers-color-scheme:dark" in (style.text or "")


def test_numbers_behind_a_figure_are_a_table_with_headers() -> None:
    shown = heat_map()._repr_html_()
    assert '<th scope="col">&lt;c&gt;</th>' in shown
    assert '<th scope="row">a</th><td>0.25</td><td>0.75</td>' in shown


def test_a_canvas_leaves_matplotlibs_settings_alone() -> None:
    with mpl.rc_context({"text.color": "red"}):
        figure = lines()  # kept: a figure that is thrown away gives its settings back in any case
        figure.svg()
        with pytest.raises(ZeroDivisionError), figure:
            raise ZeroDivisionError
        assert mpl.rcParams["text.color"] == "red"


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colour", SERIES)
def test_lines_stand_out_in_light_and_dark(colour: str) -> None:
    assert contrast(colour, LIGHT_PAGE) >= 3
    assert contrast(DARK[colour], DARK_PAGE) >= 3


def test_text_on_a_full_cell_can_be_read_in_light_and_dark() -> None:
    assert contrast(LIGHT_TEXT, HEAT) >= 4.5
    assert contrast(_DARK_TEXT, DARK[HEAT]) >= 4.5
    assert f"color:{_DARK_TEXT}" in lines()._repr_html_()


def test_table_shows_floats_with_three_digits() -> None:
    assert table(["h", "share"], [[1, 0.5], ["all", 2]]).data.splitlines()[2:] == [
        "| 1 | 0.500 |",
        "| all | 2 |",
    ]
