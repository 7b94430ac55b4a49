"""From a scene to the views of it that a network reads: the same functions in training, test and prediction.

What tells a point from others wherever the scene lies (height above the ground, shape, colors) is computed once for the
scene; positions become relative to a view.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch_geometric.data import Data

from pointcoc.data.cloud import STORED, Cloud
from pointcoc.data.prepare import COLOR_CENTER, check_features
from pointcoc.data.scene_features import height_above_ground, local_shape
from pointcoc.models.weights import FEATURES, CloudTransform

NUM_NEIGHBORS = 16
"""Neighbors that tell the shape of a point, where the transform says nothing."""
GROUND_RATIO = 40.0
"""Radius of the ground over the spacing, where the transform does not say it."""
UNIT_RATIO = 40.0
"""Unit of positions as features over the spacing: views of some thousand points have a size of about 1."""
SCALES = (0.25, 1.0, 4.0)
"""Radii of the ground over that of the transform."""
SHAPE_MIDDLE = 0.35
"""Subtracted from shapes, which lie between 0 and 1."""


class SceneInput:
    """Make the input of a network from a scene: `describe` it once, then `view` parts of it.

    Args:
        transform: `up`, `features`, `spacing`, `view_points`, `ground_radius` and `num_neighbors` are read. A scene is
            neither centered nor scaled: the positions of a view are counted from its middle.

    Raises:
        ValueError: if the transform has no spacing or no view_points, or centers or scales.
    """

    def __init__(self, transform: CloudTransform) -> None:
        if transform.spacing is None or transform.view_points is None:
            raise ValueError(
                f"transform of scenes must have spacing and view_points, got {transform.spacing} and "
                f"{transform.view_points}"
            )
        if (transform.center, transform.scale) != ("none", "none"):
            raise ValueError(
                f"transform of scenes must have center and scale 'none', got {transform.center!r} and "
                f"{transform.scale!r}"
            )
        self.transform = transform
        self.spacing = transform.spacing
        self.view_points = transform.view_points
        ends = list(itertools.accumulate((FEATURES[name] for name in transform.features), initial=0))
        self.columns = {name: slice(*ends[i : i + 2]) for i, name in enumerate(transform.features)}

    def describe(self, scene: Data | Cloud, computed: Tensor | None = None) -> Data:
        """Collect what all views of a scene share.

        Args:
            scene: `pos` (N, 3) as stored; each stored feature of the transform under its name; the classes `y` (N,), if
                they are known.
            computed: what `compute` returned for this scene, if it was kept.

        Returns:
            `pos` (N, 3) float64 with the last axis up, `x` (N, C) float32 with zeros for the positions, and `y`.

        Raises:
            ValueError: if the scene lacks a feature.
        """
        data = scene.to_data() if isinstance(scene, Cloud) else scene
        names = self.transform.features
        check_features(data, [name for name in names if name in STORED], "the scene")
        pos = self.upright(data.pos.double())
        computed = self.compute(pos) if computed is None else computed
        parts = {"height": computed[:, : len(SCALES)], "shape": computed[:, -FEATURES["shape"] :]}
        for name in names:
            if name in STORED:
                values = getattr(data, name).float()
                parts[name] = values - COLOR_CENTER if name == "color" else values
        if "normal" in parts:
            parts["normal"] = self.upright(parts["normal"])
        parts["position"] = torch.zeros_like(pos, dtype=torch.float32)
        x = torch.cat([parts[name] for name in names], dim=1)
        return Data(pos=pos, x=x, **({} if data.y is None else {"y": data.y}))

    def compute(self, pos: Tensor) -> Tensor:
        """Compute the features of positions, those that the transform asks for, in the numbers that a network reads.

        Args:
            pos: all points of a scene, the last axis up, shape (N, 3), float64.

        Returns:
            Heights, like a logarithm of the height in spacings except near 0, then shapes, float32, shape (N, C).
        """
        parts = [pos.new_empty(len(pos), 0, dtype=torch.float32)]
        if "height" in self.columns:
            radius = self.transform.ground_radius or GROUND_RATIO * self.spacing
            heights = torch.stack([height_above_ground(pos, scale * radius) for scale in SCALES], dim=1)
            parts.append((heights / (2 * self.spacing)).asinh() / 2)
        if "shape" in self.columns:
            num = self.transform.num_neighbors or NUM_NEIGHBORS
            parts.append(2 * (local_shape(pos, (num, 4 * num)) - SHAPE_MIDDLE))
        return torch.cat(parts, dim=1)

    def view(self, scene: Data, rows: Tensor, matrix: Tensor | None = None) -> Data:
        """Return the input of a network for some points of a scene.

        Positions are counted from the mean of the points, their heights from the lowest one; as features they are in
        units of 40 spacings.

        Args:
            scene: what `describe` returned.
            rows: points of the view, shape (P,), int64.
            matrix: turns and scales the view, shape (3, 3), for rows of coordinates.

        Returns:
            `pos` (P, 3) float32, `x` (P, C) float32 in the order of the features of the transform, and `y`.
        """
        pos, x = scene.pos[rows], scene.x[rows]
        pos = (pos - torch.cat([pos[:, :2].mean(0), pos[:, 2:].amin(0)])).float()
        if matrix is not None:
            pos = pos @ matrix
            if "normal" in self.columns:
                x[:, self.columns["normal"]] = normalize(x[:, self.columns["normal"]] @ matrix, dim=1)
        if "position" in self.columns:
            x[:, self.columns["position"]] = pos / (UNIT_RATIO * self.spacing)
        return Data(pos=pos, x=x, **({} if scene.y is None else {"y": scene.y[rows]}))

    def upright(self, vectors: Tensor) -> Tensor:
        """Exchange the axes in a circle, so that the last one is up."""
        return vectors.roll(2 - self.transform.up_axis, dims=1)
