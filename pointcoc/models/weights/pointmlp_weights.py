"""Reading the authors' point-cloud checkpoints: their names in ours, and an account of what does not fit."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pointcoc.models.weights.checkpoint_file import MOST_SHOWN, load_checkpoint, rename, unwrap

KNOWN = "embedding.net.0.weight"  # a name of every such checkpoint


def read_pointmlp(checkpoint: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of an official point-cloud checkpoint under our names.

    Raises:
        ValueError: if the checkpoint is not one of these.
    """
    state = unwrap(load_checkpoint(checkpoint))
    if KNOWN not in state:
        raise ValueError(
            f"checkpoint is none of the authors' point-cloud network: it must hold names such as {KNOWN}, got "
            f"{', '.join(sorted(state)[:MOST_SHOWN])}; weights of image networks go to ContextClusterNet.from_official"
        )
    return {rename(name, RENAMES): _flat_scale(name, value) for name, value in state.items()}


def num_classes_of(state: Mapping[str, Tensor]) -> int:
    """Return the number of classes of a checkpoint under our names, 0 without a classifier."""
    return len(state["head.weight"]) if "head.weight" in state else 0


def _group(match: re.Match[str]) -> str:
    """Name of a block in the groups: its cluster layer and its residual block follow one another there."""
    block, part = divmod(int(match[2]), 2)
    return f"stages.{match[1]}.group_blocks.{block}.{('cluster', 'residual')[part]}."


def _flat_scale(name: str, value: Tensor) -> Tensor:
    """The scales and shifts of groups have leading ones, (1, 1, 1, C)."""
    is_scale = ".affine_" in name and value.shape[:-1] == (1, 1, 1)
    return value.flatten() if is_scale else value


RENAMES = (  # the authors' names to ours
    (r"^pre_blocks_list\.(\d+)\.operation\.(\d+)\.", _group),
    (r"^embedding\.net\.0\.", "embedding.linear."),
    (r"^embedding\.net\.1\.", "embedding.norm."),
    (r"^local_grouper_list\.(\d+)\.affine_alpha$", r"stages.\1.norm.weight"),
    (r"^local_grouper_list\.(\d+)\.affine_beta$", r"stages.\1.norm.bias"),
    (r"^pre_blocks_list\.(\d+)\.transfer\.net\.0\.", r"stages.\1.transfer.linear."),
    (r"^pre_blocks_list\.(\d+)\.transfer\.net\.1\.", r"stages.\1.transfer.norm."),
    (r"^pos_blocks_list\.(\d+)\.operation\.", r"stages.\1.blocks."),
    (r"\.net([12])\.0\.", r".linear\1."),
    (r"\.net([12])\.1\.", r".norm\1."),
    (r"\.sim_(alpha|beta)$", r".\1"),
    (r"\.fc1\.", ".f."),
    (r"\.fc_v\.", ".v."),
    (r"\.fc2\.", ".proj."),
    (r"^classifier\.0\.", "hidden.0.linear."),
    (r"^classifier\.1\.", "hidden.0.norm."),
    (r"^classifier\.4\.", "hidden.1.linear."),
    (r"^classifier\.5\.", "hidden.1.norm."),
    (r"^classifier\.8\.", "head."),
)
