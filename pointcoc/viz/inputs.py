"""Read images and clouds from files, as people see them and as a network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pointcoc.checks import check_range
from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_files import CLOUD_READERS
from pointcoc.data.cloud_files import read_cloud as read_file
from pointcoc.data.image_files import ENDINGS as IMAGE_ENDINGS
from pointcoc.data.image_files import open_image
from pointcoc.data.prepare import (
    PrepareCloud,
    fixed_choice,
    network_input,
    place,
    read_for_network,
    say_remarks,
    transform_of,
)
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.weights import CloudTransform, ImageTransform, find_transform
from pointcoc.pointset import PointSet
from pointcoc.viz.trace import Trace, trace

IMAGE_SIZE, NUM_POINTS = 224, 2048
ENDINGS = ", ".join(CLOUD_READERS)


def is_cloud_file(path: str | Path) -> bool:
    """Whether a file's name ends like that of a cloud; all others are read as images."""
    return Path(path).suffix.lower() in CLOUD_READERS


def trace_file(
    path: str | Path,
    net: ContextClusterNet,
    size: int = IMAGE_SIZE,
    num_points: int | None = None,
    columns: Sequence[str] | None = None,
    decimal: str = ".",
) -> Trace:
    """Read a file, run a network on it and trace its clusters.

    Args:
        path: an image, or a cloud (see `pointcoc.data.read_cloud`), which is prepared as its network was trained (see
            `pointcoc.data.PrepareCloud`).
        net: a network for such inputs.
        size: longer side that an image gets, in pixels.
        num_points: most points of a cloud; of a larger one this many are drawn at random, the same each time. None for
            as many as are noted with the weights, 2,048 where none are.
        columns: names of the columns of a cloud in text or arrays, see `read_cloud`.
        decimal: decimal mark of a cloud in text.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file cannot be read, holds no points, or the network takes other inputs.
    """
    if is_cloud_file(path):
        if net.config.on_lattice:
            raise ValueError(f"{path} is a cloud, but the network takes images; give weights for clouds")
        transform = transform_of(net)
        cloud = read_for_network(path, transform, columns, decimal)
        say_remarks(cloud)
        return _trace_cloud(cloud, net, transform, num_points)
    if not net.config.reads_images:
        raise ValueError(f"{path} is an image, but the network takes clouds; give weights for images")
    try:
        picture = read_picture(path, size)
    except ValueError as error:
        if Path(path).suffix.lower() in IMAGE_ENDINGS:
            raise
        raise ValueError(f"{error}; clouds end with {ENDINGS}") from error
    return trace(net, image_input(picture, net), picture)[0]


def _trace_cloud(cloud: Cloud, net: ContextClusterNet, transform: CloudTransform, num_points: int | None) -> Trace:
    if num_points is not None:
        check_range("num_points", num_points, 1)
    transform = replace(transform, num_points=num_points or transform.num_points or NUM_POINTS)
    points = network_input(cloud, net, transform)
    rows = PrepareCloud(transform).choose(len(cloud))
    color = cloud.features.get("color")
    picture = color if color is None or rows is None else color[rows]
    return trace(net, points, None if picture is None else picture.double())[0]


def read_picture(path: str | Path, size: int = IMAGE_SIZE) -> Tensor:
    """Read an image as red, green, blue in [0, 1], shape (H, W, 3), its longer side resized to `size` pixels.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, or `size` is below 1.
    """
    check_range("size", size, 1)
    image = open_image(path)
    scale = size / max(image.size)
    image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(image, dtype=np.float64) / 255)


def read_cloud(path: str | Path, num_points: int = NUM_POINTS) -> Tensor:
    """Read the coordinates of a cloud, shape (N, 3), its box moved to the middle and its farthest point to distance 1.

    For the input of a trained network, `pointcoc.data.PrepareCloud` does what is noted with its weights. See
    `pointcoc.data.read_cloud` for what the files hold; features are left out.

    Args:
        path: the file.
        num_points: most points; of more this many are drawn at random, the same each time.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds no points, or points without three finite coordinates.
    """
    check_range("num_points", num_points, 1)
    pos = read_file(path).pos
    pos = pos if len(pos) <= num_points else pos[fixed_choice(len(pos), num_points)]
    return place(pos, CloudTransform(center="box", scale="unit_ball"))


def image_input(picture: Tensor, net: ContextClusterNet) -> Tensor:
    """Normalize a picture (H, W, 3) as the network was trained, shape (1, C, H, W).

    Networks of one channel get the mean of red, green and blue. Where a network does not say how images were
    normalized, the ImageNet values are taken.

    Raises:
        ValueError: if the network takes neither one nor three channels.
    """
    channels = net.config.in_channels
    if channels not in (1, 3):
        raise ValueError(f"pictures have 3 channels or, in gray, 1; the network takes {channels}")
    transform = find_transform(net.config, net.weights_info) or ImageTransform()
    image = picture.permute(2, 0, 1)[None]
    mean, std = (torch.tensor(value, dtype=image.dtype).view(1, -1, 1, 1) for value in (transform.mean, transform.std))
    if channels == 1:
        image, mean, std = image.mean(1, keepdim=True), mean.mean(1, keepdim=True), std.mean(1, keepdim=True)
    return ((image - mean) / std).to(next(net.parameters()))


def cloud_input(pos: Tensor, net: ContextClusterNet, name: str = "the input") -> PointSet:
    """Make the input of a network for clouds from coordinates (N, 3).

    Raises:
        ValueError: if the network takes images, or features besides the coordinates.
    """
    if net.config.on_lattice:
        raise ValueError(f"{name} is a cloud, but the network takes images; give weights for clouds")
    if net.config.input_dim != 3:
        raise ValueError(f"{name} has coordinates alone, but the network takes {net.config.input_dim} features a point")
    like = next(net.parameters())
    return PointSet(pos.to(like), pos.to(like.device), torch.tensor([0, len(pos)], device=like.device))
