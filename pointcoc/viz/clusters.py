"""Cluster maps: which points of an input a network groups together, stage by stage."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from pointcoc.models.network import ContextClusterNet, StageClusters
from pointcoc.pointset import PointSet, image_to_points

GOLDEN_RATIO = 0.6180339887498949


def cluster_colors(cluster: Tensor) -> Tensor:
    """Give each cluster number a color of its own.

    Args:
        cluster: numbers, shape (N,); neighbors in number get hues far apart.

    Returns:
        Red, green, blue in [0, 1], shape (N, 3).
    """
    number = cluster.cpu().double()
    hue = (number * GOLDEN_RATIO) % 1
    value = 0.95 - 0.3 * (number % 3) / 2
    return torch.from_numpy(hsv_to_rgb(torch.stack([hue, torch.full_like(hue, 0.65), value], dim=1).numpy()))


def cluster_map(clusters: StageClusters, block: int = -1, head: int = 0) -> Tensor:
    """Draw the clusters of complete or holed lattices as images, white where there is no point.

    Args:
        clusters: one stage of `ContextClusterNet.assignments`, of a single set.
        block: block of the stage.
        head: head of the block.

    Returns:
        Shape (H, W, 3), in [0, 1].

    Raises:
        ValueError: if the points do not lie on a lattice or belong to several sets.
    """
    points = clusters.points
    if points.sizes is None or points.num_sets != 1:
        raise ValueError(f"cluster_map needs one set on a lattice, got {points.num_sets} sets, sizes {points.sizes}")
    picture = torch.ones(*points.sizes[0].tolist(), 3, dtype=torch.float64)
    row, column = points.pos.long().cpu().unbind(1)
    picture[row, column] = cluster_colors(clusters.cluster(block, head))
    return picture


@torch.no_grad()
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
    if len(examples) == 0:
        raise ValueError("examples is empty; give at least one (title, network, input)")
    columns = 1 + max(net.config.num_stages for _, net, _ in examples)
    figure = Figure(figsize=(2.2 * columns, 2.4 * len(examples)), layout="constrained")
    for row, (title, net, input) in enumerate(examples):
        _draw_input(figure, (len(examples), columns, row * columns + 1), title, _as_points(input))
        for s, clusters in enumerate(_evaluated(net).assignments(input)):
            _draw_stage(figure, (len(examples), columns, row * columns + 2 + s), f"stage {s + 1}", clusters, head)
    return figure


def _evaluated(net: ContextClusterNet) -> ContextClusterNet:
    """Return the network, or a copy in evaluation mode if it is training."""
    return copy.deepcopy(net).eval() if net.training else net


def _as_points(input: Any) -> PointSet:
    if isinstance(input, Tensor):
        return image_to_points(input)
    return input if isinstance(input, PointSet) else PointSet.from_pyg(input)


def _draw_input(figure: Figure, place: tuple[int, int, int], title: str, points: PointSet) -> None:
    if points.sizes is None:
        _scatter(figure, place, title, points.pos, None)
        return
    gray = points.x[:, :-2].double().mean(1).cpu()
    gray = (gray - gray.min()) / (gray.max() - gray.min()).clamp(min=1e-12)
    picture = torch.ones(*points.sizes[0].tolist(), dtype=torch.float64)
    row, column = points.pos.long().cpu().unbind(1)
    picture[row, column] = 1 - gray  # ink is dark
    _show(figure, place, title, picture)


def _draw_stage(figure: Figure, place: tuple[int, int, int], title: str, clusters: StageClusters, head: int) -> None:
    count = len(clusters.cluster(-1, head).unique())
    title = f"{title}: {count} clusters"
    if clusters.points.sizes is None:
        _scatter(figure, place, title, clusters.points.pos, cluster_colors(clusters.cluster(-1, head)))
    else:
        _show(figure, place, title, cluster_map(clusters, head=head))


def _show(figure: Figure, place: tuple[int, int, int], title: str, picture: Tensor) -> None:
    axes = figure.add_subplot(*place)
    axes.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def _scatter(figure: Figure, place: tuple[int, int, int], title: str, pos: Tensor, colors: Tensor | None) -> None:
    in_space = pos.shape[1] == 3
    axes = figure.add_subplot(*place, projection="3d" if in_space else None)
    size = 90 / len(pos) ** 0.5
    color = "0.45" if colors is None else colors.numpy()
    axes.scatter(*pos.cpu().double().T.numpy(), c=color, s=size)  # type: ignore[misc]
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()
    axes.set_aspect("equal")
