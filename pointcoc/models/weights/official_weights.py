"""Reading the authors' checkpoints: names, shapes and the order of the input channels."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pointcoc.models.config import NetworkConfig
from pointcoc.models.presets import PRESETS
from pointcoc.models.presets import preset as find_preset
from pointcoc.models.weights.checkpoint_file import (
    MOST_SHOWN,
    differences,
    fit_state,
    has_shape,
    load_checkpoint,
    rename,
    unwrap,
)

DOWNLOADS = "https://github.com/ma-xu/Context-Cluster"
DIALECTS = (  # what names of a state dict look like; the first that fits
    ("2023", r"^network\.\d+\.\d+\.token_mixer\.(fc1|fc_v|fc2)\."),
    ("2024", r"^(patch_embed\.proj\.|network\.\d+\.)"),
    ("pointcoc", r"^(reducers|stages)\.\d+\."),
)
Shapes = Callable[[NetworkConfig], Mapping[str, tuple[int, ...]]]  # names and shapes of the state of a network


def read_official(
    checkpoint: str | Path | Mapping[str, Any],
    preset: str | None,
    config: NetworkConfig | None,
    normalizer: str,
    shapes_of: Shapes,
) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Return the configuration and our state dict for an official checkpoint; see `ContextClusterNet.from_official`."""
    if preset is not None and config is not None:
        raise ValueError("give preset or config, not both")
    official = unwrap(load_checkpoint(checkpoint))
    check_dialect(official, normalizer if config is None else config.normalizer)
    state = rename_official(official)
    if config is None:
        preset = preset or _fitting_preset(state, shapes_of)
        config = find_preset(preset, normalizer=normalizer, **_known_fields(state))
    expected = shapes_of(config)
    best = _closest_preset(state, shapes_of) if differences(state, expected) else preset
    return config, fit_state(state, expected, f"checkpoint does not fit {preset or 'the config'} (best fit: {best})")


def find_dialect(state: Mapping[str, Any]) -> str | None:
    """Tell whose names a state dict has.

    Args:
        state: what `unwrap` returned.

    Returns:
        "2023" for the names of the submission (weights of the normalizer "count"); "2024" for today's official names,
        which began in March 2023 (weights of either normalizer); "pointcoc" for ours; None for any other.
    """
    fitting = (dialect for dialect, pattern in DIALECTS if any(re.match(pattern, name) for name in state))
    return next(fitting, None)


