"""The folder of a model, model.safetensors and config.json: writing it, reading it, and making the model again."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pointcoc.files import atomic, first_line
from pointcoc.models.config import NetworkConfig
from pointcoc.models.fields import replace_settings
from pointcoc.models.weights.checkpoint_file import fit_state, reading, shapes_of
from pointcoc.models.weights.config_file import config_to_json
from pointcoc.models.weights.info import WeightsInfo
from pointcoc.models.weights.policy import fixed_fields

M = TypeVar("M", bound=nn.Module)
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
SAFETENSORS = "a safetensors file with the weights"
NOT_TOGETHER = f"the weights and {CONFIG} do not belong together"
WHY_FIXED = {
    "num_classes": "load without it, then call reset_classifier({value})",
    "in_channels": "from_preset(..., pretrained=True, in_channels={value}) adapts those of an image preset",
    "layer_scale": "it is only where training starts; the file holds the trained scales",
}


def save_model(folder: str | Path, model: nn.Module, info: WeightsInfo | None = None) -> None:
    """Write a model as model.safetensors and config.json, which `pointcoc.load` reads; the same model, the same bytes.

    Args:
        folder: made if it is not there; other files in it stay.
        model: its `config`, a dataclass, makes it again; a model without one can only be copied into one like it.
        info: about the weights; the model's `weights_info` if it is not given.
    """
    folder = Path(folder)
    stated = getattr(model, "weights_info", WeightsInfo()) if info is None else info
    content = config_to_json(getattr(model, "config", None), stated)
    save_tensors(folder / WEIGHTS, model)
    with atomic(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    shutil.copymode(folder / CONFIG, folder / WEIGHTS)  # safetensors hides files from others


def save_tensors(path: Path, model: nn.Module, metadata: Mapping[str, str] | None = None) -> None:
    """Write the state of a model as one safetensors file that is whole or absent."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    # Another name first: tensors of a file that is being read are that file, mapped into memory.
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt", **(metadata or {})})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is truncated or not safetensors.
    """
    with reading(path, SAFETENSORS):
        return load_file(path)


def read_content(path: Path) -> tuple[Any, Path]:
    """Return what is known about a file of weights, and the file that says so: itself in old layouts, or config.json.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if one of the two is damaged.
    """
    with reading(path, SAFETENSORS), safe_open(path, framework="pt") as file:
        header = {name: json.loads(one) for name, one in (file.metadata() or {}).items() if name != "format"}
    beside = path.with_name(CONFIG)
    if header or not beside.is_file():
        return header, path
    try:
        return json.loads(beside.read_text()), beside
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{beside} is truncated or not JSON: {first_line(error)}") from error


def override(saved: Any, overrides: Mapping[str, Any]) -> Any:
    """Change settings of a model whose weights exist.

    Args:
        saved: settings of the model that the weights belong to, such as a `NetworkConfig`.
        overrides: fields of it.

    Raises:
        ValueError: if a field is unknown or a value needs other parameters.
    """
    config = replace_settings(saved, dict(overrides))
    if not isinstance(saved, NetworkConfig):
        return config  # the tensors tell what does not fit
    for name, value in overrides.items():
        if name in fixed_fields(saved) and getattr(config, name) != getattr(saved, name):
            why = WHY_FIXED.get(name, "make a new network with from_preset or ContextClusterNet(config)")
            raise ValueError(
                f"{name}={value!r} does not fit the parameters of the file, where {name} is {getattr(saved, name)!r}: "
                + why.format(value=value)
            )
    return config


def build(model: M, state: Mapping[str, Tensor], info: WeightsInfo, sentence: str = NOT_TOGETHER) -> M:
    """Give a model its weights: in the dtype of the tensors, in evaluation mode.

    Args:
        model: its own tensors may be on the device "meta".
        state: all its tensors; they are copied.
        info: about the weights.
        sentence: how the error begins.

    Raises:
        ValueError: if the tensors are not those of the model.
    """
    fitted = fit_state(state, shapes_of(model), sentence)
    model.load_state_dict({name: value.clone() for name, value in fitted.items()}, assign=True)
    model.weights_info = info  # type: ignore[assignment]
    return model.eval()
