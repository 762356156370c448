"""The figures as a table for a terminal, and as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.rounds import Figure, Round, Sample

HEAD: Final = (
    f"{'row':4} {'what':48} {'median':>7} {'floor':>6} {'goal':>6} {'':6}"
    f" {'cpu':>5} {'aka':>8} {'beside':>8} {'unit':8} rounds"
)


def line(figure: Figure, *, judged: bool) -> str:
    """Return a figure's line of the table. `cpu` is the ratio by processor time a call, where both are servers."""
    first, second = (_middle(side) for side in zip(*((each.aka, each.beside) for each in figure.rounds), strict=True))
    rounds = " ".join(f"{ratio:.2f}" for ratio in figure.ratios)
    bounds = [f"{'≤' if figure.lower_is_better else ''}{bound:g}" for bound in (figure.floor, figure.goal)]
    cpu = "" if figure.processor_ratio is None else f"{figure.processor_ratio:.2f}"
    verdict = figure.verdict if judged else "-"
    return (
        f"{figure.row:4} {figure.what:48} {figure.median:7.2f} {bounds[0]:>6} {bounds[1]:>6} {verdict:6}"
        f" {cpu:>5} {first:>8} {second:>8} {figure.unit:8} {rounds}"
    )


def closing(figures: Sequence[Figure]) -> str:
    """Say which floors fall short."""
    short = [
        f"  {figure.row}: {figure.what}: {figure.median:.2f}, not {figure.floor:g}"
        for figure in figures
        if not figure.held
    ]
    if not short:
        return f"All {len(figures)} floors held."
    return "\n".join([f"{len(short)} of {len(figures)} floors fall short:", *short])


def write(file: Path, about: Mapping[str, Any], figures: Iterable[Figure]) -> None:
    """Write a run's results as JSON."""
    file.write_text(json.dumps({**about, "figures": [_figure(figure) for figure in figures]}, indent=1) + "\n")


def _middle(samples: Sequence[Sample]) -> str:
    value = sorted(sample.value for sample in samples)[len(samples) // 2]
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "row": figure.row,
        "what": figure.what,
        "unit": figure.unit,
        "floor": figure.floor,
        "goal": figure.goal,
        "lower_is_better": figure.lower_is_better,
        "median": round(figure.median, 3),
        "processor_ratio": None if figure.processor_ratio is None else round(figure.processor_ratio, 3),
        "verdict": figure.verdict,
        "rounds": [_round(each) for each in figure.rounds],
    }


def _round(each: Round) -> dict[str, Any]:
    return {"ratio": round(each.ratio, 3), "aka": _sample(each.aka), "beside": _sample(each.beside)}


def _sample(sample: Sample) -> dict[str, float]:
    return {"value": round(sample.value, 3)} | {name: round(value, 3) for name, value in sample.details.items()}