def rename_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give official tensors our names, and the first reducer our order of input channels."""
    renamed = {rename(name, RENAMES): value for name, value in state.items()}
    first = renamed.get("reducers.0.weight")
    if first is not None and first.ndim == 4 and first.shape[1] > 2:
        # The authors append (row, column); we append (x, y).
        renamed["reducers.0.weight"] = torch.cat([first[:, :-2], first[:, -1:], first[:, -2:-1]], dim=1)
    return renamed


def adapt_in_channels(weight: Tensor, in_channels: int, coordinate_dim: int = 2) -> Tensor:
    """Fit the weights of a first reducer to images of another number of channels; those of the coordinates stay.

    One channel gets the sum over the channels there were, so a gray image gives what it gives as r = g = b. More
    channels repeat them in turn, scaled as if their number had not changed. This is the rule of timm.

    Args:
        weight: channels of the image, then those of the coordinates, in our order, shape (out, channels +
            coordinate_dim, height, width).
        in_channels: channels of the new images.
        coordinate_dim: channels of the coordinates, 2 for x and y (see `NetworkConfig.coordinate_dim`).

    Returns:
        Weights of shape (out, in_channels + coordinate_dim, height, width) in the same dtype; `weight` itself if
        nothing changes.

    Raises:
        ValueError: if a size is not allowed.
    """
    if weight.ndim != 4 or weight.shape[1] <= coordinate_dim or in_channels < 1:
        raise ValueError(
            f"weight must have shape (out, channels + {coordinate_dim}, height, width) and in_channels must be at "
            f"least 1, got {tuple(weight.shape)} and {in_channels}"
        )
    channels = weight.shape[1] - coordinate_dim
    if channels == in_channels:
        return weight
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
    colors, coordinates = exact[:, :channels], exact[:, channels:]
    if in_channels == 1:
        colors = colors.sum(1, keepdim=True)
    else:
        repeated = colors.repeat(1, -(-in_channels // channels), 1, 1)
        colors = repeated[:, :in_channels] * (channels / in_channels)
    return torch.cat([colors, coordinates], dim=1).to(weight.dtype)


def check_dialect(state: Mapping[str, Tensor], normalizer: str) -> None:
    """Raise ValueError if names are not official ones, or those of 2023 without normalizer "count"."""
    dialect = find_dialect(state)
    if "embedding.net.0.weight" in state:
        raise ValueError(
            "checkpoint is one of the authors' network for point clouds: load it with PointMLPCoC.from_official"
        )
    if dialect is None:
        raise ValueError(
            "checkpoint speaks no official dialect: expected names such as patch_embed.proj.weight and "
            "network.0.0.token_mixer.f.weight (fc1.weight in 2023), got "
            f"{', '.join(list(state)[:MOST_SHOWN])}{', ...' if len(state) > MOST_SHOWN else ''}; only checkpoints of "
            f"{DOWNLOADS} can be read"
        )
    if dialect == "pointcoc":
        raise ValueError(
            "checkpoint has pointcoc's own names (reducers.0.weight, ...), not the official ones: load its folder with "
            "from_pretrained, or the tensors with load_state_dict"
        )
    if dialect == "2023" and normalizer != "count":
        raise ValueError(
            "checkpoint has the names of 2023 (token_mixer.fc1, fc_v), whose weights belong to normalizer 'count', "
            f"got {normalizer!r}: give normalizer='count'"
        )


def _fitting_preset(state: Mapping[str, Tensor], shapes_of: Shapes) -> str:
    found = {name: differences(state, _shapes(name, state, shapes_of)) for name in PRESETS}
    fitting = [name for name, wrong in found.items() if not wrong]
    if len(fitting) != 1:
        closest = _closest_preset(state, shapes_of)
        which = f"{', '.join(fitting)} alike" if fitting else f"no preset; closest is {closest} ({found[closest]})"
        raise ValueError(f"the checkpoint fits {which}: give preset= or config= (--preset on the command line)")
    return fitting[0]


def _closest_preset(state: Mapping[str, Tensor], shapes_of: Shapes) -> str:
    """Return the preset with the most names and sizes in common with a state dict in our names."""
    return max(PRESETS, key=lambda name: _agreement(state, _shapes(name, state, shapes_of)))


def _shapes(preset: str, state: Mapping[str, Tensor], shapes_of: Shapes) -> Mapping[str, tuple[int, ...]]:
    return shapes_of(find_preset(preset, **_known_fields(state)))


def _known_fields(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Fields of the configuration that the names and the classifier tell."""
    if "stage_norms.0.weight" in state:
        return {"dense": True, "num_classes": 0}
    head = state.get("head.weight")
    return {} if head is None or head.ndim == 0 else {"num_classes": len(head)}


def _agreement(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> float:
    same = sum(name in state and has_shape(state[name], shape) for name, shape in expected.items())
    return same / len(state.keys() | expected.keys())


def _half(name: str) -> Callable[[re.Match[str]], str]:
    """Replace an official number: 0, 2, 4, 6 are stages; 1, 3, 5 the reducers between them."""
    return lambda match: f"{name}.{(int(match[1]) + 1) // 2}."


RENAMES = (  # the authors' names to ours
    (r"^network\.(\d*[02468])\.", _half("stages")),
    (r"^network\.(\d+)\.proj\.", _half("reducers")),
    (r"^norm(\d*[02468])\.", _half("stage_norms")),
    (r"^patch_embed\.proj\.", "reducers.0."),
    (r"\.layer_scale_([12])$", r".scale\1"),
    (r"\.token_mixer\.sim_(alpha|beta)$", r".cluster.\1"),
    (r"\.token_mixer\.fc1\.", ".cluster.f."),
    (r"\.token_mixer\.fc_v\.", ".cluster.v."),
    (r"\.token_mixer\.fc2\.", ".cluster.proj."),
    (r"\.token_mixer\.", ".cluster."),
)
