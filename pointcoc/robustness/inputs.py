"""The data that a network is measured on: a folder, or what ships with the package where the network fits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pointcoc.checks import check_folder, import_extra
from pointcoc.data import DigitImages, HDF5Clouds, digits, shapes
from pointcoc.data.digits import DIGITS_MEAN, DIGITS_STD
from pointcoc.data.formats import CLOUD_FORMATS, IMAGE_FORMATS, Format, format_of
from pointcoc.data.image_transform import image_transform, per_channel, stated_transform, timm_transform
from pointcoc.data.prepare import transform_of
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.weights import CloudTransform, ImageTransform, find_transform
from pointcoc.robustness.views import CloudViews, ImageViews
from pointcoc.train.class_numbers import in_numbers_of

NUM_POINTS = 1024
BATCH_SIZES = {"clouds": 32, "images": 128}


def open_views(
    net: ContextClusterNet,
    data: str | Path | None = None,
    num_points: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    workers: int = 0,
) -> CloudViews | ImageViews:
    """Open the test data of a network.

    Args:
        net: a network for images or clouds, with classes.
        data: folder of images (see `image_folder`) or of clouds (see `HDF5Clouds`, `ScanObjectNN`); None for the digits
            or the solids that ship with the package.
        num_points: points of each cloud, the first of those stored; None for as many as the network was trained on,
            1,024 where the weights do not say it. Not for images.
        limit: items to take, drawn at random; None takes all.
        seed: of the corruptions and of what `limit` draws.
        batch_size: items of a batch; None for 32 clouds or 128 images.
        workers: processes that read and corrupt.

    Raises:
        ValueError: if network and data do not fit, or the data is damaged.
        FileNotFoundError: if files are missing.
    """
    if not net.config.num_classes:
        raise ValueError("the network has no classifier (num_classes is 0), so there is no error to measure")
    if net.config.on_lattice:
        if num_points is not None:
            raise ValueError(f"num_points is for clouds, and the network takes images; got {num_points}")
        images, normalize = _folder_images(net, data) if data is not None else _digits(net)
        images = in_numbers_of(net, images, str(data or "the data"))
        return ImageViews(images, normalize, limit, seed, batch_size or BATCH_SIZES["images"], workers)
    transform = transform_of(net, CloudTransform(up="y"))
    num_points = num_points or transform.num_points or NUM_POINTS
    clouds = _folder_clouds(net, data, num_points) if data is not None else _solids(net, num_points)
    clouds = in_numbers_of(net, clouds, str(data or "the data"))
    transform = replace(transform, num_points=num_points)
    return CloudViews(clouds, limit, seed, batch_size or BATCH_SIZES["clouds"], workers, transform)


def _folder_clouds(net: ContextClusterNet, data: str | Path, num_points: int) -> HDF5Clouds:
    folder = check_folder("--data", data)
    if net.config.in_channels != 3:
        raise ValueError(f"clouds have 3 features a point, x, y and z; the network takes {net.config.in_channels}")
    if _holds(folder, IMAGE_FORMATS) and not _holds(folder, CLOUD_FORMATS):
        raise ValueError(f"the network takes clouds, but {folder} is a folder of images")
    chosen = format_of(folder, CLOUD_FORMATS)
    return chosen.open(folder, chosen.splits[-1], num_points=num_points)


def _folder_images(net: ContextClusterNet, data: str | Path) -> tuple[Any, Callable[[Tensor], Tensor]]:
    folder = check_folder("--data", data)
    if _holds(folder, CLOUD_FORMATS):
        raise ValueError(f"the network takes images, but {folder} is a folder of clouds")
    image_transform(net)  # raises where it cannot be made
    transform, channels = stated_transform(net), net.config.in_channels
    chosen = format_of(folder, IMAGE_FORMATS)
    images = chosen.open(folder, chosen.splits[-1], transform=timm_transform(transform, channels, normalized=False))
    return images, _normalize(per_channel(transform.mean, channels), per_channel(transform.std, channels))


def _digits(net: ContextClusterNet) -> tuple[DigitImages, Callable[[Tensor], Tensor]]:
    if net.config.in_channels != 1 or net.config.num_classes != 10:
        raise ValueError(
            f"give --data: without it images are digits (1 channel, 10 classes), and the network takes "
            f"{net.config.in_channels} channels and tells {net.config.num_classes} classes apart"
        )
    transform = find_transform(net.config, net.weights_info) or ImageTransform(
        mean=(DIGITS_MEAN,), std=(DIGITS_STD,), input_size=(32, 32)
    )
    source = digits("test", size=transform.input_size[0])
    assert isinstance(source, DigitImages)
    brightness = (source.images * DIGITS_STD + DIGITS_MEAN).clamp(0, 1)
    return DigitImages(brightness, source.labels), _normalize(transform.mean, transform.std)


def _solids(net: ContextClusterNet, num_points: int) -> HDF5Clouds:
    if net.config.in_channels != 3 or net.config.num_classes != 10:
        raise ValueError(
            f"give --data: without it clouds are solids (3 features, 10 classes), and the network takes "
            f"{net.config.in_channels} features and tells {net.config.num_classes} classes apart"
        )
    return shapes("test", num_points=num_points)


def _normalize(mean: tuple[float, ...], std: tuple[float, ...]) -> Callable[[Tensor], Tensor]:
    return import_extra("torchvision.transforms").Normalize(torch.tensor(mean), torch.tensor(std))


def _holds(folder: Path, formats: Mapping[str, Format]) -> bool:
    return any(one.fits(folder) for one in formats.values())
