"""The network once more, in plain loops over one lattice set: a slow oracle that shares no code with the package.

Written from the equations alone, one point, one center, one head at a time, in float64, so that a reader can check it
on paper. Points are a dictionary from site (row, column) to a vector of channels; a site that is not in it is absent
and takes part in nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

Site = tuple[int, int]
Vector = NDArray[np.float64]
Points = dict[Site, Vector]
State = Mapping[str, NDArray[np.float64]]

NORM_EPS = 1e-5
COSINE_EPS = 1e-12


class Forward(TypedDict):
    """What `loop_forward` returns: the points after each stage and the logits, None for a network without a head."""

    stages: list[Points]
    logits: Vector | None


# ---------------------------------------------------------------------------------------------------------------------
# Points: linear layers, GELU, the norm over all points and channels
# ---------------------------------------------------------------------------------------------------------------------


def linear(state: State, name: str, vector: Vector) -> Vector:
    """Apply the linear layer `name` to one vector, shape (in,) -> (out,)."""
    return state[f"{name}.weight"] @ vector + state[f"{name}.bias"]


def gelu(vector: Vector) -> Vector:
    """Exact GELU, u (1 + erf(u / sqrt 2)) / 2."""
    return np.array([u * (1.0 + math.erf(u / math.sqrt(2.0))) / 2.0 for u in vector])


def sigmoid(number: float) -> float:
    """1 / (1 + exp(-u)), without overflow."""
    if number >= 0:
        return 1.0 / (1.0 + math.exp(-number))
    return math.exp(number) / (1.0 + math.exp(number))


def cosine(a: Vector, b: Vector) -> float:
    """Cosine of two vectors; a vector shorter than 1e-12 is divided by 1e-12."""
    return float((a / max(math.sqrt(a @ a), COSINE_EPS)) @ (b / max(math.sqrt(b @ b), COSINE_EPS)))


def group_norm(points: Points, weight: Vector, bias: Vector) -> Points:
    """Subtract the mean and divide by the deviation of all channels of all points, then scale and shift channels."""
    numel = sum(len(vector) for vector in points.values())
    mean = sum(float(np.sum(vector)) for vector in points.values()) / numel
    variance = sum(float(np.sum((vector - mean) ** 2)) for vector in points.values()) / numel
    scale = 1.0 / math.sqrt(variance + NORM_EPS)
    return {site: (vector - mean) * scale * weight + bias for site, vector in points.items()}


# ---------------------------------------------------------------------------------------------------------------------
# Reducer: anchors and windows
# ---------------------------------------------------------------------------------------------------------------------


def reduced_size(size: Site, stride: int) -> Site:
    """Count the anchors per axis, ceil(n / stride)."""
    return -(-size[0] // stride), -(-size[1] // stride)


def reduce_points(points: Points, weight: NDArray[np.float64], bias: Vector, stride: int) -> Points:
    """Sum, for each anchor, the window of points around it through one matrix per window site.

    Anchor i of an axis covers the sites s i - p to s i - p + w - 1 with p = (w - s + 1) // 2. It exists if a present
    point has floor(site / s) = i.

    Args:
        points: vectors of shape (in,).
        weight: one matrix per window site, shape (out, in, w, w).
        bias: shape (out,).
        stride: sites from one anchor to the next.

    Returns:
        One vector of shape (out,) per anchor.
    """
    window = weight.shape[-1]
    shift = (window - stride + 1) // 2
    reduced: Points = {}
    for anchor in sorted({(row // stride, column // stride) for row, column in points}):
        total = bias.copy()
        for i in range(window):
            for j in range(window):
                site = (stride * anchor[0] - shift + i, stride * anchor[1] - shift + j)
                if site in points:
                    total = total + weight[:, :, i, j] @ points[site]
        reduced[anchor] = total
    return reduced


# ---------------------------------------------------------------------------------------------------------------------
# Geometry of one stage: regions and the proposals inside them
# ---------------------------------------------------------------------------------------------------------------------


def runs_by_count(num_sites: int, num_cells: int) -> list[range]:
    """Cut the sites of an axis into f cells, site i of n into cell floor(i f / n); cells without sites are left out."""
    runs = []
    for cell in range(num_cells):
        sites = [i for i in range(num_sites) if i * num_cells // num_sites == cell]
        if sites:
            runs.append(range(sites[0], sites[-1] + 1))
    return runs


def runs_by_window(num_sites: int, window: int) -> list[range]:
    """Cut the sites of an axis into runs of `window` sites; the last may be shorter."""
    return [range(start, min(start + window, num_sites)) for start in range(0, num_sites, window)]


def sub_runs(run: range, num_centers: int) -> list[range]:
    """Proposals of one axis: sub-cell k of m of a run of w sites covers floor(k w / m) to ceil((k + 1) w / m)."""
    w, m = len(run), num_centers
    return [range(run.start + k * w // m, run.start - (-(k + 1) * w // m)) for k in range(m)]


def present(points: Points, rows: range, columns: range) -> list[Site]:
    """Sites of the present points inside rows x columns, in row order."""
    return [(row, column) for row in rows for column in columns if (row, column) in points]


def stage_regions(points: Points, size: Site, config: Any, stage: int) -> list[tuple[list[Site], list[list[Site]]]]:
    """Sites of each region with points, together with the sites of each of its proposals with points."""
    window = None if config.window is None else per_axis(config.window[stage])
    regions = per_axis(config.regions[stage])
    centers = per_axis(config.centers[stage])
    if window is None:
        row_runs, column_runs = runs_by_count(size[0], regions[0]), runs_by_count(size[1], regions[1])
    else:
        row_runs, column_runs = runs_by_window(size[0], window[0]), runs_by_window(size[1], window[1])
    result = []
    for rows in row_runs:
        for columns in column_runs:
            sites = present(points, rows, columns)
            if not sites:
                continue
            proposals = []
            for sub_rows in sub_runs(rows, centers[0]):
                for sub_columns in sub_runs(columns, centers[1]):
                    proposal = present(points, sub_rows, sub_columns)
                    if proposal:  # one without points is never chosen
                        proposals.append(proposal)
            result.append((sites, proposals))
    return result


# ---------------------------------------------------------------------------------------------------------------------
# The cluster operation
# ---------------------------------------------------------------------------------------------------------------------


def mean_of(vectors: Iterable[Vector]) -> Vector:
    """Mean of at least one vector."""
    stacked = list(vectors)
    total = np.zeros_like(stacked[0])
    for vector in stacked:
        total = total + vector
    return total / len(stacked)


def first_largest(numbers: list[float]) -> int:
    """Index of the largest number, the first of several."""
    best = 0
    for index, number in enumerate(numbers):
        if number > numbers[best]:
            best = index
    return best


def memberships(
    center_f: list[Vector], f: Points, alpha: float, beta: float, assignment: str
) -> list[dict[Site, float]]:
    """For each center its points and their similarities s = sigmoid(beta + alpha cos).

    `hard`: every point belongs to the center of largest beta + alpha cos, the first on ties. `soft`: to every center.
    """
    members: list[dict[Site, float]] = [{} for _ in center_f]
    for site, vector in f.items():
        scores = [beta + alpha * cosine(center, vector) for center in center_f]
        chosen = [first_largest(scores)] if assignment == "hard" else range(len(scores))
        for i in chosen:
            members[i][site] = sigmoid(scores[i])
    return members


def cluster_head(
    f: Points, v: Points, proposals: list[list[Site]], alpha: float, beta: float, config: Any
) -> dict[Site, Vector]:
    """Cluster the points of one region in one head.

    s_ij = sigmoid(beta + alpha cos(c_f_i, f_j)),  g_i = (c_v_i + sum_j s_ij v_j) / (1 + sum_j s_ij) over the points of
    center i (`normalizer="count"`: over 1 + the number of them),  y_j = sum_i s_ij g_i over the centers of point j.
    T - 1 times before that, c_f_i becomes (c_f_i + sum_j s_ij f_j) / (1 + sum_j s_ij), whatever the normalizer.

    Args:
        f: features to compare, one vector of shape (head_dim,) per site of the region.
        v: values to blend, of the same shape and sites.
        proposals: sites of each center's points, none of them empty.
        alpha: slope of the similarity.
        beta: offset of the similarity.
        config: read for `assignment`, `normalizer` and `iterations`.

    Returns:
        One vector of shape (head_dim,) per site of the region.
    """
    center_f = [mean_of(f[site] for site in proposal) for proposal in proposals]
    center_v = [mean_of(v[site] for site in proposal) for proposal in proposals]
    for _ in range(config.iterations - 1):
        for i, member in enumerate(memberships(center_f, f, alpha, beta, config.assignment)):
            total = center_f[i]
            for site, s in member.items():
                total = total + s * f[site]
            center_f[i] = total / (1.0 + sum(member.values()))
    dispatched = {site: np.zeros_like(vector) for site, vector in v.items()}
    for i, member in enumerate(memberships(center_f, f, alpha, beta, config.assignment)):
        total = center_v[i]
        for site, s in member.items():
            total = total + s * v[site]
        aggregated = total / (1.0 + (len(member) if config.normalizer == "count" else sum(member.values())))
        for site, s in member.items():
            dispatched[site] = dispatched[site] + s * aggregated
    return dispatched


def cluster_points(points: Points, size: Site, state: State, name: str, config: Any, stage: int) -> Points:
    """Cluster layer `name` on the points of a stage: linear maps to f and v, clusters per region and head, `proj`."""
    alpha, beta = float(state[f"{name}.alpha"][0]), float(state[f"{name}.beta"][0])
    heads, head_dim = config.heads[stage], config.head_dims[stage]
    f = {site: linear(state, f"{name}.f", vector) for site, vector in points.items()}
    v = {site: linear(state, f"{name}.v", vector) for site, vector in points.items()}
    joined = {site: np.zeros(heads * head_dim) for site in points}
    for sites, proposals in stage_regions(points, size, config, stage):
        for head in range(heads):
            channels = slice(head * head_dim, (head + 1) * head_dim)
            head_f = {site: f[site][channels] for site in sites}
            head_v = {site: v[site][channels] for site in sites}
            for site, vector in cluster_head(head_f, head_v, proposals, alpha, beta, config).items():
                joined[site][channels] = vector
    return {site: linear(state, f"{name}.proj", vector) for site, vector in joined.items()}


# ---------------------------------------------------------------------------------------------------------------------
# The network
# ---------------------------------------------------------------------------------------------------------------------


def block(points: Points, size: Site, state: State, name: str, config: Any, stage: int) -> Points:
    """Add scale1 cluster(norm1(x)) to x, then scale2 mlp(norm2(x)); `config.layer_scale` None means scales of 1."""
    scale1 = 1.0 if config.layer_scale is None else state[f"{name}.scale1"]
    scale2 = 1.0 if config.layer_scale is None else state[f"{name}.scale2"]
    normed = group_norm(points, state[f"{name}.norm1.weight"], state[f"{name}.norm1.bias"])
    clustered = cluster_points(normed, size, state, f"{name}.cluster", config, stage)
    points = {site: vector + scale1 * clustered[site] for site, vector in points.items()}
    normed = group_norm(points, state[f"{name}.norm2.weight"], state[f"{name}.norm2.bias"])
    hidden = {site: gelu(linear(state, f"{name}.mlp.fc1", vector)) for site, vector in normed.items()}
    return {site: vector + scale2 * linear(state, f"{name}.mlp.fc2", hidden[site]) for site, vector in points.items()}


def loop_forward(state: State, config: Any, features: ArrayLike, sites: ArrayLike, size: Site) -> Forward:
    """Run the network on one lattice set.

    Args:
        state: state dict of the network as numpy float64 arrays.
        config: any object with the fields of NetworkConfig; lattice anchors and `cells` proposals.
        features: shape (N, C), N at least 1.
        sites: row and column of each point, integers of shape (N, 2), unique, in any order, with or without holes.
        size: sites per axis of the lattice, (height, width).

    Returns:
        `stages`: the points after each stage, site -> vector. `logits`: shape (num_classes,), None without a head.

    Raises:
        ValueError: if the set or the config is one that the loops do not cover.
    """
    check_config(config)
    points = as_points(features, sites, size)
    stages: list[Points] = []
    for stage, depth in enumerate(config.depths):
        points = reduce_stage(points, state, f"reducers.{stage}", config.strides[stage])
        size = reduced_size(size, config.strides[stage])
        for index in range(depth):
            points = block(points, size, state, f"stages.{stage}.{index}", config, stage)
        stages.append(points)
    return {"stages": stages, "logits": classify(points, state) if "head.weight" in state else None}


def loop_logits(state: State, config: Any, features: ArrayLike, sites: ArrayLike, size: Site) -> Vector:
    """Logits of one lattice set, shape (num_classes,); arguments and errors as in `loop_forward`."""
    logits = loop_forward(state, config, features, sites, size)["logits"]
    if logits is None:
        raise ValueError("state has no head.weight: a network without a head has no logits")
    return logits


def reduce_stage(points: Points, state: State, name: str, stride: int) -> Points:
    """Reduce by one window, or by several of stride 2 and one of stride 1 with batch norm (evaluation) and ReLU."""
    if f"{name}.weight" in state:
        return reduce_points(points, state[f"{name}.weight"], state[f"{name}.bias"], stride)
    step = 0
    while stride >= 1:
        weight, norm = state[f"{name}.steps.{step}.weight"], f"{name}.norms.{step}"
        points = reduce_points(points, weight, np.zeros(len(weight)), 2 if stride > 1 else 1)
        deviation = np.sqrt(state[f"{norm}.running_var"] + NORM_EPS)
        for site, vector in points.items():
            normal = (vector - state[f"{norm}.running_mean"]) / deviation
            points[site] = np.maximum(normal * state[f"{norm}.weight"] + state[f"{norm}.bias"], 0.0)
        stride, step = stride // 2, step + 1
    return points


def classify(points: Points, state: State) -> Vector:
    """Norm, mean over the points, linear."""
    return linear(state, "head", mean_of(group_norm(points, state["norm.weight"], state["norm.bias"]).values()))


# ---------------------------------------------------------------------------------------------------------------------
# Arguments
# ---------------------------------------------------------------------------------------------------------------------


def per_axis(value: int | tuple[int, int]) -> tuple[int, int]:
    """One number for both axes, or one for each."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def as_points(features: ArrayLike, sites: ArrayLike, size: Site) -> Points:
    """Build the dictionary from site to vector; sites must be unique and on the lattice."""
    vectors = np.asarray(features, dtype=np.float64)
    keys = [(int(row), int(column)) for row, column in np.asarray(sites).tolist()]
    if not keys or len(keys) != len(vectors):
        raise ValueError(f"features and sites must hold the same points, at least one, got {len(vectors)}, {len(keys)}")
    if len(set(keys)) != len(keys):
        raise ValueError("sites must be unique, a site came twice")
    for row, column in keys:
        if not (0 <= row < size[0] and 0 <= column < size[1]):
            raise ValueError(f"sites must lie on the lattice of size {size}, got {(row, column)}")
    return dict(zip(keys, vectors, strict=True))


def check_config(config: Any) -> None:
    """Refuse what the loops do not cover."""
    allowed = {
        "anchors": ("lattice",),
        "proposals": ("cells",),
        "assignment": ("hard", "soft"),
        "normalizer": ("similarity", "count"),
    }
    for field, values in allowed.items():
        if getattr(config, field) not in values:
            raise ValueError(f"{field} must be one of {', '.join(values)}, got {getattr(config, field)!r}")
