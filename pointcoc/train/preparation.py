"""Settings of recipes on clouds: how clouds become the input of the network, and what of it weights already say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pointcoc.checks import check_range
from pointcoc.data.cloud import STORED
from pointcoc.models.weights import CloudTransform, find_weights, read_info


@dataclass(frozen=True, kw_only=True)
class PreparationSettings:
    """Settings of a recipe that say how clouds become the input of its network.

    Raises:
        ValueError: if a value is not allowed.
    """

    num_points: int = 1024
    """Most points of a cloud; of more in a file, this many are drawn. The first of each cloud in HDF5 files."""
    features: tuple[str, ...] = ()
    """What the network reads of each point besides its position: color, normal, intensity, return_number."""
    center: Literal["none", "box", "mean"] = "mean"
    """What moves to the origin: the middle of the bounding box, the mean of the points, or nothing."""
    scale_to: Literal["none", "unit_ball"] = "unit_ball"
    """Scale each cloud so that its farthest point has distance 1, or keep the units of the files."""
    up: Literal["x", "y", "z"] = "y"
    """The up axis; y in ModelNet40, ScanObjectNN and ShapeNetPart, z in most scans."""

    def __post_init__(self) -> None:
        getattr(super(), "__post_init__", lambda: None)()
        check_range("num_points", self.num_points, 1)
        allowed = ("position", *STORED)
        if unknown := [name for name in self.features if name not in allowed]:
            raise ValueError(f"unknown features {', '.join(unknown)}; choose from {', '.join(allowed)}")
        self.transform()  # checks the rest

    def transform(self, any_num_points: bool = False) -> CloudTransform:
        """Return how clouds become the input of the network, as it is noted with the weights.

        Args:
            any_num_points: whether training clouds differ in size.
        """
        return CloudTransform(
            center=self.center,
            scale=self.scale_to,
            up=self.up,
            num_points=self.num_points,
            any_num_points=any_num_points,
            features=tuple(dict.fromkeys(("position", *self.features))),
        )


def noted_preparation(weights: str) -> dict[str, Any]:
    """Return the fields of `PreparationSettings` that weights were trained with; none where they do not say it.

    Args:
        weights: what `pointcoc.load` takes; whatever is wrong with it is left to the one who loads it.
    """
    try:
        transform = read_info(find_weights(weights))[1].transform
    except (OSError, ValueError, ImportError):
        return {}
    if not isinstance(transform, CloudTransform):
        return {}
    num_points = {} if transform.num_points is None else {"num_points": transform.num_points}
    return {
        "center": transform.center,
        "scale_to": transform.scale,
        "up": transform.up,
        "features": tuple(name for name in transform.features if name in STORED),
        **num_points,
    }
