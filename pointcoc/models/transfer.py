"""Opening a network by its file, and starting one from the stages of another: images to clouds, and back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pointcoc.models.config import NetworkConfig
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.weights import changed
from pointcoc.models.weights.policy import fields_changing

# What the parameters of the stages, and the meaning of these, depend on; nothing of it knows images or clouds.
STAGE_FIELDS = fields_changing("stages", "equations")
ALWAYS_NEW = ("reducers.0", "head")


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What `copy_stages` did, part by part; its text is one sentence.

    Args:
        copied: parts that have the values of the source now, such as "stages.0" or "norm".
        kept: parts that stayed as they were.
        num_copied: parameters of the first.
        num_kept: parameters of the second.
    """

    copied: tuple[str, ...]
    kept: tuple[str, ...]
    num_copied: int
    num_kept: int

    def __str__(self) -> str:
        return (
            f"copied {', '.join(self.copied)} ({self.num_copied:,} parameters); "
            f"new are {', '.join(self.kept)} ({self.num_kept:,} parameters)"
        )


def copy_stages(net: ContextClusterNet, source: ContextClusterNet) -> Transfer:
    """Copy what a network knows of clusters into another one, which may read clouds where the source reads images.

    All stages are copied, and the norms of their outputs and the later reducers where both networks have them in the
    same shape: reducers of a lattice and of a cloud differ. The first reducer and the classifier stay as they are.

    Args:
        net: network that receives; in its own dtype, on its own device.
        source: network that gives.

    Returns:
        The parts that were copied and those that were not.

    Raises:
        ValueError: if the stages differ in size or in how they cluster; the message holds all differences, and `net`
            is as it was. `with_stages_of` makes a configuration that fits.
    """
    settings = {name: (getattr(source.config, name), getattr(net.config, name)) for name in STAGE_FIELDS}
    wrong = [f"{name} is {there} there and {here} here" for name, (there, here) in settings.items() if there != here]
    if wrong:
        raise ValueError(f"stages can be copied only where they are the same: {'; '.join(wrong)}")
    ours, theirs = net.state_dict(), source.state_dict()
    parts, given = _parts(ours), _parts(theirs)
    copied = [part for part, shapes in parts.items() if part not in ALWAYS_NEW and given.get(part) == shapes]
    net.load_state_dict(ours | {name: theirs[name] for part in copied for name in parts[part]})
    net.weights_info = replace(changed(source.weights_info), transform=None)
    kept = [part for part in parts if part not in copied]
    return Transfer(copied=tuple(copied), kept=tuple(kept), num_copied=_count(net, copied), num_kept=_count(net, kept))


def with_stages_of(config: NetworkConfig, source: NetworkConfig) -> NetworkConfig:
    """Return a configuration whose stages are those of another one: their sizes, and how they cluster.

    Args:
        config: gives all else: reducers, regions, centers, input and classes.
        source: gives depths, dims, heads, head_dims, mlp_ratios, normalizer, assignment and iterations.

    Raises:
        ValueError: if the number of stages differs.
    """
    if config.num_stages != source.num_stages:
        raise ValueError(
            f"stages can be copied between networks of equally many, got one of {source.num_stages} to copy from and "
            f"one of {config.num_stages}: choose a preset with {source.num_stages} stages"
        )
    return config.replace(**{name: getattr(source, name) for name in STAGE_FIELDS})


def open_network(source: str | Path, **overrides: Any) -> ContextClusterNet:
    """Load a `ContextClusterNet` from whatever `pointcoc.load` takes, and refuse other models.

    Args:
        source: see `pointcoc.load`.
        **overrides: fields of `NetworkConfig` that need no other parameters, as for `from_pretrained`.

    Returns:
        The network in evaluation mode, in the dtype of the file.

    Raises:
        FileNotFoundError: if there is nothing of the kind.
        ValueError: if a file is broken or of another kind of model, or an override needs other parameters.
    """
    return ContextClusterNet.from_pretrained(source, **overrides)


def _parts(state: Mapping[str, Tensor]) -> dict[str, dict[str, torch.Size]]:
    """Group names and shapes of a state by the part they belong to: a stage, a reducer, a norm, the classifier."""
    parts: dict[str, dict[str, torch.Size]] = {}
    for name, value in state.items():
        words = name.split(".")
        is_listed = words[0] in ("reducers", "stages", "stage_norms")
        parts.setdefault(".".join(words[: 2 if is_listed else 1]), {})[name] = value.shape
    return parts


def _count(net: ContextClusterNet, parts: list[str]) -> int:
    return sum(p.numel() for name, p in net.named_parameters() if any(name.startswith(f"{part}.") for part in parts))
