"""What networks for clouds take as input, read as one `PointSet`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode as get_mode

from pointcoc.checks import InputWarning, check_filled
from pointcoc.pointset import PointSet, check_features, cloud_to_points, concat

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FAR = 100.0  # times the extent, or times 1 for clouds smaller than that
LARGEST, SMALLEST = 1000.0, 1e-3  # extents, in units of the coordinates
_said: set[str] = set()  # warnings of this process

Clouds = Tensor | np.ndarray | PointSet | Sequence[Any] | Any


def read_clouds(input: Clouds, in_channels: int, pos_dim: int = 3) -> PointSet:
    """Read any input of a network for clouds and check its channels and dimensions.

    Args:
        input: clouds of one size (B, N, in_channels), one cloud (N, in_channels), as a tensor or an array of numbers;
            a PointSet; torch_geometric data; or a list or tuple of single ones of these.
        in_channels: features of a point, the coordinates first unless the input has coordinates of its own.
        pos_dim: axes of the coordinates.

    Returns:
        The points; coordinates in float64 stay in float64.

    Raises:
        ValueError: if a shape, a type or a value does not fit; the message is one sentence.
    """
    if isinstance(input, list | tuple):
        check_filled("clouds", input, "cloud")
        return concat([read_clouds(_one_cloud(one), in_channels, pos_dim) for one in input])
    points = _read_one(input, in_channels, pos_dim)
    if points.x.shape[1] != in_channels or points.pos.shape[1] != pos_dim:
        raise ValueError(
            f"points must have {in_channels} features (x) and {pos_dim} coordinates (pos), got "
            f"{points.x.shape[1]} and {points.pos.shape[1]}"
        )
    if _holds_values(points):
        _warn_of_scale(points)
    return points


def fit_points(points: PointSet, like: Tensor | None) -> PointSet:
    """Convert features to the dtype of a parameter, and move points from a CPU to its device.

    Args:
        points: what `read_clouds` returned; its coordinates keep their dtype, since they decide neighbors.
        like: a parameter of the network; None, as of a network without parameters, changes nothing.

    Raises:
        ValueError: if a feature is not finite; those on a GPU are not checked.
    """
    if _holds_values(points):
        check_features(points)
    if like is None or like.dtype not in DTYPES:
        return points
    # Never back to a CPU: parameters may wait there until their layer runs.
    if points.x.device.type == "cpu" and like.device.type not in ("cpu", "meta"):
        points = points.to(like.device)
    return points if points.x.dtype == like.dtype else points.with_x(points.x.to(like.dtype))


def _holds_values(points: PointSet) -> bool:
    """Whether values can be looked at without waiting for a device, outside of graphs."""
    return not torch.compiler.is_compiling() and get_mode() is None and points.x.device.type == "cpu"


def _one_cloud(one: Any) -> Any:
    """Refuse batches inside of lists, where nobody could tell which output belongs to which entry."""
    shape = getattr(one, "shape", None)
    if shape is not None and len(shape) != 2:
        raise ValueError(f"a sequence of clouds must hold clouds of shape (N, C), got one of shape {tuple(shape)}")
    return one


def _read_one(input: Any, in_channels: int, pos_dim: int) -> PointSet:
    if isinstance(input, np.ndarray):
        input = _tensor_of(input)
    if not isinstance(input, Tensor):
        return input if isinstance(input, PointSet) else PointSet.from_pyg(input)
    if input.ndim not in (2, 3) or input.shape[-1] != in_channels:
        raise ValueError(
            f"clouds must have shape (B, N, {in_channels}) or (N, {in_channels}), got {tuple(input.shape)}; this "
            "network reads clouds"
        )
    clouds = input if input.ndim == 3 else input[None]
    return cloud_to_points(clouds if clouds.is_floating_point() else _floating(clouds), pos_dim)


def _tensor_of(array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"clouds must be arrays of real numbers, got dtype {array.dtype}")
    # A copy: arrays may be read-only, reversed, in another byte order, or of a type that torch does not have.
    return torch.from_numpy(
        np.array(array, dtype=np.float32 if array.dtype in (np.float16, np.float32) else np.float64)
    )


def _floating(clouds: Tensor) -> Tensor:
    if clouds.is_complex() or clouds.dtype == torch.bool:
        raise ValueError(f"clouds must hold real numbers, got {clouds.dtype}")
    return clouds.double()


def _warn_of_scale(points: PointSet) -> None:
    """Warn once in a process where coordinates are features and lie far from the origin or have no usual scale."""
    are_features = points.x.data_ptr() == points.pos.data_ptr()  # the same tensor, or its first columns
    if "scale" in _said or points.sizes is not None or not are_features or points.num_points == 0:
        return
    low, high = torch.aminmax(points.pos, dim=0)
    center, extent = (low + high) / 2, float((high - low).max())
    far = float(center.abs().max()) > FAR * max(extent, 1.0)
    is_usual = not far and (extent == 0 or SMALLEST <= extent <= LARGEST)
    if is_usual or not math.isfinite(extent):  # values that are not finite are refused later
        return
    _said.add("scale")
    place = ", ".join(f"{value:.6g}" for value in center.tolist())
    warnings.warn(
        f"coordinates are the features of these clouds, and their numbers are out of proportion: center ({place}), "
        f"extent {extent:.3g}. A network learns and predicts better if each cloud is centered at the origin and of a "
        "size near 1, or in meters for scenes: subtract its center and divide by its radius before (docs/clouds.md). "
        "This is said once.",
        InputWarning,
        stacklevel=2,
    )
