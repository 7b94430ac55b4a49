"""From a PIL image to the input of a network: the one function that applies an `ImageTransform`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from pointcoc.checks import import_extra
from pointcoc.models.weights import ImageTransform, WeightsInfo, find_transform

NOT_STATED = (
    "the weights do not state how images became their input; set weights_info = WeightsInfo(transform="
    "ImageTransform(...)) and save them again with save_pretrained"
)


def image_transform(
    source: nn.Module | WeightsInfo | ImageTransform, in_channels: int | None = None
) -> Callable[[Any], Tensor]:
    """Make the transform with which weights are measured: resize, central crop, mean and standard deviation.

    Args:
        source: a network with its weights, what is known of weights, or the transform itself.
        in_channels: channels that the network reads, 3 or, for gray images, 1; those of the network by default, 3
            elsewhere.

    Returns:
        Maps a PIL image (RGB, see `pointcoc.data.open_image`) to a tensor (in_channels, height, width), float32.

    Raises:
        ValueError: if the weights do not state a transform and are not those of an official preset, or the network
            reads another number of channels than 1 or 3.
        ImportError: if timm or torchvision is not installed.
    """
    if isinstance(source, nn.Module):
        config: Any = source.config
        in_channels = config.in_channels if in_channels is None else in_channels
    channels = 3 if in_channels is None else in_channels
    if channels not in (1, 3):
        raise ValueError(f"images have 3 channels or, in gray, 1; the network takes {channels}")
    return timm_transform(stated_transform(source), channels)


def stated_transform(source: nn.Module | WeightsInfo | ImageTransform) -> ImageTransform:
    """Return the transform that is stated for images, or that of the official presets.

    Args:
        source: see `image_transform`.

    Raises:
        ValueError: if none is stated.
    """
    if isinstance(source, ImageTransform):
        return source
    is_network = isinstance(source, nn.Module)
    info: Any = getattr(source, "weights_info", WeightsInfo()) if is_network else source
    found = find_transform(getattr(source, "config", None) if is_network else None, info)
    if found is None:
        raise ValueError(NOT_STATED)
    return found


def timm_transform(transform: ImageTransform, channels: int, *, normalized: bool = True) -> Callable[[Any], Tensor]:
    """Return timm's transform of a measure.

    Args:
        transform: what to do.
        channels: 1 or 3.
        normalized: whether mean and standard deviation are applied; without it values are in [0, 1].
    """
    mean, std = (per_channel(value, channels) for value in (transform.mean, transform.std))
    sized = import_extra("timm.data").create_transform(
        (channels, *transform.input_size),
        interpolation=transform.interpolation,
        crop_pct=transform.crop_pct,
        mean=mean if normalized else (0.0,) * channels,
        std=std if normalized else (1.0,) * channels,
    )
    transforms = import_extra("torchvision.transforms")
    return transforms.Compose([transforms.Grayscale(1), sized]) if channels == 1 else sized


def per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Return one value for each channel: as they are, one for all, or for gray images the mean of three."""
    if len(values) == channels:
        return tuple(values)
    return (sum(values) / len(values),) if channels == 1 else tuple(values) * channels
