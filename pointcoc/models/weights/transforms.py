"""How images and clouds become the input of a network; what travels with weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pointcoc.checks import check_choice, check_count, check_filled

CENTERS = ("none", "box", "mean")
SCALES = ("none", "unit_ball")
AXES = ("x", "y", "z")
FEATURES = {
    "position": 3, "color": 3, "normal": 3, "intensity": 1, "return_number": 1, "height": 3, "shape": 10,
}  # fmt: skip
"""Features of a point, and how many numbers each has; see `CloudTransform`."""


@dataclass(frozen=True, kw_only=True)
class ImageTransform:
    """How images become the input of a network; the defaults are those of the official networks.

    Args:
        mean: mean of each channel, subtracted from values in [0, 1].
        std: deviation of each channel, divided by.
        interpolation: of the resize before the crop.
        crop_pct: side of the center crop over that of the resized image.
        input_size: height and width of the crop.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bicubic"
    crop_pct: float = 0.9
    input_size: tuple[int, int] = (224, 224)

    def __str__(self) -> str:
        height, width = self.input_size
        return (
            f"resize ({self.interpolation}), center crop {height} x {width} of {self.crop_pct:g} of the side, "
            f"mean {list(self.mean)}, deviation {list(self.std)}"
        )


@dataclass(frozen=True, kw_only=True)
class CloudTransform:
    """How point clouds become the input of a network; `pointcoc.data.PrepareCloud` applies it.

    Points are chosen first, then centered and scaled, in float64; the network reads float32.

    Args:
        center: what moves to the origin: the middle of the bounding box ("box"), the mean of the points ("mean"), or
            nothing ("none").
        scale: "unit_ball" divides by the distance of the farthest point from the origin; "none" keeps the units.
        up: the axis that points up.
        num_points: points that are chosen from a larger cloud; None takes all.
        any_num_points: whether the network was trained on clouds of different sizes, so that another number of points
            does no harm.
        features: what the network reads of each point, in this order, keys of `FEATURES`: "position" (after centering
            and scaling), "color" (red, green, blue in [-0.5, 0.5]), "normal" (of length 1), "intensity" (in [0, 1]
            where the file stores integers, else as stored), "return_number" (1 for the first return); of scenes also
            "height" (above the ground within a quarter of `ground_radius`, within it, and within four times as far) and
            "shape" (of `num_neighbors` and of four times as many, see `pointcoc.data.local_shape`).
        spacing: median distance of a point of the training set to its nearest neighbor, in units of the positions after
            scaling; None if it was not measured.
        view_points: for scenes, the points of a view: the network reads overlapping views of the scene. None reads
            clouds at once.
        ground_radius: for "height", radius in which the ground is looked for, units of the positions.
        num_neighbors: for "shape", neighbors of a point.

    Raises:
        ValueError: if a value is not allowed.
    """

    center: Literal["none", "box", "mean"] = "none"
    scale: Literal["none", "unit_ball"] = "none"
    up: Literal["x", "y", "z"] = "z"
    num_points: int | None = None
    any_num_points: bool = True
    features: tuple[str, ...] = ("position",)
    spacing: float | None = None
    view_points: int | None = None
    ground_radius: float | None = None
    num_neighbors: int | None = None

    def __post_init__(self) -> None:
        check_choice("center", self.center, CENTERS)
        check_choice("scale", self.scale, SCALES)
        check_choice("up", self.up, AXES)
        if self.scale != "none" and self.center == "none":
            raise ValueError(f"scale {self.scale!r} needs a center: choose center 'box' or 'mean', got 'none'")
        for name in ("num_points", "view_points", "num_neighbors"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        for name in ("spacing", "ground_radius"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be a positive length, got {value}")
        check_filled("features", self.features, "feature")
        for feature in self.features:
            check_choice("feature", feature, tuple(FEATURES))
        if len(set(self.features)) < len(self.features):
            raise ValueError(f"features must be named once each, got {', '.join(self.features)}")

    @property
    def num_features(self) -> int:
        """Numbers that the network reads of each point."""
        return sum(FEATURES[name] for name in self.features)

    @property
    def up_axis(self) -> int:
        """Column of the axis that points up."""
        return AXES.index(self.up)

    def __str__(self) -> str:
        points = "all points" if self.num_points is None else f"{self.num_points:,} points"
        places = {
            "none": "as stored",
            "box": "the middle of the box at the origin",
            "mean": "the mean at the origin",
        }[self.center]
        scaled = ", scaled to the unit ball" if self.scale == "unit_ball" else ""
        views = "" if self.view_points is None else f", in views of {self.view_points:,}"
        return f"{points}{views}, {places}{scaled}, {self.up} up, features {', '.join(self.features)}"


def transform_from_json(values: Mapping[str, Any]) -> ImageTransform | CloudTransform:
    """Read the fields of a transform after a way through JSON.

    Raises:
        TypeError: if a field is unknown.
        ValueError: if a value is not allowed.
    """
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    kind = CloudTransform if "center" in values else ImageTransform
    return kind(**{**values, **lists})
