"""A measurement of robustness as a table, as JSON and as a picture."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pointcoc.robustness.measure import Robustness
from pointcoc.version import __version__


def to_json(result: Robustness, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file keeps: rates in [0, 1].

    Args:
        result: the measurement.
        about: where it comes from: weights, data, seed and the like.
    """
    return {
        "pointcoc_version": __version__,
        **about,
        "num_items": result.num_items,
        "clean_error": result.clean,
        "mean_error": result.mean,
        "added_error": result.added,
        "errors": {kind: {str(s): error for s, error in row.items()} for kind, row in result.errors.items()},
        "accuracy_by_percent_removed": {str(percent): value for percent, value in result.removed.items()},
    }


def to_markdown(result: Robustness) -> str:
    """Return the summary and the tables, in percent."""
    strengths = list(next(iter(result.errors.values())))
    by_strength = [sum(row[s] for row in result.errors.values()) / len(result.errors) for s in strengths]
    table = _table(
        ["kind", *strengths, "mean"],
        *([kind, *row.values(), result.of_kind(kind)] for kind, row in result.errors.items()),
        ["mean", *by_strength, result.mean],
    )
    parts = [summary(result), "Error, %, by kind and strength:", table]
    if result.removed:
        table = _table(["removed, %", *result.removed], ["accuracy", *result.removed.values()])
        parts += ["Accuracy, %, by the share of points that was removed at random:", table]
    return "\n\n".join(parts) + "\n"


def summary(result: Robustness) -> str:
    """Return the result in a line."""
    times = f", {result.mean / result.clean:.2f} times" if result.clean > 0 else ""
    return (
        f"Mean error over corruptions {result.mean:.1%}; clean error {result.clean:.1%}; corruption adds "
        f"{100 * result.added:.1f} points{times}. {result.num_items:,} items."
    )


def draw_robustness(result: Robustness, num_classes: int | None = None) -> Figure:
    """Draw the errors as a map of numbers, and beside it accuracy against the share of points removed.

    Args:
        result: the measurement.
        num_classes: of the data, for the line of chance; None leaves it out.
    """
    has_curve = bool(result.removed)
    figure = Figure(figsize=(11 if has_curve else 6.5, 1.6 + 0.32 * max(len(result.errors), 8)), layout="constrained")
    axes = figure.subplots(1, 1 + has_curve, squeeze=False, width_ratios=(1.15, 1)[: 1 + has_curve])[0]
    _draw_errors(axes[0], result)
    if has_curve:
        _draw_removed(axes[1], result, num_classes)
    return figure


def _draw_errors(axes: Axes, result: Robustness) -> None:
    strengths = list(next(iter(result.errors.values())))
    values = 100 * np.array([[*row.values(), result.of_kind(kind)] for kind, row in result.errors.items()])
    axes.imshow(values, cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        color = "black" if value > 45 else "white"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(values.shape[1]), [*map(str, strengths), "mean"])
    axes.set_yticks(range(len(result.errors)), [kind.replace("_", " ") for kind in result.errors])
    axes.axvline(len(strengths) - 0.5, color="white", linewidth=3)
    axes.set(xlabel="strength", title=f"error, %: clean {100 * result.clean:.1f}, corrupted {100 * result.mean:.1f}")


def _draw_removed(axes: Axes, result: Robustness, num_classes: int | None) -> None:
    axes.plot(list(result.removed), [100 * value for value in result.removed.values()], color="#0072b2", marker="o")
    if num_classes:
        axes.axhline(100 / num_classes, color="#777777", linestyle=":")
        axes.annotate("chance", (0, 100 / num_classes), xytext=(0, 3), textcoords="offset points", color="#555555")
    axes.set(xlabel="points removed at random, %", ylabel="accuracy, %", ylim=(0, 101), title="fewer points")
    axes.grid(alpha=0.3)


def _table(head: list[Any], *rows: list[Any]) -> str:
    """Lay out a Markdown table whose columns line up: names, and rates in percent."""
    cells = [list(map(str, head)), *([name, *(f"{100 * rate:.1f}" for rate in rates)] for name, *rates in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [cells[0], ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], *cells[1:]]
    return "\n".join(
        "| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |" for row in lines
    )
