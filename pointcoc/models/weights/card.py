"""The model card, README.md of a folder or a page of the hub."""

from dataclasses import asdict
from typing import Any

from pointcoc.models.config import NetworkConfig
from pointcoc.models.weights.info import WeightsInfo, find_transform, preset_name
from pointcoc.version import __version__

PAPER = "https://arxiv.org/abs/2303.01494"


def model_card(config: Any, info: WeightsInfo, num_parameters: int) -> str:
    """Write the model card.

    Args:
        config: settings of the model.
        info: about its weights.
        num_parameters: of the model.

    Returns:
        Markdown with a front matter in YAML.
    """
    name = preset_name(config) or "Context Clusters"
    matter = {"library_name": "pointcoc", "license": info.license, "pipeline_tag": _pipeline(config)}
    front = "\n".join(f"{key}: {value}" for key, value in matter.items() if value)
    rows = "\n".join(f"| {what} | {value} |" for what, value in _facts(config, info, num_parameters).items())
    return f"""---
{front}
tags:
- context-clusters
---

# {name}

A model of the Python library pointcoc: *Image as Set of Points* (ICLR 2023, {PAPER}).

| | |
| --- | --- |
{rows}

```python
import pointcoc

model = pointcoc.load("this folder, or the name on the hub")
```
"""


def _pipeline(config: Any) -> str | None:
    if not isinstance(config, NetworkConfig) or not config.on_lattice:
        return None  # the hub has no task for clouds
    return "image-classification" if config.num_classes else "image-feature-extraction"


def _facts(config: Any, info: WeightsInfo, num_parameters: int) -> dict[str, str]:
    return {
        "kind": config.kind,
        **(_network_facts(config) if isinstance(config, NetworkConfig) else _numbers(config)),
        "parameters": f"{num_parameters:,}",
        "transform": str(info.transform or find_transform(config, info) or "not stated"),
        "license": info.license or "not stated",
        "source": info.source or "not stated",
        "written by": f"pointcoc {__version__}",
    }


def _network_facts(config: NetworkConfig) -> dict[str, str]:
    channels = config.in_channels
    return {
        "preset": preset_name(config) or "none (see config.json)",
        "normalizer": config.normalizer,
        "input": f"images of {channels} channels" if config.on_lattice else f"clouds of {channels} features a point",
        "classes": str(config.num_classes or "none: features"),
    }


def _numbers(config: Any) -> dict[str, str]:
    """Settings of one value each, in words; the others stand in config.json."""
    return {
        name.replace("_", " "): str(value) for name, value in asdict(config).items() if isinstance(value, (str, int))
    }
