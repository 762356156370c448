"""The figures as a picture: each round a dot, the median a bar, floor and goal beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rounds import Figure


class NoChart(Exception):
    """matplotlib is not installed."""


def draw(file: Path, figures: Sequence[Figure], title: str) -> None:
    """Draw a PNG: on the left the ratios that should be high, on the right the times that should be low.

    Raises NoChart where matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise NoChart("matplotlib is not installed: pip install 'aka[bench]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [
        (part, low)
        for low in (False, True)
        if (part := [figure for figure in figures if figure.lower_is_better is low])
    ]
    heights = [len(part) for part, _ in panels]
    drawing, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(9, 1.8 + 0.42 * sum(heights)),
        height_ratios=heights,
        layout="constrained",
        squeeze=False,
    )
    for (part, low), axis in zip(panels, axes[:, 0], strict=True):
        _panel(axis, part)
        axis.set_xlabel("as a multiple of the other side's (lower is better)" if low else "ratio (higher is better)")
    axes[0, 0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=8)
    drawing.suptitle(title, fontsize=9)
    drawing.savefig(file, dpi=110)
    pyplot.close(drawing)


def _panel(axis: Any, figures: Sequence[Figure]) -> None:
    for place, figure in enumerate(figures):
        named = place == 0
        axis.plot(
            figure.ratios, [place] * len(figure.rounds), "o", color="#4c78a8", alpha=0.5, markersize=5,
            label="a round" if named else None,
        )  # fmt: skip
        for value, color, label, width in (
            (figure.floor, "#e45756", "floor", 1.5),
            (figure.goal, "#54a24b", "goal", 1.5),
            (figure.median, "#1f3552", "median", 3.0),
        ):
            axis.vlines(value, place - 0.32, place + 0.32, color=color, linewidth=width, label=label if named else None)
    axis.set_yticks(range(len(figures)), [f"{figure.row}  {figure.what}" for figure in figures], fontsize=8)
    axis.set_ylim(len(figures) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.grid(axis="x", color="#dddddd")
    axis.set_axisbelow(True)
