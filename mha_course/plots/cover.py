"""The course in one picture, for the start page and the README.

`python -m mha_course.plots.cover PATH` writes it to a file.
"""

from __future__ import annotations

import argparse

import torch

from mha_course.heads import load
from mha_course.plots.canvas import INK, Figure, canvas
from mha_course.plots.heads import plot_rows

SENTENCE = "Apple released a new phone because it is tasty"
LAYER = 4  # counted from 0
HEADS = (3, 4, 5, 9)


def cover() -> Figure:
    """What four heads of MiniLM attend to from the word "it", and the mean of all twelve.

    Raises:
        ModuleNotFoundError: the package that carries the model is missing.
    """
    maps = load("minilm").attention_maps(SENTENCE)
    from_it = maps.weights[LAYER, :, maps.where("it")]  # [h, T]
    rows = torch.cat([from_it[list(HEADS)], from_it.mean(dim=0, keepdim=True)])
    labels = [f"head {LAYER}.{i}" for i in HEADS] + [f"mean of {len(from_it)}"]
    with canvas(height=2.2) as figure:
        plot_rows(rows, labels, maps.tokens, figure.axes)
        figure.axes.axhline(len(HEADS) - 0.5, color=INK, linewidth=1.5)
    figure.table(labels, maps.tokens, rows.tolist())
    favourites = [maps.tokens[int(row.argmax())] for row in rows]
    return figure.describe(
        f"Heat map of attention from the token it in the sentence: {SENTENCE}. "
        + ", ".join(
            f"{name} puts most on {token}" for name, token in zip(labels, favourites, strict=True)
        )
        + "."
    )


def main() -> None:
    """Write the picture to the path given on the command line."""
    parser = argparse.ArgumentParser(description=cover.__doc__)
    parser.add_argument("path", help="SVG file to write")
    cover().save(parser.parse_args().path)


if __name__ == "__main__":
    main()
