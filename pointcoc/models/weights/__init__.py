"""Files of weights: one folder for every kind of model, one function that loads it, and the authors' checkpoints."""

from pointcoc.models.weights.checkpoint_file import fit_state, load_checkpoint, shapes_of, unwrap
from pointcoc.models.weights.config_file import current_layout
from pointcoc.models.weights.folder import (
    CARD,
    CONFIG,
    WEIGHTS,
    build,
    read_content,
    read_tensors,
    save_model,
    save_tensors,
)
from pointcoc.models.weights.hub import HubMixin
from pointcoc.models.weights.info import (
    OFFICIAL_PRESETS,
    OFFICIAL_WEIGHTS,
    WeightsInfo,
    changed,
    find_transform,
    preset_name,
)
from pointcoc.models.weights.kinds import Kind, find_kind
from pointcoc.models.weights.loading import (
    BEST,
    OLD_BEST,
    SHIPPED,
    converted_weights,
    find_weights,
    load,
    open_model,
    read_info,
    weights_in,
)
from pointcoc.models.weights.official_weights import (
    DOWNLOADS,
    adapt_in_channels,
    check_dialect,
    find_dialect,
    read_official,
    rename_official,
)
from pointcoc.models.weights.pointmlp_weights import num_classes_of, read_pointmlp
from pointcoc.models.weights.transforms import FEATURES, CloudTransform, ImageTransform

__all__ = [
    "BEST",
    "CARD",
    "CONFIG",
    "DOWNLOADS",
    "FEATURES",
    "OFFICIAL_PRESETS",
    "OFFICIAL_WEIGHTS",
    "OLD_BEST",
    "SHIPPED",
    "WEIGHTS",
    "CloudTransform",
    "HubMixin",
    "ImageTransform",
    "Kind",
    "WeightsInfo",
    "adapt_in_channels",
    "build",
    "changed",
    "check_dialect",
    "converted_weights",
    "current_layout",
    "find_dialect",
    "find_kind",
    "find_transform",
    "find_weights",
    "fit_state",
    "load",
    "load_checkpoint",
    "num_classes_of",
    "open_model",
    "preset_name",
    "read_content",
    "read_info",
    "read_official",
    "read_pointmlp",
    "read_tensors",
    "rename_official",
    "save_model",
    "save_tensors",
    "shapes_of",
    "unwrap",
    "weights_in",
]
