"""What an operator of the cluster layer is given: options, the case that decides whether it can run, and weights."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from pointcoc.checks import check_choice, check_count
from pointcoc.geometry.regions import Regions, UniformRegions

NORMALIZERS = ("similarity", "count")
ASSIGNMENTS = ("hard", "soft")


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """What an operator computes. The defaults are the published equations.

    Args:
        normalizer: "similarity" divides by 1 + sum of similarities; "count" by 1 + number of points (official weights
            before 2024).
        assignment: "hard", each point belongs to one center; "soft", to all.
        iterations: how often points are assigned; centers move between (dynamic centers). 1 is the official fixed
            center.

    Raises:
        ValueError: if a value is not allowed.
    """

    normalizer: str = "similarity"
    assignment: str = "hard"
    iterations: int = 1

    def __post_init__(self) -> None:
        check_choice("normalizer", self.normalizer, NORMALIZERS)
        check_choice("assignment", self.assignment, ASSIGNMENTS)
        check_count("iterations", self.iterations)


DEFAULTS = {field.name: field.default for field in fields(ClusterOptions)}


def why_not_options(options: ClusterOptions, computed: Collection[str]) -> str | None:
    """Return the first option that an operator does not compute, as a sentence, or None.

    An option that an operator does not list must have its default, so a new one is refused until it is listed.

    Args:
        options: what is asked for.
        computed: names of the options of which the operator computes every value.
    """
    for name, default in DEFAULTS.items():
        value = getattr(options, name)
        if name not in computed and value != default:
            return f"{name} must be {default!r}, got {value!r}"
    return None


class Case(NamedTuple):
    """What decides which operator runs; values of tensors do not.

    Args:
        regions: where points are clustered.
        options: what is computed.
        device: of the features.
        dtypes: of f and of v.
        head_dims: channels of a head of f and of v, d.
        dim: channels of the layer, C; None for the operation alone, without the linear layers around it.
    """

    regions: Regions
    options: ClusterOptions
    device: torch.device
    dtypes: tuple[torch.dtype, torch.dtype]
    head_dims: tuple[int, int]
    dim: int | None = None


class ClusterWeights(NamedTuple):
    """The parameters of a cluster layer of C channels and h heads of d channels.

    Args:
        fv_weight: of the layers f and v, joined, shape (2 h d, C).
        fv_bias: shape (2 h d,).
        proj_weight: shape (C, h d).
        proj_bias: shape (C,).
        alpha: scale of the cosine, shape (1,).
        beta: shift of the cosine, shape (1,).
    """

    fv_weight: Tensor
    fv_bias: Tensor
    proj_weight: Tensor
    proj_bias: Tensor
    alpha: Tensor
    beta: Tensor


def why_not_uniform(regions: Regions) -> str | None:
    """Return a sentence unless regions are known to have equally many points.

    Args:
        regions: where points are clustered.
    """
    if isinstance(regions, UniformRegions):
        return None
    return f"regions must all have equally many points (UniformRegions), got {type(regions).__name__}"
