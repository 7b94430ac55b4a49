"""Figures of traced inputs: grids over stages, blocks and heads, a cluster traced to its pixels, cluster sizes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pointcoc.checks import check_choice, check_filled
from pointcoc.models.network import ContextClusterNet
from pointcoc.viz.colors import center_colors
from pointcoc.viz.maps import (
    KINDS,
    cluster_sizes,
    dimmed,
    input_colors,
    lay_out,
    overlay,
    point_colors,
)
from pointcoc.viz.trace import Trace, trace

ALONG = ("stage", "block", "head")
PANEL = 2.3  # inches


def draw_clusters(examples: Sequence[tuple[str, ContextClusterNet, Any]], head: int = 0) -> Figure:
    """Draw inputs beside the clusters that the last block of every stage finds in them.

    Args:
        examples: triples (title, network, input); an input is an image (1, C, H, W) or one set. Networks are used in
            evaluation mode.
        head: head whose clusters are shown.

    Returns:
        A figure with one row an example, which shows the input, then one map a stage.

    Raises:
        ValueError: if there is no example.
    """
    check_filled("examples", examples, "(title, network, input)")
    return _draw_rows([(title, trace(net, input)[0]) for title, net, input in examples], -1, head, "clusters")


def draw_stages(
    traced: Trace, block: int = -1, head: int = 0, kind: str = "clusters", title: str | None = None
) -> Figure:
    """Draw one input beside a map of every stage.

    Args:
        traced: the input.
        block: block of each stage.
        head: head of the block.
        kind: "clusters" or "similarity".
        title: name of the input; "input" if not given.

    Raises:
        ValueError: if the kind is unknown, or a stage lacks the block or head.
    """
    return _draw_rows([(title or "input", traced)], block, head, kind)


def _draw_rows(inputs: Sequence[tuple[str, Trace]], block: int, head: int, kind: str) -> Figure:
    shape = len(inputs), 1 + max(len(traced.stages) for _, traced in inputs)
    figure = _figure([traced for _, traced in inputs], *shape)
    for row, (title, traced) in enumerate(inputs):
        first = row * shape[1] + 1
        panel(figure, (*shape, first), traced, input_colors(traced), title)
        for s in range(len(traced.stages)):
            draw_panel(figure, (*shape, first + 1 + s), traced, s, block, head, kind)
    return figure


def draw_grid(
    traced: Trace,
    kind: str = "clusters",
    rows: str = "stage",
    columns: str = "head",
    stage: int = -1,
    block: int = -1,
    head: int = 0,
) -> Figure:
    """Draw maps of one input in rows and columns over two of stage, block and head.

    Args:
        traced: the input.
        kind: "clusters" or "similarity".
        rows: what changes from row to row: "stage", "block" or "head".
        columns: what changes from column to column; stages with fewer leave places empty.
        stage: the stage, where neither is "stage".
        block: the block, where neither is "block".
        head: the head, where neither is "head".

    Raises:
        ValueError: if a name is unknown, both are the same, or a stage, block or head does not exist.
    """
    for name, value, allowed in (("kind", kind, KINDS), ("rows", rows, ALONG), ("columns", columns, ALONG)):
        check_choice(name, value, allowed)
    if rows == columns:
        raise ValueError(f"rows and columns must differ, got {rows!r} for both")
    _name(traced, stage, block, head)  # what does not exist gets its sentence
    stages = traced.stages if "stage" in (rows, columns) else [traced.stage(stage)]
    limits = {
        "stage": len(stages),
        "block": max(one.num_blocks for one in stages),
        "head": max(one.num_heads for one in stages),
    }
    shape = (limits[rows], limits[columns])
    figure = _figure([traced], *shape)
    for place, (r, c) in enumerate(itertools.product(*map(range, shape)), start=1):
        one = {"stage": stage, "block": block, "head": head, rows: r, columns: c}
        clusters = traced.stage(one["stage"])
        if one["block"] < clusters.num_blocks and one["head"] < clusters.num_heads:
            draw_panel(figure, (*shape, place), traced, kind=kind, **one)
    return figure


def draw_hierarchy(
    traced: Trace, cluster: int | None = None, stage: int = -1, block: int = -1, head: int = 0
) -> Figure:
    """Trace a cluster of a late stage back: to the points of each stage before, and to the input.

    Args:
        traced: the input.
        cluster: number of the cluster; the one that stands for most input points if not given.
        stage: its stage.
        block: block of the stage.
        head: head of the block.

    Returns:
        A figure with the input, the clusters of the stage, the part of the input that the cluster covers, and how
        each earlier stage divides that part.

    Raises:
        ValueError: if the cluster has no points or does not exist.
    """
    sizes = cluster_sizes(traced, stage, block, head)
    cluster = int(sizes.argmax()) if cluster is None else cluster
    if not 0 <= cluster < len(sizes) or sizes[cluster] == 0:
        raise ValueError(f"cluster must be one that has points, {sizes.nonzero().flatten().tolist()}, got {cluster}")
    number = range(len(traced.stages))[stage]
    inside = traced.members(cluster, stage, block, head).cpu()
    figure = _figure([traced], 1, 3 + number)
    panel(figure, (1, 3 + number, 1), traced, input_colors(traced), "input")
    draw_panel(figure, (1, 3 + number, 2), traced, number, block, head)
    share = f"{int(sizes[cluster]):,} of {len(inside):,} points"
    panel(figure, (1, 3 + number, 3), traced, dimmed(traced, inside), f"cluster {cluster}: {share}")
    for s in range(number):
        colors = torch.where(inside[:, None], point_colors(traced, s), dimmed(traced, inside))
        parts = len(traced.cluster(s)[inside].unique())
        panel(figure, (1, 3 + number, 4 + s), traced, colors, f"in it, stage {s + 1}: {parts} clusters")
    return figure


def draw_sizes(traced: Trace, stage: int = -1, block: int = -1, head: int = 0) -> Figure:
    """Draw how many input points each cluster stands for, the largest first, in the cluster's color.

    Args:
        traced: the input.
        stage: stage, 0 first, negative from the end.
        block: block of the stage.
        head: head of the block.
    """
    sizes = cluster_sizes(traced, stage, block, head).cpu()
    order = sizes.argsort(descending=True, stable=True)
    colors = center_colors(traced.stage(stage).center_pos)
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(range(len(order)), sizes[order].numpy(), color=colors[order].numpy(), edgecolor="0.3", linewidth=0.4)
    used = int((sizes > 0).sum())
    axes.set(xlabel="center, largest first", ylabel="input points")
    axes.set_title(f"{_name(traced, stage, block, head)}: {used} of {len(sizes)} centers have points", fontsize=9)
    return figure


def draw_panel(
    figure: Figure,
    place: tuple[int, int, int],
    traced: Trace,
    stage: int = -1,
    block: int = -1,
    head: int = 0,
    kind: str = "clusters",
) -> Axes:
    """Draw one map of one input into a figure.

    Args:
        figure: the figure.
        place: rows, columns and number of the subplot, from 1.
        traced: the input.
        stage: stage, 0 first, negative from the end.
        block: block of the stage.
        head: head of the block.
        kind: "clusters" or "similarity".
    """
    title = _name(traced, stage, block, head)
    if kind == "clusters":
        title += f": {len(traced.cluster(stage, block, head).unique())} clusters"
        if traced.is_image:
            return show(figure, place, overlay(traced, stage, block, head), title)
    else:
        low, high = traced.similarity(stage, block, head).aminmax()
        title += f": {float(low):.2f} to {float(high):.2f}"
    return panel(figure, place, traced, point_colors(traced, stage, block, head, kind), title)


def panel(figure: Figure, place: tuple[int, int, int], traced: Trace, colors: Tensor, title: str) -> Axes:
    """Draw the points of an input in colors: pixels at their sites, a cloud in space.

    Args:
        figure: the figure.
        place: rows, columns and number of the subplot, from 1.
        traced: the input.
        colors: one for each point, shape (N, 3).
        title: text above it.
    """
    if traced.is_image:
        return show(figure, place, lay_out(traced, colors, 1.0), title)
    pos = traced.points.pos.cpu().double()
    axes = figure.add_subplot(*place, projection="3d" if pos.shape[1] == 3 else None)
    flat = {"depthshade": False} if pos.shape[1] == 3 else {}  # a paler color would be another cluster's
    axes.scatter(*pos.T.numpy(), c=colors.numpy(), s=min(40.0, 2500 / max(len(pos), 1)), **flat)  # type: ignore[misc, arg-type]
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
    if pos.shape[1] == 3:
        sides = (pos.amax(0) - pos.amin(0)).clamp(min=1e-12) if len(pos) > 1 else torch.ones(3)
        axes.set_box_aspect(sides.tolist(), zoom=1.25)  # type: ignore[call-arg, arg-type]
    else:
        axes.set_aspect("equal")
    return axes


def show(figure: Figure, place: tuple[int, int, int], picture: Tensor, title: str) -> Axes:
    """Draw a picture (H, W, 3) into a figure, one pixel a site; see `panel`."""
    axes = figure.add_subplot(*place)
    axes.imshow(picture.numpy().clip(0, 1), interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
    return axes


def _name(traced: Trace, stage: int, block: int, head: int) -> str:
    clusters = traced.stage(stage)
    clusters.cluster(block, head)  # a block or head that does not exist gets its sentence
    stage, block = range(len(traced.stages))[stage], range(clusters.num_blocks)[block]
    return f"stage {stage + 1}, block {block + 1}, head {range(clusters.num_heads)[head] + 1}"


def _figure(traces: Sequence[Trace], rows: int, columns: int) -> Figure:
    aspect = max(traced.shape[0] / traced.shape[1] if traced.is_image else 1.0 for traced in traces)
    return Figure(figsize=(PANEL * columns, (PANEL * min(2.0, aspect) + 0.25) * rows), layout="constrained")
