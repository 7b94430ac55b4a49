"""Reading the authors' checkpoints: names, shapes and the order of the input channels."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pointcoc.models.config import NetworkConfig
from pointcoc.models.presets import PRESETS
from pointcoc.models.presets import preset as find_preset

WRAPPERS = ("state_dict", "state_dict_ema", "model")
PREFIXES = ("module.", "backbone.")
RENAMES = (
    (r"^patch_embed\.proj\.", "reducers.0."),
    (r"\.layer_scale_([12])$", r".scale\1"),
    (r"\.token_mixer\.sim_(alpha|beta)$", r".cluster.\1"),
    (r"\.token_mixer\.fc1\.", ".cluster.f."),
    (r"\.token_mixer\.fc_v\.", ".cluster.v."),
    (r"\.token_mixer\.fc2\.", ".cluster.proj."),
    (r"\.token_mixer\.", ".cluster."),
)
MOST_SHOWN = 6
UNREADABLE = (  # what the readers raise on truncated files
    safetensors.SafetensorError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    LookupError,
    RuntimeError,
    OSError,
)


def read_official(
    checkpoint: str | Path | Mapping[str, Any],
    preset: str | None,
    config: NetworkConfig | None,
    normalizer: str,
) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Return the configuration and our state dict for an official checkpoint; see `ContextClusterNet.from_official`."""
    if preset is not None and config is not None:
        raise ValueError("give preset or config, not both")
    state = rename_official(unwrap(_load(checkpoint)))
    if config is None:
        config = _find_config(state, preset, normalizer)
    expected = expected_shapes(config)
    _check_names(state, expected, preset)
    return config, {name: _fit(name, state[name], shape) for name, shape in expected.items()}


def unwrap(loaded: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the bare state dict of a training checkpoint, without prefixes of wrappers.

    Raises:
        ValueError: if there are no tensors.
    """
    for wrapper in WRAPPERS:
        if isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
            break
    state = {_strip(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not state:
        raise ValueError(f"checkpoint holds no tensors, only {sorted(map(str, loaded))[:MOST_SHOWN]}")
    return state


def rename_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give official tensors our names, and the first reducer our order of input channels."""
    renamed = {_rename(name): value for name, value in state.items()}
    first = renamed.get("reducers.0.weight")
    if first is not None and first.ndim == 4 and first.shape[1] > 2:
        # The authors append (row, column); we append (x, y).
        renamed["reducers.0.weight"] = torch.cat([first[:, :-2], first[:, -1:], first[:, -2:-1]], dim=1)
    return renamed


def expected_shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the state of a network without making its tensors."""
    from pointcoc.models.network import ContextClusterNet

    with torch.device("meta"):
        net = ContextClusterNet(config)
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


def _load(checkpoint: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(checkpoint, Mapping):
        return checkpoint
    path = Path(checkpoint)
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} is not a file")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"checkpoint {path} is not readable as plain tensors, and loading more could run code from the file; "
            f"save its state dict alone with a torch you trust it to. torch says: {_reason(error)}"
        ) from error
    except UNREADABLE as error:
        raise ValueError(f"checkpoint {path} is truncated or not a checkpoint: {_reason(error)}") from error
    if not isinstance(loaded, Mapping):
        raise ValueError(f"checkpoint {path} must hold a dictionary of tensors, got {type(loaded).__name__}")
    return loaded


def _reason(error: Exception) -> str:
    """First line of an error, its type where it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


def _strip(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _rename(name: str) -> str:
    stage = re.match(r"^network\.(\d+)\.", name)
    if stage:
        number = int(stage[1])  # 0, 2, 4, 6 are stages; 1, 3, 5 the reducers between them
        rest = name[stage.end() :]
        name = f"stages.{number // 2}.{rest}" if number % 2 == 0 else f"reducers.{number // 2 + 1}.{rest[5:]}"
    norm = re.match(r"^norm([0246])\.", name)
    if norm:
        return f"stage_norms.{int(norm[1]) // 2}.{name[norm.end() :]}"
    for pattern, new in RENAMES:
        name = re.sub(pattern, new, name)
    return name


def _find_config(state: Mapping[str, Tensor], preset: str | None, normalizer: str) -> NetworkConfig:
    overrides: dict[str, Any] = {"normalizer": normalizer}
    if "stage_norms.0.weight" in state:
        overrides.update(dense=True, num_classes=0)
    elif "head.weight" in state:
        overrides.update(num_classes=len(state["head.weight"]))
    if preset is not None:
        return find_preset(preset, **overrides)
    fitting = [name for name in PRESETS if _fits(state, find_preset(name, **overrides))]
    if len(fitting) != 1:
        found = f"fits {', '.join(fitting)} alike" if fitting else f"fits no preset; closest is {best_preset(state)}"
        raise ValueError(f"the shapes of the checkpoint {found}: give preset= or config=")
    return find_preset(fitting[0], **overrides)


def best_preset(state: Mapping[str, Tensor]) -> str:
    """Return the preset with the most names and sizes in common with a state dict in our names."""
    return max(PRESETS, key=lambda name: _agreement(state, expected_shapes(PRESETS[name])))


def _agreement(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> float:
    same = sum(name in state and _fitting_shape(state[name], shape) for name, shape in expected.items())
    return same / len(state.keys() | expected.keys())


def _fits(state: Mapping[str, Tensor], config: NetworkConfig) -> bool:
    expected = expected_shapes(config)
    return state.keys() == expected.keys() and all(_fitting_shape(state[n], shape) for n, shape in expected.items())


def _fitting_shape(value: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether a tensor has the shape, apart from the trailing ones of a 1x1 convolution."""
    extra = tuple(value.shape[len(shape) :])
    return tuple(value.shape[: len(shape)]) == shape and all(size == 1 for size in extra)


def _fit(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    if not _fitting_shape(value, shape):
        raise ValueError(f"checkpoint tensor {name} must have shape {shape}, got {tuple(value.shape)}")
    return value.reshape(shape)


def _check_names(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], preset: str | None) -> None:
    missing, left = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    wrong = [
        f"{name} {tuple(state[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in state and not _fitting_shape(state[name], shape)
    ]
    if missing or left or wrong:
        parts = [_show("missing", missing), _show("left over", left), _show("of another shape", wrong)]
        raise ValueError(
            f"checkpoint does not fit {preset or 'the config'} (best fit: {best_preset(state)}); "
            + "; ".join(part for part in parts if part)
        )


def _show(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:MOST_SHOWN])}{more}"
