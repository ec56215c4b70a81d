"""Pictures of heads: they show the numbers that they were given, and say in words what is seen."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise, product

import matplotlib as mpl
import pytest
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from torch import Tensor

from mha_course.plots.canvas import HEAT, ORANGE, RED, SERIES, canvas
from mha_course.plots.film import describe_film, plot_film
from mha_course.plots.grids import (
    describe_head_grid,
    describe_scores,
    plot_head_grid,
    plot_scores,
)
from mha_course.plots.heads import describe_attention, plot_attention
from mha_course.plots.layers import describe_mix, describe_profile, plot_mix, plot_profile
from mha_course.plots.pruning import (
    describe_changes,
    describe_curves,
    plot_changes,
    plot_curves,
)
from mha_course.plots.shades import SHADE, places
from mha_course.plots.similarity import describe_similarity, plot_similarity
from mha_course.plots.words import token_name

LAYERS, H, T = 3, 4, 5
NAN = float("nan")


def shares(*shape: int, seed: int = 0) -> Tensor:
    """Rows that add up to 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.softmax(2 * torch.randn(shape, generator=generator), -1)


WEIGHTS = shares(LAYERS, H, T, T)
TOKENS = ["the", "cat", "sat", "on", "it"]
SCORES = torch.tensor([[0.5, -0.25, 0.0, 1.0], [0.1, 0.2, 0.3, 0.4], [-0.5, 0.0, 0.0, NAN]])
VALUES = SCORES.nan_to_num(0.7)
COUNTS = torch.tensor([[2, 0, 1, 3], [0, 0, 4, 2]])
LABELS = ["induction", "previous", "self", "none"]
SHARES = [0.0, 0.1, 0.5, 1.0]
MEAN = torch.tensor([1.0, 1.5, 2.0, 9.0])
CURVES = {
    "bad": (MEAN + torch.tensor([0, 0, 3, 0]), MEAN - 0.5, MEAN + 4),
    "good": (MEAN, MEAN - 0.25, MEAN + 0.25),
}
CHANGES = torch.tensor([0.5, 0.1, -0.2])
INTERVALS = (CHANGES, CHANGES - 0.15, CHANGES + 0.15)
NAMES = ["0.1", "2.3", "4.0"]
SIMILARITY = torch.eye(5)
for (i, j), alike in zip(
    combinations(range(5), 2), (0.2, 0.9, 0, 0.1, 0.3, 0.8, 0.7, 0.4, 0, 0.6), strict=True
):
    SIMILARITY[i, j] = SIMILARITY[j, i] = alike
ORDER, CLUSTERS = torch.tensor([4, 1, 3, 0, 2]), torch.tensor([1, 0, 1, 0, 2])
HEADS = ["0.0", "0.1", "0.2", "1.0", "1.1"]
FRAMES = [(0, shares(2, T, T, seed=1)), (50, shares(2, T, T, seed=2)), (70, shares(2, T, T))]

# each picture with its description: drawn on given axes, or on new ones
PICTURES: dict[str, tuple[Callable[[Axes | None], Axes], Callable[[], str]]] = {
    "attention": (
        lambda ax: plot_attention(WEIGHTS[1, 2], TOKENS, ax),
        lambda: describe_attention(WEIGHTS[1, 2], TOKENS),
    ),
    "head grid": (lambda ax: plot_head_grid(WEIGHTS, ax), lambda: describe_head_grid(WEIGHTS)),
    "scores": (
        lambda ax: plot_scores(SCORES, ax, title="Gain"),
        lambda: describe_scores(SCORES, title="Gain"),
    ),
    "profile": (
        lambda ax: plot_profile(VALUES, ax, label="bits", baseline=[0.1, 0.2, 0.3]),
        lambda: describe_profile(VALUES, label="Bits", baseline=[0.1, 0.2, 0.3]),
    ),
    "mix": (lambda ax: plot_mix(COUNTS, LABELS, ax), lambda: describe_mix(COUNTS, LABELS)),
    "curves": (
        lambda ax: plot_curves(SHARES, CURVES, ax, unit="nats", chance=8.0),
        lambda: describe_curves(SHARES, CURVES, unit="nats"),
    ),
    "changes": (
        lambda ax: plot_changes(NAMES, *INTERVALS, ax, unit="nats"),
        lambda: describe_changes(NAMES, *INTERVALS, unit="nats"),
    ),
    "similarity": (
        lambda ax: plot_similarity(SIMILARITY, HEADS, ax, order=ORDER, clusters=CLUSTERS),
        lambda: describe_similarity(SIMILARITY, HEADS, clusters=CLUSTERS),
    ),
    "film": (lambda ax: plot_film(FRAMES, ax), lambda: describe_film(FRAMES)),
}
each = pytest.mark.parametrize(("plot", "describe"), PICTURES.values(), ids=PICTURES)


