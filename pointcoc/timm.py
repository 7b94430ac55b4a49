"""The image presets as timm models: `import pointcoc.timm` adds them to timm's registry.

Then `timm.create_model("coc_tiny", num_classes=10, features_only=True, in_chans=1)` works as for timm's own models.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model, resolve_pretrained_cfg
from torch import Tensor, nn

from pointcoc.checks import check_choice
from pointcoc.models.config import NetworkConfig
from pointcoc.models.presets import PRESETS
from pointcoc.models.presets import preset as find_preset
from pointcoc.models.timm_adapter import ContextClusterModel
from pointcoc.models.weights import (
    DOWNLOADS,
    OFFICIAL_PRESETS,
    OFFICIAL_WEIGHTS,
    ImageTransform,
    adapt_in_channels,
    check_dialect,
    converted_weights,
    find_dialect,
    find_transform,
    fit_state,
    read_info,
    rename_official,
    shapes_of,
    unwrap,
)

__all__ = ["ContextClusterModel", "checkpoint_filter_fn"]  # timm appends the names of the presets

CLASSIFIER = "head"
TIMM_NAMES = {"in_chans": "in_channels", "drop_rate": "dropout", "drop_path_rate": "drop_path"}


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: ContextClusterModel) -> dict[str, Tensor]:
    """Give a checkpoint the names, shapes and input channels of a model; timm calls this for pretrained weights.

    Reads our names and the authors' (see `ContextClusterNet.from_official`). Nothing in the authors' files tells the
    normalizer: give create_model normalizer="count" for weights from before 2024. Where the classes differ timm does
    not compare names, so this does: no parameter but those of a new classifier stays random.

    Args:
        state_dict: what the file holds.
        model: what timm built; its `pretrained_cfg` describes the file.

    Returns:
        State dict in our names, with a classifier if the file has one.

    Raises:
        ValueError: if the checkpoint does not fit the model; the message says why.
    """
    state = unwrap(state_dict)
    if find_dialect(state) != "pointcoc":
        check_dialect(state, model.config.normalizer)
        state = rename_official(state)
    name = f"{model.config.first_layer}.weight"
    first = state.get(name)
    if first is not None and first.ndim == 4:
        state[name] = adapt_in_channels(first, model.in_chans, model.config.coordinate_dim)
    head = {name: state.pop(name) for name in list(state) if name.startswith(f"{CLASSIFIER}.")}
    _check_classes(head, model.pretrained_cfg["num_classes"])
    expected = {name: shape for name, shape in shapes_of(model).items() if not name.startswith(f"{CLASSIFIER}.")}
    sentence = f"checkpoint does not fit {model.pretrained_cfg['architecture']} with these settings"
    return fit_state(state, expected, sentence) | head


def _check_classes(head: Mapping[str, Tensor], num_classes: int) -> None:
    rows = [value.shape[0] if value.ndim else 0 for value in head.values()]
    found = next((count for count in rows if count != num_classes), num_classes)
    if found != num_classes:
        raise ValueError(
            f"checkpoint has a classifier for {found} classes and pretrained_cfg says {num_classes}: give "
            f"pretrained_cfg_overlay=dict(num_classes={found}, ...), then it is loaded, or replaced as num_classes asks"
        )


def _default_cfg(name: str, config: NetworkConfig) -> dict[str, Any]:
    """What timm knows of a preset: its images, and where in the network they enter and classes leave."""
    stride = math.prod(config.strides)
    transform = ImageTransform() if stride == 32 else ImageTransform(input_size=(32, 32))
    official = {"license": OFFICIAL_WEIGHTS.license, "origin_url": DOWNLOADS} if name in OFFICIAL_PRESETS else {}
    return {
        **_data_settings(config, transform),
        "num_classes": config.num_classes,
        "pool_size": tuple(-(-size // stride) for size in transform.input_size),
        "first_conv": config.first_layer,
        "classifier": CLASSIFIER,
        "paper_name": "Image as Set of Points",
        "paper_ids": "arXiv:2303.01494",
        **official,
    }


def _data_settings(config: NetworkConfig, transform: ImageTransform) -> dict[str, Any]:
    return dataclasses.asdict(transform) | {"input_size": (config.in_channels, *transform.input_size)}


def _create(preset: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """Build a model, or its features, the way timm's own entry functions do."""
    config = find_preset(preset, dense=options.get("dense", False))
    options = _read_options(preset, pretrained, options)
    overlay = options.pop("pretrained_cfg_overlay", None) or {}
    cfg = resolve_pretrained_cfg(preset, options.get("pretrained_cfg"), overlay)
    if pretrained and not (cfg.has_weights or cfg.state_dict):
        config, found = _converted(preset)
        overlay = found | overlay
    net = build_model_with_cfg(
        partial(_network, config),
        preset,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        # Without first_conv timm leaves other channels to checkpoint_filter_fn: its own rule knows no coordinates.
        pretrained_cfg_overlay={**overlay, "first_conv": None},
        feature_cfg={"feature_cls": "getter", "out_indices": None},
        **options,
    )
    model = net if isinstance(net, ContextClusterModel) else net.model  # of features
    net.pretrained_cfg["first_conv"] = model.config.first_layer
    return net


def _read_options(preset: str, pretrained: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Rename fields of the configuration that have a name in timm; what could not be obeyed is an error."""
    if "img_size" in options:
        raise TypeError(f"{preset} takes no img_size: it reads images of any size; set the size in the transform")
    if options.get("feature_cls", "getter") != "getter":
        raise ValueError(f"feature_cls must be 'getter', got {options['feature_cls']!r}: stages read more than a map")
    if pretrained and "layer_scale" in options:
        raise ValueError("layer_scale is where training starts and pretrained weights replace it: leave it out")
    for timm_name, field in TIMM_NAMES.items():
        if timm_name in options and field in options:
            raise ValueError(f"give {timm_name} or {field}, not both: they are one setting")
    names = {field: timm_name for timm_name, field in TIMM_NAMES.items()}
    return {names.get(name, name): value for name, value in options.items()}


def _converted(preset: str) -> tuple[NetworkConfig, dict[str, Any]]:
    """Find the converted weights of a preset: their configuration, and what timm must know about them."""
    weights = converted_weights(preset)
    config, info = read_info(weights)
    transform = find_transform(config, info)
    found = _default_cfg(preset, config) | ({} if transform is None else _data_settings(config, transform))
    return config, {**found, "file": str(weights), "license": info.license}


def _network(
    config: NetworkConfig,
    global_pool: str = "avg",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **settings: Any,
) -> ContextClusterModel:
    choices = [name for name in (*TIMM_NAMES, *vars(config)) if name not in TIMM_NAMES.values()]
    for name in settings:
        check_choice("setting", name, ["global_pool", *choices])
    fields = {TIMM_NAMES.get(name, name): value for name, value in settings.items()}
    return ContextClusterModel(config.replace(**fields), global_pool).to(device=device, dtype=dtype)


def _register(preset: str) -> Callable[..., nn.Module]:
    def entry(pretrained: bool = False, **options: Any) -> nn.Module:
        return _create(preset, pretrained, options)

    entry.__name__ = entry.__qualname__ = preset
    entry.__doc__ = f"Make {preset} with timm's options and fields of `NetworkConfig`."
    return register_model(entry)


IMAGE_PRESETS = tuple(name for name, config in PRESETS.items() if config.reads_images)
default_cfgs = generate_default_cfgs({name: _default_cfg(name, PRESETS[name]) for name in IMAGE_PRESETS})
globals().update({name: _register(name) for name in IMAGE_PRESETS})  # timm lists them in __all__
