"""A picture of the results of bench.py: images a second of each network in its best mode, and the cost of points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes

from tools.backbones import is_ours
from tools.report import GROUP

matplotlib.use("agg")
from matplotlib import pyplot as plt

COLUMNS = 3
OURS, PEERS = "tab:blue", "lightgray"


def save_plot(results: dict[str, Any], path: Path) -> bool:
    """Draw one panel a group of comparisons and one for scenes; return False if there is nothing to draw."""
    panels = [(name, group) for name in ("inference", "training", "paper") for group in _groups(results.get(name, []))]
    scenes = results.get("scenes", [])
    count = len(panels) + bool(scenes)
    if count == 0:
        return False
    num_rows, num_columns = -(-count // COLUMNS), min(count, COLUMNS)
    figure, axes = plt.subplots(
        num_rows, num_columns, figsize=(5 * num_columns, 3.6 * num_rows), squeeze=False, layout="constrained"
    )
    for ax, (name, group) in zip(axes.flat, panels):
        _bars(ax, name, group)
    if scenes:
        _scene_line(axes.flat[len(panels)], scenes)
    for ax in axes.flat[count:]:
        ax.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _groups(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if "per_second" in row:
            groups.setdefault(tuple(row[name] for name in GROUP), []).append(row)
    return list(groups.values())


def _bars(ax: Axes, name: str, group: Sequence[dict[str, Any]]) -> None:
    best: dict[str, dict[str, Any]] = {}
    for row in sorted(group, key=lambda row: row["per_second"]):
        best[row["network"]] = row
    rows = sorted(best.values(), key=lambda row: row["per_second"])
    speeds = [row["per_second"] for row in rows]
    ends = [[row["batch"] / row.get(end, row["seconds"]) for row in rows] for end in ("high", "low")]
    spread = [[s - e for s, e in zip(speeds, ends[0])], [e - s for s, e in zip(speeds, ends[1])]]
    colors = [OURS if is_ours(row["network"]) else PEERS for row in rows]
    ax.barh([f"{row['network']}, {row['mode']}" for row in rows], speeds, xerr=spread, color=colors)
    ax.set_title(
        f"{name}, {rows[0]['dtype']}, batch {rows[0]['batch']}, {rows[0]['height']} x {rows[0]['width']}", fontsize=9
    )
    ax.set_xlabel("images a second (quartiles)", fontsize=8)
    ax.tick_params(labelsize=7)


def _scene_line(ax: Axes, rows: Sequence[dict[str, Any]]) -> None:
    sizes = [row["points"] for row in rows]
    for name in ("plan", "network"):
        ax.plot(sizes, [row[name] for row in rows], marker="o", label=name)
    ax.set(xscale="log", ylim=(0, None), xlabel="points of a scene", ylabel="microseconds per point")
    ax.set_title("coc_scene, inference, float32", fontsize=9)
    ax.legend(fontsize=8)