@pytest.fixture(autouse=True)
def no_windows() -> Iterator[None]:
    """Pyplot keeps its figures until they are closed."""
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@pytest.fixture
def ax() -> Axes:
    return pyplot.subplots()[1]


def names(axis: mpl.axis.Axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def fill(ax: Axes) -> Tensor:
    """How full each pixel of the image on these axes is, 0 to 1."""
    [image] = ax.images
    pixels = torch.tensor(image.get_array())
    assert (pixels[..., :3] == torch.tensor([int(SHADE[i : i + 2], 16) for i in (1, 3, 5)])).all()
    return pixels[..., 3] / 255


def fill_at(ax: Axes, x: float, y: float) -> float:
    """How full the image is at a point of the axes."""
    left, right, bottom, top = ax.images[0].get_extent()
    pixels = fill(ax)
    rows, columns = pixels.shape
    row, column = (y - top) / (bottom - top) * rows, (x - left) / (right - left) * columns
    return pixels[int(row), int(column)].item()


# ---------------------------------------------------------------------------- all of them


@each
def test_picture_on_a_canvas_is_a_described_svg(
    plot: Callable[[Axes | None], Axes], describe: Callable[[], str]
) -> None:
    with canvas() as figure:
        assert plot(figure.axes) is figure.axes
    svg = figure.describe(describe()).svg()
    root = ET.fromstring(svg)
    assert root.get("aria-label") == describe()
    assert all("".join(text.itertext()).strip() for text in root.iter("text"))
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    # all colours but those inside images come from the page
    rest = re.sub(r"var\(--mha-[0-9a-f]{6},#[0-9a-f]{6}\)", "", svg)
    styled = " ".join(re.findall(r'(?:style|fill|stroke)="([^"]*)"', rest))
    assert re.findall(r"#[0-9a-fA-F]{6}\b", styled) == []


@each
def test_picture_without_axes_is_a_pyplot_figure_that_can_be_read_anywhere(
    plot: Callable[[Axes | None], Axes], describe: Callable[[], str]
) -> None:
    new = plot(None)
    assert [new.figure.number] == pyplot.get_fignums()
    assert to_hex(new.figure.get_facecolor()) == "#ffffff"  # ours is dark text
    assert describe()


@pytest.mark.parametrize("name", PICTURES)
def test_descriptions_are_short_sentences_without_leftovers(name: str) -> None:
    text = PICTURES[name][1]()
    assert text.endswith(".")
    assert "tensor" not in text
    assert "nan" not in text
    assert len(text) < 400
    assert not re.search(r"\b1 (heads|layers|tokens|steps)\b", text)


def test_a_grid_of_270_heads_is_small() -> None:
    maps = shares(30, 9, 64, 64)
    with canvas(width=3.4, height=9.6) as figure:
        plot_head_grid(maps, figure.axes)
    assert len(figure.describe("x").svg()) < 400_000


def test_a_long_text_is_small() -> None:
    with canvas(height=5) as figure:
        plot_attention(shares(128, 128), ["token"] * 128, figure.axes)
    assert len(figure.describe("x").svg()) < 150_000


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
def test_the_colour_of_images_stands_out_in_light_and_dark(page: str) -> None:
    low, high = sorted((luminance(SHADE), luminance(page)))
    assert (high + 0.05) / (low + 0.05) >= 3


# ------------------------------------------------------------------------------- one head


def test_attention_fills_each_cell_by_its_weight(ax: Axes) -> None:
    weights = shares(3, T)
    plot_attention(weights, TOKENS[:3], ax, keys=TOKENS)
    for i, j in product(range(3), range(T)):
        assert fill_at(ax, j, i) == pytest.approx(weights[i, j].item(), abs=0.003)
    assert names(ax.xaxis) == TOKENS
    assert names(ax.yaxis) == TOKENS[:3]


def test_of_a_long_text_some_tokens_are_named_at_their_places(ax: Axes) -> None:
    tokens = [f"t{i}" for i in range(100)]
    plot_attention(shares(100, 100), tokens, ax)
    for axis in (ax.xaxis, ax.yaxis):
        assert names(axis) == [f"t{i}" for i in axis.get_ticklocs()]
        assert 16 <= len(names(axis)) <= 32


@pytest.mark.parametrize(
    ("token", "name"),
    {
        "Ġthe": "·the",
        "▁the": "·the",
        "Ċ": "↵",
        "ĊĊ": "↵↵",
        "\n": "↵",
        "\t": "⇥",
        "\x07": "\ufffd",
        "Ã©t": "ét",
        "×©": "ש",
        "Ø": "Ø",  # the first of two bytes
        "café": "café",  # in Latin-1, but not as bytes
        "שלום": "שלום",
        "$x$": "$x$",
        "a" * 20: "a" * 20,
        "a" * 21: "a" * 19 + "…",
        "two words": "two words",
    }.items(),
)
def test_token_names(token: str, name: str) -> None:
    assert token_name(token) == name


def test_tokens_are_no_formulas_and_no_markup() -> None:
    tokens = ["$x$", "<b>&", "\x07", "$"]
    with canvas() as figure:
        plot_attention(torch.eye(4), tokens, figure.axes)
    texts = ["".join(t.itertext()) for t in ET.fromstring(figure.describe("x").svg()).iter("text")]
    assert texts == ["$x$", "<b>&", "\ufffd", "$"] * 2


def test_places_count_queries_that_have_the_place() -> None:
    weights = WEIGHTS[0, 0]
    expected = {
        "the first token": [weights[t, 0] for t in range(1, T)],
        "the token before": [weights[t, t - 1] for t in range(1, T)],
        "the token itself": [weights[t, t] for t in range(T)],
        "the token after": [weights[t, t + 1] for t in range(T - 1)],
    }
    for name, found in places(WEIGHTS).items():
        assert found.shape == (LAYERS, H)
        torch.testing.assert_close(found[0, 0], torch.stack(expected[name]).mean())


def test_attention_to_other_tokens_has_no_places() -> None:
    assert "token before" in describe_attention(WEIGHTS[0, 0], TOKENS)
    assert "token before" not in describe_attention(shares(3, T), TOKENS[:3], keys=TOKENS)
    assert "token before" not in describe_attention(torch.ones(1, 1), ["a"])


# ------------------------------------------------------------------------------ all heads


def test_stamps_stand_at_their_layer_and_head(ax: Axes) -> None:
    plot_head_grid(iter(WEIGHTS), ax)
    step = 1 / (T + 1)  # a pixel; one of them is the gap
    for layer, head, t, s in product(range(LAYERS), range(H), range(T), range(T)):
        x, y = head - 0.5 + (s + 1) * step, layer - 0.5 + (t + 1) * step
        expected = WEIGHTS[layer, head, t, s].sqrt().item()
        assert fill_at(ax, x, y) == pytest.approx(expected, abs=0.003)
    for layer, head in product(range(LAYERS), range(H)):
        assert fill_at(ax, head - 0.5, layer) == fill_at(ax, head, layer - 0.5) == 0
    half = step / 2
    assert ax.images[0].get_extent() == pytest.approx(
        [-0.5 - half, H - 0.5 + half, LAYERS - 0.5 + half, -0.5 - half]
    )
    assert names(ax.xaxis) == list("0123")
    assert names(ax.yaxis) == list("012")


def test_a_stamp_of_a_long_text_shows_what_blocks_give_to_blocks(ax: Axes) -> None:
    tokens = 37  # 16 blocks of 2 or 3
    weights = shares(1, 1, tokens, tokens)
    plot_head_grid(weights, ax)
    pixels = fill(ax)[1:-1, 1:-1].square()
    assert pixels.shape == (16, 16)
    block = [i * 16 // tokens for i in range(tokens)]
    for row, column in product(range(16), range(16)):
        given = [
            sum(weights[0, 0, t, s].item() for s in range(tokens) if block[s] == column)
            for t in range(tokens)
            if block[t] == row
        ]
        assert pixels[row, column] == pytest.approx(sum(given) / len(given), abs=0.006)


def squares(ax: Axes, colour: str | None) -> dict[tuple[int, int], float]:
    """Area of each square of this fill, by layer and head; None: hollow."""
    for shape in ax.patches:
        face = to_hex(shape.get_facecolor(), keep_alpha=True)
        if (colour is None) == face.endswith("00") and (colour or "") in face:
            corners = shape.get_path().vertices.reshape(-1, 5, 2)
            sizes = corners[:, 2] - corners[:, 0]
            middles = (corners[:, 2] + corners[:, 0]) / 2
            return {
                (round(y), round(x)): width * height
                for (x, y), (width, height) in zip(middles, sizes, strict=True)
            }
    return {}


def test_squares_are_as_large_as_scores_and_hollow_below_zero(ax: Axes) -> None:
    plot_scores(SCORES, ax, title="Gain")
    filled, hollow = squares(ax, HEAT), squares(ax, None)
    assert set(filled) == {(0, 0), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)}
    assert set(hollow) == {(0, 1), (2, 0)}
    for (layer, head), area in (filled | hollow).items():
        assert area / filled[0, 3] == pytest.approx(abs(SCORES[layer, head].item()))
    assert "a full square is 1" in ax.get_title("left")
    assert ORANGE in [to_hex(p.get_edgecolor()) for p in ax.patches]


def test_a_full_square_can_be_more_than_the_largest_score(ax: Axes) -> None:
    plot_scores(SCORES, ax, title="Gain", full=4.0)
    assert squares(ax, HEAT)[0, 3] == pytest.approx(0.9**2 / 4)
    assert "a full square is 4" in ax.get_title("left")


def test_scores_of_zero_draw_nothing(ax: Axes) -> None:
    plot_scores(torch.zeros(2, 3), ax, title="Gain")
    assert squares(ax, HEAT) == squares(ax, None) == {}
    assert "a full square is 1" in ax.get_title("left")


def test_description_of_scores_leaves_out_heads_without_one() -> None:
    assert describe_scores(SCORES, title="Gain") == (
        "Gain, 3 layers of 4 heads. Highest: 0.3 with 1, 0.0 with 0.5, 1.3 with 0.4, 1.2 with 0.3 "
        "and 1.1 with 0.2. 2 heads are below zero."
    )
    assert "0.1" not in describe_scores(torch.tensor([[0.5, NAN, 0.25]]), title="Gain")


def test_description_of_a_grid_names_the_best_head_of_each_place() -> None:
    maps = torch.full((LAYERS, H, T, T), 1 / T)
    maps[1, 2] = torch.eye(T).roll(1, 1)
    maps[2, 0] = torch.eye(T)
    text = describe_head_grid(maps)
    assert "the token after 1.2 with 1" in text
    assert "the token itself 2.0 with 1" in text
    assert "after" not in describe_head_grid(maps.tril())


# -------------------------------------------------------------------------------- layers


def test_profile_shows_every_head_the_means_and_the_baseline(ax: Axes) -> None:
    plot_profile(VALUES, ax, label="entropy, bits", baseline=[0.1, 0.2, 0.3])
    lines = {line.get_label(): line.get_xydata() for line in ax.lines}
    assert lines["mean of the layer"].tolist() == [
        [i, pytest.approx(row.mean().item())] for i, row in enumerate(VALUES)
    ]
    assert lines["even attention"].tolist() == [[0, 0.1], [1, 0.2], [2, 0.3]]
    points = {
        (x, round(y, 5))
        for line in ax.lines
        if line.get_marker() == "o"
        for x, y in line.get_xydata().tolist()
    }
    assert points == {(i, round(y, 5)) for i, row in enumerate(VALUES.tolist()) for y in row}
    assert ax.get_ylabel() == "entropy, bits"


def test_profile_without_a_baseline_says_nothing_of_one(ax: Axes) -> None:
    plot_profile(VALUES, ax, label="bits")
    assert "even attention" not in [line.get_label() for line in ax.lines]
    assert "even attention" not in describe_profile(VALUES, label="Bits")


def bars(ax: Axes) -> dict[str, list[tuple[float, float, float]]]:
    """Middle, bottom and height of the bars of each label."""
    return {
        container.get_label(): [
            (bar.get_x() + bar.get_width() / 2, bar.get_y(), bar.get_height()) for bar in container
        ]
        for container in ax.containers
    }


def test_mix_stacks_the_labels_that_occur(ax: Axes) -> None:
    plot_mix(COUNTS, LABELS, ax)
    found = bars(ax)
    assert list(found) == ["induction", "self", "none"]
    for i, row in enumerate(COUNTS.tolist()):
        bottom = 0
        for name, count in zip(LABELS, row, strict=True):
            if name in found:
                assert found[name][i] == (pytest.approx(i), bottom, count)
                bottom += count


def test_description_of_a_mix_counts_the_labels_that_occur() -> None:
    assert describe_mix(COUNTS, LABELS) == (
        "Heads by pattern, in 2 layers, and the layer with most of each: induction 2 (2 in layer "
        "0), self 5 (4 in layer 1) and none 5 (3 in layer 0)."
    )


def look(ax: Axes, name: str) -> tuple[str, str]:
    [bar, *_] = next(c for c in ax.containers if c.get_label() == name)
    return to_hex(bar.get_facecolor(), keep_alpha=True), bar.get_hatch() or ""


def test_a_label_looks_the_same_whatever_else_occurs() -> None:
    full, part = (pyplot.subplots()[1] for _ in range(2))
    labels = [f"label {i}" for i in range(11)]
    plot_mix(torch.ones(2, 11, dtype=torch.int64), labels, full)
    plot_mix(torch.tensor([[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 3]]), labels, part)
    looks = [look(full, name) for name in labels]
    assert len(set(looks)) == 11
    for i in (3, 7, 10):
        assert look(part, labels[i]) == looks[i]
    assert looks[10][0].endswith("00")  # the last one is empty


# ------------------------------------------------------------------------------- pruning


def lines_on(ax: Axes) -> dict[str, list[list[float]]]:
    """Lines in the axes, by colour."""
    return {
        to_hex(line.get_color()): line.get_xydata().tolist()
        for line in ax.lines
        if line.get_transform().contains_branch(ax.transData) and line.get_marker() != "None"
    }


def test_curves_and_bands_are_where_the_numbers_are(ax: Axes) -> None:
    plot_curves(SHARES, CURVES, ax, unit="nats")
    drawn = lines_on(ax)
    for i, (mean, low, high) in enumerate(CURVES.values()):
        assert drawn[SERIES[i]] == [
            [100 * share, y] for share, y in zip(SHARES, mean.tolist(), strict=True)
        ]
        edge = {tuple(point) for point in ax.collections[i].get_paths()[0].vertices.tolist()}
        for share, a, b in zip(SHARES, low.tolist(), high.tolist(), strict=True):
            assert {(100 * share, a), (100 * share, b)} <= edge


def test_lines_are_named_beside_their_ends_in_order_and_apart(ax: Axes) -> None:
    """Both curves end at 9; before, the bad one is above."""
    plot_curves(SHARES, CURVES, ax, unit="nats", chance=8.9)
    ax.figure.canvas.draw()
    texts = sorted(ax.texts, key=lambda text: text.get_window_extent().y0)
    assert [text.get_text() for text in texts] == [
        "no head removed",
        "knowing nothing",
        "good",
        "bad",
    ]
    for below, above in pairwise(text.get_window_extent() for text in texts):
        assert below.y1 <= above.y0 + 1
    assert texts[-1].get_window_extent().y1 <= ax.get_window_extent().y1 + 10


def test_names_of_lines_that_end_at_the_top_stay_beside_the_axes(ax: Axes) -> None:
    low, high = torch.zeros(4), MEAN
    plot_curves(SHARES, dict.fromkeys("abcde", (MEAN, low, high)), ax, unit="nats")
    ax.figure.canvas.draw()
    boxes = sorted(text.get_window_extent().bounds[1::2] for text in ax.texts)
    assert len(boxes) == 6
    for (y, height), (above, _) in pairwise(boxes):
        assert y + height <= above + 1
    assert boxes[-1][0] < ax.get_window_extent().y1


@pytest.mark.parametrize(("chance", "drawn"), [(12.0, True), (40.0, False)])
def test_chance_is_a_line_or_a_remark(ax: Axes, chance: float, drawn: bool) -> None:
    plot_curves(SHARES, CURVES, ax, unit="nats", chance=chance)
    assert ("knowing nothing" in [text.get_text() for text in ax.texts]) == drawn
    assert ("knowing nothing: 40" in ax.get_title("right")) != drawn
    assert (ax.get_ylim()[1] > chance) == drawn
    assert "nothing" not in str(plot_curves(SHARES, CURVES, unit="nats").get_title("right"))


def test_description_of_curves_puts_the_best_ranking_first() -> None:
    assert describe_curves(SHARES, CURVES, unit="nats") == (
        "Loss by share of heads removed, from 1 nats with all heads. At 50 %: good 2 and bad 5. "
        "At 100 %: good 9 and bad 9."
    )


def test_changes_are_marked_by_what_their_interval_says(ax: Axes) -> None:
    plot_changes(NAMES, *INTERVALS, ax, unit="nats")
    marks = [line for line in ax.lines if line.get_marker() in "oD"]
    found = [
        (line.get_xdata()[0], line.get_ydata()[0], line.get_marker(), line.get_fillstyle())
        for line in marks
    ]
    assert found == [
        (pytest.approx(0.5), 0, "o", "full"),
        (pytest.approx(0.1), 1, "o", "none"),
        (pytest.approx(-0.2), 2, "D", "full"),
    ]
    assert to_hex(marks[2].get_color()) == RED != to_hex(marks[0].get_color())
    spans = [line.get_xdata() for line in ax.lines if len(set(line.get_ydata())) == 1]
    for mean, low, high in zip(*(part.tolist() for part in INTERVALS), strict=True):
        assert [low, high] in [list(span) for span in spans], mean
    assert names(ax.yaxis) == NAMES
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first one on top


def test_small_changes_are_written_without_many_zeros(ax: Axes) -> None:
    plot_changes(NAMES, *(part * 1e-4 for part in INTERVALS), ax, unit="nats")
    assert ax.get_xlabel() == "change of the loss, $10^{-5}$ nats"
    formatter = ax.xaxis.get_major_formatter()
    assert [formatter(x) for x in (-2e-5, 0, 5e-5)] == ["−2", "0", "5"]


def test_no_change_at_all_can_be_drawn(ax: Axes) -> None:
    plot_changes(["0.0"], torch.zeros(1), torch.zeros(1), torch.zeros(1), ax, unit="nats")
    assert ax.get_xlabel() == "change of the loss, nats"


# ---------------------------------------------------------------------- similarity, film


def test_similarity_stands_in_its_order(ax: Axes) -> None:
    plot_similarity(SIMILARITY, HEADS, ax, order=ORDER)
    for i, j in product(range(5), range(5)):
        expected = SIMILARITY[ORDER[i], ORDER[j]].item()
        assert fill_at(ax, j, i) == pytest.approx(expected, abs=0.003)
    assert names(ax.xaxis) == names(ax.yaxis) == [HEADS[i] for i in ORDER.tolist()]
    assert not ax.patches


def test_a_frame_stands_around_each_cluster_of_several(ax: Axes) -> None:
    plot_similarity(SIMILARITY, HEADS, ax, order=ORDER, clusters=CLUSTERS)
    frames = [p.get_bbox().bounds for p in ax.patches if isinstance(p, Rectangle)]
    assert frames == [(0.5, 0.5, 2, 2), (2.5, 2.5, 2, 2)]


def test_description_of_clusters() -> None:
    text = "Similarity of 5 heads. Mean over pairs 0.4; most alike: 0.0 and 0.2, 0.9."
    assert describe_similarity(SIMILARITY, HEADS) == text
    assert describe_similarity(SIMILARITY, HEADS, clusters=torch.arange(5)) == (
        f"{text} No two heads are in one cluster."
    )
    assert describe_similarity(SIMILARITY, HEADS, clusters=torch.tensor([7, 3, 3, 7, 3])) == (
        f"{text} 2 clusters of two heads or more; the largest has 3 heads: 0.1, 0.2 and 1.1."
    )
    many = describe_similarity(
        torch.eye(9), [f"0.{i}" for i in range(9)], clusters=torch.zeros(9, dtype=torch.int64)
    )
    assert many.endswith("9 heads: 0.0, 0.1, 0.2, 0.3, 0.4, 0.5 and 3 more.")


def test_film_has_heads_down_and_steps_across(ax: Axes) -> None:
    plot_film(FRAMES, ax)
    step = 1 / (T + 1)
    for column, (_, weights) in enumerate(FRAMES):
        for head, t, s in product(range(2), range(T), range(T)):
            x, y = column - 0.5 + (s + 1) * step, head - 0.5 + (t + 1) * step
            expected = weights[head, t, s].sqrt().item()
            assert fill_at(ax, x, y) == pytest.approx(expected, abs=0.003)
    assert names(ax.xaxis) == ["0", "50", "70"]
    assert names(ax.yaxis) == ["0", "1"]


def test_description_of_a_film_tells_the_place_that_wins() -> None:
    even = torch.full((2, T, T), 1 / T)
    last = torch.stack([torch.eye(T).roll(-1, 1), torch.eye(T)])
    text = describe_film([(3, even), (5, even), (8, last)])
    assert "2 heads at 3 steps" in text
    assert "From step 3 to step 8" in text
    assert "head 0 gets from 0.2 to 1 on the token before" in text
    assert "head 1 gets from 0.2 to 1 on the token itself" in text


# ------------------------------------------------------------------------------- refused

EMPTY = torch.zeros(0, 2)
FULL = torch.ones(2, 3)
REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "grid: no layer": (lambda: plot_head_grid([]), r"0 layers.*at least one layer"),
    "grid: layers differ": (
        lambda: plot_head_grid([WEIGHTS[0], WEIGHTS[1, :2]]),
        r"shapes \[\(2, 5, 5\), \(4, 5, 5\)\]",
    ),
    "grid: no head axis": (lambda: plot_head_grid(WEIGHTS[0]), r"\[4, 5, 5\].*\[layers, h, T, T\]"),
    "grid: no head": (lambda: plot_head_grid(WEIGHTS[:, :0]), r"\[3, 0, 5, 5\].*not empty"),
    "grid: negative": (lambda: plot_head_grid(WEIGHTS - 1), r"run from -.*between 0 and 1"),
    "grid: above 1": (lambda: plot_head_grid(WEIGHTS + 1), r"to 1\.\d+; they must"),
    "grid: NaN": (lambda: plot_head_grid(WEIGHTS * NAN), r"nan.*between 0 and 1"),
    "grid: one token": (lambda: describe_head_grid(torch.ones(2, 3, 1, 1)), r"at least T = 2"),
    "grid: other keys": (lambda: describe_head_grid(shares(2, 3, 4, 5)), r"must end in \[T, T\]"),
    "scores: none": (lambda: plot_scores(EMPTY, title=""), r"\[0, 2\].*\[layers, h\], and not"),
    "scores: one axis": (lambda: plot_scores(FULL[0], title=""), r"\[3\]; they must be \[layers"),
    "scores: all NaN": (lambda: plot_scores(FULL * NAN, title=""), r"all scores are NaN"),
    "scores: beyond full": (
        lambda: plot_scores(-2 * FULL, title="", full=1.5),
        r"largest score is 2, and full=1\.5; take more",
    ),
    "scores, described: none": (lambda: describe_scores(EMPTY, title=""), r"\[0, 2\]"),
    "scores, described: all NaN": (lambda: describe_scores(FULL * NAN, title=""), r"all scores"),
    "attention: names": (
        lambda: plot_attention(FULL / 3, ["a", "b"]),
        r"\[2, 3\]; with 2 row names and 2 column names",
    ),
    "attention: range": (lambda: plot_attention(FULL * NAN, ["a", "b"], keys="cde"), r"nan"),
    "attention, described: names": (
        lambda: describe_attention(FULL / 3, ["a"]),
        r"\[2, 3\]; with 1 row names and 1 column names",
    ),
    "attention, described: range": (
        lambda: describe_attention(-FULL, ["a", "b"], keys="cde"),
        "-1",
    ),
    "profile: none": (lambda: plot_profile(EMPTY, label=""), r"\[0, 2\].*\[layers, h\], and not"),
    "profile: NaN": (lambda: plot_profile(FULL * NAN, label=""), r"hold NaN"),
    "profile: baseline": (
        lambda: plot_profile(FULL, label="", baseline=[1.0]),
        r"baseline has 1 numbers, and there are 2 layers",
    ),
    "profile, described: baseline": (
        lambda: describe_profile(FULL, label="", baseline=[1.0]),
        r"baseline has 1",
    ),
    "mix: none": (lambda: plot_mix(EMPTY.int(), ["a", "b"]), r"\[0, 2\].*not empty"),
    "mix: labels": (lambda: plot_mix(COUNTS, ["a"]), r"\[2, 4\]; with 1 labels.*\[layers, 1\]"),
    "mix: negative": (lambda: plot_mix(-COUNTS, LABELS), r"from -4 to 0; they count"),
    "mix: no head": (lambda: plot_mix(0 * COUNTS, LABELS), r"from 0 to 0.*not all 0"),
    "mix: too many": (
        lambda: plot_mix(torch.ones(2, 12).int(), ["a"] * 12),
        r"12 labels; 11 can be told apart",
    ),
    "mix, described: labels": (lambda: describe_mix(COUNTS, ["a"]), r"with 1 labels"),
    "curves: none": (lambda: plot_curves(SHARES, {}, unit=""), r"4 shares.*at least one curve"),
    "curves: lengths": (
        lambda: plot_curves(SHARES[:3], CURVES, unit=""),
        r"3 shares, and curves of \{'bad': \[4, 4, 4\]",
    ),
    "curves: short interval": (
        lambda: plot_curves(SHARES, {"a": (MEAN, MEAN[:2], MEAN)}, unit=""),
        r"\[4, 2, 4\]",
    ),
    "curves: too many": (
        lambda: plot_curves(SHARES, {str(i): (MEAN,) * 3 for i in range(6)}, unit=""),
        r"6 curves; 5 can be told apart",
    ),
    "curves: start": (
        lambda: plot_curves([0.1, 0.2, 0.3, 0.4], CURVES, unit=""),
        r"shares are \[0\.1.*must rise from 0",
    ),
    "curves: percent": (lambda: plot_curves([0, 10, 50, 100], CURVES, unit=""), r"at most 1"),
    "curves: falling": (lambda: plot_curves([0, 0.5, 0.4, 1], CURVES, unit=""), r"must rise"),
    "curves: no share": (lambda: plot_curves([], {"a": (MEAN[:0],) * 3}, unit=""), r"0 shares"),
    "curves: NaN": (lambda: plot_curves(SHARES, {"a": (MEAN * NAN,) * 3}, unit=""), r"a: .*NaN"),
    "curves: ends swapped": (
        lambda: plot_curves(SHARES, {"a": (MEAN, MEAN + 1, MEAN - 1)}, unit=""),
        r"a: an upper end is below",
    ),
    "curves, described: start": (
        lambda: describe_curves([0.1, 0.2, 0.3, 0.4], CURVES, unit=""),
        r"rise from 0",
    ),
    "changes: none": (
        lambda: plot_changes([], *(MEAN[:0],) * 3, unit=""),
        r"0 heads.*at least one",
    ),
    "changes: lengths": (
        lambda: plot_changes(NAMES, MEAN, *INTERVALS[1:], unit=""),
        r"3 heads, with 4 means, 3 lower",
    ),
    "changes: NaN": (lambda: plot_changes(NAMES, *(CHANGES * NAN,) * 3, unit=""), r"NaN"),
    "changes: ends swapped": (
        lambda: plot_changes(NAMES, CHANGES, CHANGES + 1, CHANGES - 1, unit=""),
        r"the order is mean, low, high",
    ),
    "changes, described: lengths": (
        lambda: describe_changes(NAMES, MEAN, *INTERVALS[1:], unit=""),
        r"3 heads, with 4 means",
    ),
    "similarity: names": (lambda: plot_similarity(SIMILARITY, ["a"]), r"\[5, 5\]; for 1 heads"),
    "similarity: none": (lambda: plot_similarity(torch.zeros(0, 0), []), r"not empty"),
    "similarity: a distance": (lambda: plot_similarity(2 * SIMILARITY, HEADS), r"to 2\.000"),
    "similarity: NaN": (lambda: plot_similarity(SIMILARITY * NAN, HEADS), r"nan"),
    "similarity: negative": (lambda: plot_similarity(-SIMILARITY, HEADS), r"from -1\.000"),
    "similarity: order": (
        lambda: plot_similarity(SIMILARITY, HEADS, order=torch.tensor([0, 1, 2, 3, 3])),
        r"order is \[0, 1, 2, 3, 3\]; it must have each head from 0 to 4 once",
    ),
    "similarity: clusters": (
        lambda: plot_similarity(SIMILARITY, HEADS, clusters=CLUSTERS[:3]),
        r"clusters have shape \[3\]; for 5 heads",
    ),
    "similarity: torn": (
        lambda: plot_similarity(SIMILARITY, HEADS, clusters=CLUSTERS),
        r"tears a cluster apart",
    ),
    "similarity, described: one head": (
        lambda: describe_similarity(torch.ones(1, 1), ["a"]),
        r"1 head; give at least 2",
    ),
    "similarity, described: range": (lambda: describe_similarity(-SIMILARITY, HEADS), r"-1"),
    "similarity, described: clusters": (
        lambda: describe_similarity(SIMILARITY, HEADS, clusters=CLUSTERS[:3]),
        r"shape \[3\]",
    ),
    "film: none": (lambda: plot_film([]), r"shapes \[\]; give at least one"),
    "film: sizes": (
        lambda: plot_film([(0, shares(2, 3, 3)), (1, shares(2, 4, 4))]),
        r"\(2, 3, 3\), \(2, 4, 4\)",
    ),
    "film: no head axis": (lambda: plot_film([(0, shares(3, 3))]), r"\[3, 3\].*\[h, T, T\]"),
    "film: order": (lambda: plot_film(FRAMES[::-1]), r"steps are \[70, 50, 0\]; they must rise"),
    "film: same step": (lambda: plot_film([FRAMES[0], FRAMES[0]]), r"\[0, 0\]; they must rise"),
    "film: range": (lambda: plot_film([(0, 2 * torch.ones(2, 3, 3))]), r"to 2\.000"),
    "film, described: order": (lambda: describe_film(FRAMES[::-1]), r"they must rise"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_is_refused_before_anything_is_drawn(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
    assert pyplot.get_fignums() == []
