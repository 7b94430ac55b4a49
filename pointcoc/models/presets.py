"""Presets: one table; a variant is a row with other values."""

from __future__ import annotations

from typing import Any

from pointcoc.checks import check_choice
from pointcoc.models.config import NetworkConfig

_TINY = NetworkConfig()
_SMALL = _TINY.replace(depths=(2, 2, 6, 2), dims=(64, 128, 320, 512), head_dims=32)
_CLOUD = NetworkConfig(
    num_classes=40,
    pos_dim=3,
    anchors="fps",
    depths=(1, 1, 2),
    dims=(64, 128, 256),
    heads=(4, 4, 4),
    head_dims=(16, 24, 32),
    mlp_ratios=(2, 2, 2),
    strides=(4, 2, 4),
    neighbors=(24, 16, 16),
    regions=(1, 1, 1),
    proposals="fps",
    centers=(8, 8, 4),
    center_neighbors=(24, 16, 8),
    dropout=0.2,
    layer_scale=0.1,
)

_NANO = NetworkConfig(
    num_classes=10,
    depths=(1, 2, 2),
    dims=(48, 96, 192),
    heads=(4, 4, 4),
    head_dims=(12, 24, 32),
    mlp_ratios=(4, 4, 4),
    strides=(2, 2, 2),
    neighbors=(3, 3, 3),
    regions=(4, 2, 1),
    centers=(2, 2, 2),
    center_neighbors=(8, 8, 8),
    layer_scale=0.1,
)
PRESETS: dict[str, NetworkConfig] = {
    # The official networks (Context Clusters, ICLR 2023, section 3.3, and the authors' code).
    "coc_tiny": _TINY,
    "coc_tiny2": _TINY.replace(regions=(7, 7, 1, 1), centers=(4, 2, 7, 4)),
    "coc_tiny_plain": _TINY.replace(regions=1, centers=(4, 4, 2, 2)),
    "coc_small": _SMALL,
    "coc_medium": _SMALL.replace(depths=(4, 4, 12, 4), heads=(6, 6, 12, 12)),
    "coc_base_dim64": _SMALL.replace(depths=(6, 6, 24, 6), heads=(8, 8, 16, 16)),
    "coc_base_dim96": _SMALL.replace(depths=(4, 4, 12, 4), heads=(8, 8, 16, 16), dims=(96, 192, 384, 768)),
    # Images of about 224 x 224, for segmentation trained from scratch in minutes on few images: small steps.
    "coc_mini": _TINY.replace(
        reducer="steps",
        depths=1,
        dims=(64, 128, 256, 320),
        heads=(2, 4, 8, 8),
        head_dims=32,
        mlp_ratios=2,
        neighbors=4,
        window=(14, 14, 14, 7),
        layer_scale=1.0,
    ),
    # Images of about 32 x 32: overlapping windows, three stages of 16 x 16, 8 x 8 and 4 x 4 points.
    "coc_nano": _NANO,
    # The same for short trainings: one block a stage, narrow MLPs, more of the time goes to new images.
    "coc_pico": _NANO.replace(
        depths=1,
        dims=(64, 128, 256),
        heads=(1, 2, 4),
        head_dims=32,
        mlp_ratios=1,
        neighbors=(4, 4, 3),
        regions=(2, 1, 1),
        layer_scale=1.0,
    ),
    # Clouds of about 1,024 points.
    "coc_points": _CLOUD,
    "coc_points_small": _CLOUD.replace(
        depths=1, dims=(32, 64, 128), head_dims=(8, 16, 24), strides=(4, 4, 4), neighbors=(16, 16, 16), centers=4
    ),
    # Indoor scenes in meters, 10,000 to 1,000,000 points: no step costs more than sorting.
    "coc_scene": NetworkConfig(
        num_classes=20,
        pos_dim=3,
        anchors="voxel",
        depths=(1, 1, 2, 1),
        dims=(32, 64, 128, 256),
        heads=(4, 4, 4, 4),
        head_dims=(8, 16, 24, 32),
        mlp_ratios=(2, 2, 2, 2),
        voxels=(0.05, 0.1, 0.2, 0.4),
        neighbors=(16, 16, 16, 16),
        partition="curve",
        window=(256, 256, 256, 256),
        proposals="curve",
        centers=(8, 8, 8, 8),
        dropout=0.2,
        layer_scale=0.1,
    ),
}
# Fields of a preset that only a dense network reads.
DENSE = {"coc_mini": {"stage_norm": "batch"}}


def preset(name: str, **overrides: Any) -> NetworkConfig:
    """Return the configuration of a preset, with some fields replaced.

    Args:
        name: a key of `PRESETS`.
        **overrides: fields of `NetworkConfig`; an entry per stage may be one value for all stages.

    Raises:
        ValueError: if the preset or a field is unknown.
    """
    if name == "pointmlp_coc":
        raise ValueError("preset 'pointmlp_coc' is that of another network: PointMLPCoC.from_preset('pointmlp_coc')")
    check_choice("preset", name, list(PRESETS))
    dense = DENSE.get(name, {}) if overrides.get("dense") else {}
    return PRESETS[name].replace(**dense | overrides)
