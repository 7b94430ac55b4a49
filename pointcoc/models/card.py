"""What is written beside weights: config.json, which makes the network again, and a model card for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from huggingface_hub import ModelCardData

from pointcoc.models.config import NetworkConfig
from pointcoc.models.official_weights import DOWNLOADS
from pointcoc.models.presets import PRESETS
from pointcoc.models.weights_policy import fields_changing, read_settings
from pointcoc.version import __version__

PAPER = "https://arxiv.org/abs/2303.01494"
OFFICIAL_PRESETS = (
    "coc_tiny", "coc_tiny2", "coc_tiny_plain", "coc_small", "coc_medium", "coc_base_dim64", "coc_base_dim96",
)  # fmt: skip
# A network with other values in these fields is still the preset.
VARIABLE = (*fields_changing("head", "input", "training", "start", "nothing"), "normalizer")


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


@dataclass(frozen=True, kw_only=True)
class WeightsInfo:
    """What nothing in the weights tells; None where it is not stated.

    Args:
        license: under which the weights are given, as an SPDX name or that of the hub, such as "apache-2.0".
        source: where the weights come from, in words.
        transform: how images became the input in training; None stands for the ImageNet transform where the network
            is an official preset for images of three channels, and for not stated elsewhere.
    """

    license: str | None = None
    source: str | None = None
    transform: ImageTransform | None = None


STARTED = "started from, and changed since: "
OFFICIAL_WEIGHTS = WeightsInfo(
    license="apache-2.0", source=f"the authors' code and checkpoints, {DOWNLOADS}", transform=ImageTransform()
)


def changed(info: WeightsInfo) -> WeightsInfo:
    """Return what is known of weights after a part of them was replaced: they only started from their source."""
    if info.source is None or info.source.startswith(STARTED):
        return info
    return replace(info, source=STARTED + info.source)


def preset_name(config: NetworkConfig) -> str | None:
    """Return the preset a configuration belongs to, else None; its classes, channels and the like may differ."""
    for name, one in PRESETS.items():
        if one.replace(**{field: getattr(config, field) for field in VARIABLE}) == config:
            return name
    return None


def find_transform(config: NetworkConfig, info: WeightsInfo) -> ImageTransform | None:
    """Return the transform that is stated, or that of the official presets, None if neither is."""
    if info.transform is not None or preset_name(config) not in OFFICIAL_PRESETS or config.in_channels != 3:
        return info.transform
    return ImageTransform()


def config_to_json(config: NetworkConfig, info: WeightsInfo) -> dict[str, Any]:
    """Return the content of config.json: every field of the configuration, and what is known about the weights."""
    transform = find_transform(config, info)
    return {
        "library_name": "pointcoc",
        "pointcoc_version": __version__,
        "preset": preset_name(config),
        "license": info.license,
        "source": info.source,
        "transform": None if transform is None else dataclasses.asdict(transform),
        **dataclasses.asdict(config),
    }


def config_from_json(content: Any, where: str) -> tuple[NetworkConfig, WeightsInfo]:
    """Read what `config_to_json` returned, after a way through JSON.

    Args:
        content: the content of a config.json.
        where: its name, for errors.

    Raises:
        ValueError: if it was not written by pointcoc, has fields this version does not know, or values that are not
            allowed.
    """
    if not isinstance(content, Mapping) or "pointcoc_version" not in content:
        raise ValueError(f"{where} was not written by pointcoc: it has no pointcoc_version; save_pretrained writes it")
    values = {name: value for name, value in content.items() if name not in ("library_name", "preset")}
    version = values.pop("pointcoc_version")
    header = {name: values.pop(name, None) for name in ("license", "source", "transform")}
    unknown = [name for name in values if name not in {field.name for field in dataclasses.fields(NetworkConfig)}]
    if unknown:
        raise ValueError(
            f"{where} has settings that pointcoc {__version__} does not know: {', '.join(unknown)}; pointcoc {version} "
            "wrote it: install that version or a later one"
        )
    try:
        return read_settings(values, where), info_from_json(header)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{where} holds a value that is not allowed: {error}") from error


def info_from_json(content: Mapping[str, Any]) -> WeightsInfo:
    """Read the fields of a `WeightsInfo` after a way through JSON."""
    transform = content.get("transform")
    if transform is not None:
        transform = ImageTransform(**{name: _tuple(value) for name, value in transform.items()})
    return WeightsInfo(**{**content, "transform": transform})


def model_card(config: NetworkConfig, info: WeightsInfo, num_parameters: int, data: ModelCardData) -> str:
    """Write the model card.

    Args:
        config: of the network.
        info: about its weights.
        num_parameters: of the network.
        data: front matter to start from: library and tags.

    Returns:
        Markdown with a front matter in YAML, the README.md of a folder or a hub page.
    """
    name = preset_name(config) or "Context Clusters"
    data = ModelCardData(**{**data.to_dict(), "license": info.license, "pipeline_tag": _pipeline(config)})
    rows = "\n".join(f"| {what} | {value} |" for what, value in _facts(config, info, num_parameters).items())
    return f"""---
{data.to_yaml()}
---

# {name}

A `ContextClusterNet` of the Python library pointcoc: *Image as Set of Points* (ICLR 2023, {PAPER}).

| | |
| --- | --- |
{rows}

```python
from pointcoc import ContextClusterNet

net = ContextClusterNet.from_pretrained("this folder, or the name on the hub")
```
"""


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _pipeline(config: NetworkConfig) -> str | None:
    if not config.reads_images:
        return None  # the hub has no task for clouds
    return "image-classification" if config.num_classes else "image-feature-extraction"


def _facts(config: NetworkConfig, info: WeightsInfo, num_parameters: int) -> dict[str, str]:
    images, channels = config.on_lattice, config.in_channels
    return {
        "preset": preset_name(config) or "none (see config.json)",
        "normalizer": config.normalizer,
        "parameters": f"{num_parameters:,}",
        "input": f"images of {channels} channels" if images else f"clouds of {channels} features a point",
        "classes": str(config.num_classes or "none: features"),
        "transform": _describe(find_transform(config, info)),
        "license": info.license or "not stated",
        "source": info.source or "not stated",
        "written by": f"pointcoc {__version__}",
    }


def _describe(transform: ImageTransform | None) -> str:
    if transform is None:
        return "not stated"
    height, width = transform.input_size
    return (
        f"resize ({transform.interpolation}), center crop {height} x {width} of {transform.crop_pct:g} of the side, "
        f"mean {list(transform.mean)}, deviation {list(transform.std)}"
    )
