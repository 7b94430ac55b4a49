"""From a cloud as its file has it to the input of a network: the one function that applies a `CloudTransform`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from pointcoc.checks import InputWarning
from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_columns import Reading
from pointcoc.data.cloud_files import read_cloud
from pointcoc.data.unit_ball import to_unit_ball
from pointcoc.models.weights import FEATURES, CloudTransform, WeightsInfo
from pointcoc.pointset import PointSet

COLOR_CENTER = 0.5


class PrepareCloud:
    """Choose points of a cloud, center and scale it, and stack the features that a network reads.

    Everything that meets a network goes through it: training, validation, test, `pointcoc.predict`, `explore`,
    `visualize` and `robustness`. Of more points than `transform.num_points`, so many are drawn at random: the same ones
    each time for a cloud of this size, others each time with `resample`.

    Args:
        transform: what to do.
        resample: draw other points at every call, from torch's generator.
        drop_points: augmentation: a random share of the points, up to this, is left out after they are chosen.
        augment: maps the centered and scaled cloud to another one, before its features are stacked.
    """

    def __init__(
        self,
        transform: CloudTransform,
        *,
        resample: bool = False,
        drop_points: float = 0.0,
        augment: Callable[[Data], Data] | None = None,
    ) -> None:
        self.transform = transform
        self.resample = resample
        self.drop_points = drop_points
        self.augment = augment

    def __call__(self, cloud: Data | Cloud) -> Data:
        """Prepare a cloud.

        Args:
            cloud: `pos` (N, 3) as stored; each feature of the transform that is not computed from positions, under its
                name (see `Cloud`).

        Returns:
            The chosen points: `pos` (P, 3) float32 and, unless the positions are the only features, `x` (P, C) float32;
            other attributes with a row a point keep the rows of the chosen points, all others stay.

        Raises:
            ValueError: if the cloud lacks a feature.
        """
        data = cloud.to_data() if isinstance(cloud, Cloud) else cloud
        check_features(data, self.transform.features)
        rows = self.choose(len(data.pos))
        data = data if rows is None else take_rows(data, rows)
        data = replace_pos(data, place(data.pos, self.transform))
        if self.augment is not None:
            data = self.augment(data)
        return stack_features(data, self.transform.features)

    def choose(self, count: int) -> Tensor | None:
        """Return the rows to take of a cloud of `count` points, int64; None for all of them."""
        num, rows = self.transform.num_points, None
        if num is not None and count > num:
            rows = torch.randperm(count)[:num] if self.resample else fixed_choice(count, num)
        if self.drop_points:
            rest = count if rows is None else len(rows)
            kept = torch.randperm(rest)[: max(1, round(rest * (1 - self.drop_points * torch.rand(()).item())))]
            rows = kept if rows is None else rows[kept]
        return rows


def transform_of(model: Any, assumed: CloudTransform | None = None) -> CloudTransform:
    """Return how clouds become the input of a model: what is noted with its weights.

    Where nothing is noted, warns and returns `assumed`.

    Args:
        model: a network for clouds, or a model around one (its `net`).
        assumed: the rule for weights without a note; if it is not given: all points, the middle of the box at the
            origin, scaled to the unit ball, with colors if the network reads six features.

    Raises:
        ValueError: if nothing is noted and the network reads neither three features nor six.
    """
    noted = getattr(model, "weights_info", WeightsInfo()).transform
    if isinstance(noted, CloudTransform):
        return noted
    assumed = _assumed(model) if assumed is None else assumed
    warnings.warn(
        f"the weights do not say how clouds became their input; assumed: {assumed}. Set weights_info.transform to a "
        "CloudTransform and save the weights again",
        InputWarning,
        stacklevel=2,
    )
    return assumed


def _assumed(model: Any) -> CloudTransform:
    features = {3: ("position",), 6: ("position", "color")}
    config = getattr(model, "net", model).config
    if getattr(config, "on_lattice", False):
        raise ValueError("the network takes images, not clouds; give weights for clouds")
    num = config.in_channels
    if num not in features:
        raise ValueError(
            f"the weights do not say which {num} features of a point the network reads; set weights_info.transform to "
            "a CloudTransform"
        )
    return CloudTransform(center="box", scale="unit_ball", features=features[num])


def read_for_network(
    path: str | Path, transform: CloudTransform, columns: Sequence[str] | None = None, decimal: str = "."
) -> Cloud:
    """Read a cloud file for a network: of a mesh, as many points are sampled as it needs, 2,048 at least.

    Args:
        path: see `read_cloud`.
        transform: that of the network.
        columns: see `read_cloud`.
        decimal: see `read_cloud`.
    """
    num_points = max(Reading().num_points, transform.num_points or 0)
    return read_cloud(path, columns=columns, decimal=decimal, num_points=num_points)


def say_remarks(cloud: Cloud) -> None:
    """Warn of everything that the reader of a cloud left out, dropped or repaired."""
    for remark in cloud.remarks:
        warnings.warn(f"{cloud.path or 'the cloud'}: {remark}", InputWarning, stacklevel=2)


def network_input(cloud: Cloud, model: Any, transform: CloudTransform) -> PointSet:
    """Make the input of a model of one cloud, on the device and in the dtype of the model.

    Warns where the number of points is not that of the training and matters.

    Args:
        cloud: from `read_cloud`.
        model: a network for clouds, or a model around one.
        transform: see `transform_of`.

    Raises:
        ValueError: if the model reads images, or a feature that the cloud has not.
    """
    where = str(cloud.path or "the cloud")
    if getattr(getattr(model, "net", model).config, "on_lattice", False):
        raise ValueError(f"{where} is a cloud, but the network takes images; give weights for clouds")
    wanted = transform.num_points
    if wanted is not None and len(cloud) < wanted and not transform.any_num_points:
        warnings.warn(
            f"{where} has {len(cloud):,} points, and the network was trained on {wanted:,} a cloud: expect it to be "
            "less sure",
            InputWarning,
            stacklevel=2,
        )
    check_features(cloud.to_data(), transform.features, where)
    return point_set(PrepareCloud(transform)(cloud), model)


def point_set(data: Data, model: Any) -> PointSet:
    """Return one prepared cloud as the set that a model reads, on its device and in its dtype.

    Args:
        data: `pos` (N, 3) and, unless the positions are the features, `x` (N, C).
        model: a network for clouds, or a model around one.
    """
    like = next(model.parameters())
    pos = data.pos.to(like.device)
    x = pos.to(like) if data.x is None else data.x.to(like)
    return PointSet(x, pos, torch.tensor([0, len(pos)], device=like.device))


def fixed_choice(count: int, num: int) -> Tensor:
    """Draw `num` of `count` rows at random, the same ones each time, rising, int64."""
    return torch.from_numpy(np.sort(np.random.default_rng(0).choice(count, num, replace=False)))


def place(pos: Tensor, transform: CloudTransform) -> Tensor:
    """Center and scale a cloud as a transform says.

    Args:
        pos: coordinates, shape (N, D), float64 or float32.
        transform: `center` and `scale` are read.

    Returns:
        Shape (N, D), float32; computed in float64, so that an offset of millions of units costs no digits.
    """
    exact = pos.double()
    if transform.scale == "unit_ball":
        return to_unit_ball(exact, transform.center).float()
    if transform.center == "mean":
        exact = exact - exact.mean(0)
    elif transform.center == "box":
        exact = exact - (exact.amin(0) + exact.amax(0)) / 2
    return exact.float()


def check_features(data: Data, names: Sequence[str], where: str = "the cloud") -> None:
    """Raise ValueError unless a cloud holds each feature that is not its position."""
    for name in names:
        values = data.pos if name == "position" else getattr(data, name, None)
        if values is None:
            held = [one for one in FEATURES if one != "position" and getattr(data, one, None) is not None]
            raise ValueError(
                f"{where} has no {name.replace('_', ' ')}, which the network reads (features: {', '.join(names)}); "
                f"it has {', '.join(['positions', *held])}"
            )
        if values.shape != (len(data.pos), FEATURES[name]):
            raise ValueError(
                f"{name} must have shape ({len(data.pos)}, {FEATURES[name]}), one row a point, got "
                f"{tuple(values.shape)}"
            )


def stack_features(data: Data, names: Sequence[str]) -> Data:
    """Put the features that a network reads side by side as `x`, float32; positions alone need no `x`.

    Args:
        data: a centered and scaled cloud.
        names: keys of `FEATURES`; colors in [0, 1] come out in [-0.5, 0.5].
    """
    others = {name: value for name, value in data.to_dict().items() if name not in FEATURES and name != "x"}
    if tuple(names) == ("position",):
        return Data(**others)
    columns = [data.pos if name == "position" else getattr(data, name) for name in names]
    shifted = [one - COLOR_CENTER if name == "color" else one for name, one in zip(names, columns, strict=True)]
    return Data(x=torch.cat([one.float() for one in shifted], dim=1), **others)


def take_rows(data: Data, rows: Tensor) -> Data:
    """Keep rows of what belongs to points: positions, features, and `y` where it has a class for each."""
    of_points = {*FEATURES, "pos", "x", "y"}
    count = len(data.pos)
    return Data(
        **{
            name: value[rows] if name in of_points and len(value) == count else value
            for name, value in data.to_dict().items()
        }
    )


def replace_pos(data: Data, pos: Tensor) -> Data:
    """Return the cloud with other positions."""
    return Data(**{**data.to_dict(), "pos": pos})
