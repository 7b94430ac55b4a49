"""Maps of one input as numbers: a color, a similarity or a cluster for every point, laid out as the input is."""

from __future__ import annotations

import torch
from matplotlib import colormaps
from torch import Tensor

from pointcoc.checks import check_choice, check_range
from pointcoc.models.clusters import StageClusters
from pointcoc.pointset import PointSet
from pointcoc.viz.colors import center_colors, cluster_colors
from pointcoc.viz.trace import Trace

KINDS = ("clusters", "similarity")
DIM = 0.25


def cluster_map(clusters: StageClusters, block: int = -1, head: int = 0) -> Tensor:
    """Draw the clusters of complete or holed lattices as images, white where there is no point.

    Args:
        clusters: one stage of `ContextClusterNet.assignments`, of a single set.
        block: block of the stage.
        head: head of the block.

    Returns:
        Shape (H, W, 3), in [0, 1], one site a point of the stage.

    Raises:
        ValueError: if the points do not lie on a lattice or belong to several sets.
    """
    points = clusters.points
    if points.sizes is None or points.num_sets != 1:
        raise ValueError(f"cluster_map needs one set on a lattice, got {points.num_sets} sets, sizes {points.sizes}")
    return _at_sites(points, cluster_colors(clusters, block, head), 1.0)


def lay_out(trace: Trace, values: Tensor, absent: float) -> Tensor:
    """Put values of the points of an image at their pixels.

    Args:
        trace: an input on a lattice.
        values: shape (N, ...).
        absent: value of pixels that are no point.

    Returns:
        Shape (H, W, ...).

    Raises:
        ValueError: if the input is no image.
    """
    if not trace.is_image:
        raise ValueError("lay_out needs an image, got a cloud; its points have colors, see point_colors")
    return _at_sites(trace.points, values, absent)


def _at_sites(points: PointSet, values: Tensor, absent: float) -> Tensor:
    assert points.sizes is not None
    canvas = values.new_full((*points.sizes[0].tolist(), *values.shape[1:]), absent)
    canvas[points.pos.long().to(values.device).unbind(1)] = values
    return canvas


def input_colors(trace: Trace) -> Tensor:
    """Return the colors of the input itself, (N, 3): those of its picture, else its first features, else gray."""
    if trace.picture is not None:
        picture = trace.picture.cpu().double()
        return picture[trace.points.pos.long().cpu().unbind(1)] if trace.is_image else picture
    if not trace.is_image:
        return torch.full((trace.points.num_points, 3), 0.6, dtype=torch.float64)
    channels = trace.points.x[:, :-2].detach().cpu().double()
    channels = channels if channels.shape[1] == 3 else channels.mean(1, keepdim=True)
    low, high = channels.min(), channels.max()
    shown = (channels - low) / (high - low).clamp(min=1e-12)
    return shown if shown.shape[1] == 3 else 1 - shown.expand(-1, 3)  # ink is dark


def point_colors(trace: Trace, stage: int = -1, block: int = -1, head: int = 0, kind: str = "clusters") -> Tensor:
    """Color every input point by its cluster, or by how similar it is to its center.

    Args:
        trace: the input.
        stage: stage, 0 first, negative from the end.
        block: block of the stage.
        head: head of the block.
        kind: "clusters", or "similarity": dark blue for the least of this map to yellow for the most.

    Returns:
        Shape (N, 3), in [0, 1].

    Raises:
        ValueError: if the kind, the stage, the block or the head does not exist.
    """
    check_choice("kind", kind, KINDS)
    if kind == "similarity":
        similarity = trace.similarity(stage, block, head).detach().cpu().double()
        low, high = similarity.aminmax()
        scaled = (similarity - low) / (high - low).clamp(min=1e-12)
        return torch.from_numpy(colormaps["cividis"](scaled.numpy())[:, :3])
    return center_colors(trace.stage(stage).center_pos)[trace.cluster(stage, block, head).cpu()]


def overlay(trace: Trace, stage: int = -1, block: int = -1, head: int = 0, opacity: float = 0.6) -> Tensor:
    """Lay the colors of clusters over the image, with a dark line where two clusters meet.

    Args:
        trace: an image.
        stage: stage, 0 first, negative from the end.
        block: block of the stage.
        head: head of the block.
        opacity: of the colors, in [0, 1]; at 0 only the lines show.

    Returns:
        Shape (H, W, 3), in [0, 1], white where there is no point.

    Raises:
        ValueError: if the input is no image, or a number is not allowed.
    """
    check_range("opacity", opacity, 0, 1)
    colors = opacity * point_colors(trace, stage, block, head) + (1 - opacity) * input_colors(trace)
    picture = lay_out(trace, colors, 1.0)
    picture[borders(lay_out(trace, trace.cluster(stage, block, head).cpu(), -1))] *= 0.35
    return picture


def borders(numbers: Tensor, counts: Tensor | None = None) -> Tensor:
    """Say which sites of a map (H, W) differ from the one below or to the right, where both count: all, or a mask."""
    counts = torch.ones_like(numbers, dtype=torch.bool) if counts is None else counts
    edge = torch.zeros_like(counts)
    edge[:-1] |= (numbers[:-1] != numbers[1:]) & counts[:-1] & counts[1:]
    edge[:, :-1] |= (numbers[:, :-1] != numbers[:, 1:]) & counts[:, :-1] & counts[:, 1:]
    return edge


def dimmed(trace: Trace, members: Tensor) -> Tensor:
    """Return the colors of the input (N, 3), faded toward white where a point is not among `members` (N,) bool."""
    colors = input_colors(trace)
    return torch.where(members.cpu()[:, None], colors, 1 - DIM * (1 - colors))


def cluster_sizes(trace: Trace, stage: int = -1, block: int = -1, head: int = 0) -> Tensor:
    """Count the input points each cluster stands for, shape (M,), 0 for a center that no point chose."""
    return torch.bincount(trace.cluster(stage, block, head), minlength=len(trace.stage(stage).center_pos))
