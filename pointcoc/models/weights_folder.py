"""The folder of a network: reading its files, here or on the hub, and making the network again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from huggingface_hub import hf_hub_download
from torch import Tensor

from pointcoc.models.card import WeightsInfo, config_from_json
from pointcoc.models.checkpoint_file import differences, first_line, fit_shape
from pointcoc.models.config import NetworkConfig
from pointcoc.models.official_weights import expected_shapes
from pointcoc.models.weights_policy import fixed_fields

if TYPE_CHECKING:
    from pointcoc.models.network import ContextClusterNet

N = TypeVar("N", bound="ContextClusterNet")
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
WHY_FIXED = {
    "num_classes": "load without it, then call reset_classifier({value})",
    "in_channels": "from_preset(..., pretrained=True, in_channels={value}) adapts those of an image preset",
    "layer_scale": "it is only where training starts; the file holds the trained scales",
}


def read_config(path: Path) -> tuple[NetworkConfig, WeightsInfo]:
    """Read a config.json; raises ValueError if it is no JSON, not ours, or has unknown or wrong values."""
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is truncated or not JSON: {first_line(error)}") from error
    return config_from_json(content, str(path))


def override(saved: NetworkConfig, overrides: Mapping[str, Any]) -> NetworkConfig:
    """Change settings of a configuration whose weights exist, as `pointcoc.models.weights_policy` allows.

    Args:
        saved: configuration of the weights.
        overrides: fields of `NetworkConfig`.

    Raises:
        ValueError: if a field is unknown or a value needs other parameters.
    """
    config = saved.replace(**overrides)
    for name, value in overrides.items():
        if name in fixed_fields(saved) and getattr(config, name) != getattr(saved, name):
            why = WHY_FIXED.get(name, "make a new network with from_preset or ContextClusterNet(config)")
            raise ValueError(
                f"{name}={value!r} does not fit the parameters of the file, where {name} is {getattr(saved, name)!r}: "
                + why.format(value=value)
            )
    return config


def build(network_class: type[N], config: NetworkConfig, state: Mapping[str, Tensor], info: WeightsInfo) -> N:
    """Make a network of tensors: in their dtype, in evaluation mode, without initial values in between.

    Args:
        network_class: class of the network.
        config: its settings.
        state: all its tensors; they are copied.
        info: about the weights.

    Raises:
        ValueError: if the tensors do not fit the configuration.
    """
    check_state(state, config, "the weights")
    shapes = expected_shapes(config)
    with torch.device("meta"):
        net = network_class(config)
    copies = {name: fit_shape(name, state[name], shape).clone() for name, shape in shapes.items()}
    net.load_state_dict(copies, assign=True)
    net.weights_info = info
    return net.eval()


def check_state(state: Mapping[str, Tensor], config: NetworkConfig, what: str) -> None:
    """Raise ValueError if tensors under our names do not fit a configuration; `what` names them."""
    wrong = differences(state, expected_shapes(config))
    if wrong:
        raise ValueError(f"{what} and {CONFIG} do not belong together; {wrong}")


def find_file(name: str, file: str, download: Mapping[str, Any]) -> Path:
    """Return a file of a folder or of the hub."""
    if Path(name).is_dir():
        path = Path(name) / file
        if not path.is_file():
            raise FileNotFoundError(
                f"folder {name} has no {file}; give a folder that save_pretrained or `pointcoc convert` wrote"
            )
        return path
    try:
        return Path(hf_hub_download(name, file, **download))
    except Exception as error:  # of the hub, of its HTTP client, of the system: other classes in each version
        raise FileNotFoundError(
            f"{name} is neither a folder nor could {file} be fetched from the hub ({first_line(error)}): check the "
            "name and the network, or give a folder that save_pretrained wrote"
        ) from error
