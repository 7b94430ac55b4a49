"""ContextClusterNet: one network for images, for their pixels as unordered sets, and for clouds."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import nn

from pointcoc.models.cluster_network import ClusterNetwork
from pointcoc.models.config import NetworkConfig
from pointcoc.models.folded_network import FoldedNet
from pointcoc.models.presets import preset as find_preset
from pointcoc.models.weights import (
    OFFICIAL_WEIGHTS,
    HubMixin,
    Kind,
    adapt_in_channels,
    build,
    changed,
    converted_weights,
    open_model,
    read_official,
    shapes_of,
)
from pointcoc.nn import NORMS, CloudReducer, ClusterBlock, LatticeReducer, Stage, StepReducer


class ContextClusterNet(ClusterNetwork, HubMixin):
    """Context Clusters (ICLR 2023): reducers and stages of cluster blocks, then norm, mean over points, linear.

    An input is a tensor, a list of images (C, H, W) of any sizes, a `PointSet`, or torch_geometric `Data` or `Batch`.
    An image is the set of its pixels: the same pixels as a PointSet, in any order, give the same output. Sets may
    differ in size.

    Args:
        config: the settings; `from_preset` knows good ones.

    Shapes:
        Input: images (B, in_channels, H, W), any H and W; clouds of one size (B, N, in_channels), coordinates first;
            points (N, in_channels + 2) on a lattice, (N, in_channels) of a cloud.
        Output: logits (B, num_classes).
    """

    config_class = NetworkConfig
    config: NetworkConfig

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        self.reducers = nn.ModuleList(_reducer(config, s) for s in range(config.num_stages))  # start as torch does
        self.stages = nn.ModuleList(_stage(config, s) for s in range(config.num_stages))
        self.stage_norms = nn.ModuleList(NORMS[config.stage_norm](dim) for dim in config.dims) if config.dense else None
        self.norm = None if config.dense else NORMS[config.norm](config.dims[-1])
        self.dropout = nn.Dropout(config.dropout)
        self.head = _head(config)
        self.stages.apply(_init_linear)
        self.head.apply(_init_linear)

    @classmethod
    def from_preset(cls, name: str, pretrained: bool = False, **overrides: Any) -> Self:
        """Make a network from a preset.

        Args:
            name: a key of `pointcoc.PRESETS`.
            pretrained: load the weights that `pointcoc convert` wrote, in evaluation mode, instead of random ones.
            **overrides: fields of `NetworkConfig`, such as num_classes=10; an entry per stage may be one value. With
                `pretrained`: those that `from_pretrained` takes; another num_classes makes a new classifier (only that
                is random), another in_channels adapts the first reducer (see `adapt_in_channels`).

        Raises:
            ValueError: if the preset or a field is unknown, or a value is not allowed or does not fit the weights.
            FileNotFoundError: if there are no converted weights; the message says how to get them.
        """
        config = find_preset(name, **overrides)
        return cls._converted(name, config, overrides) if pretrained else cls(config)

    @classmethod
    def from_official(
        cls,
        checkpoint: str | Path | Mapping[str, Any],
        preset: str | None = None,
        config: NetworkConfig | None = None,
        normalizer: str = "similarity",
    ) -> Self:
        """Make a network with the weights of an official checkpoint, in any of the three dialects there are.

        Every name and shape must fit. Files are read as plain tensors (`weights_only`); one that needs more is refused.

        Args:
            checkpoint: a file (.safetensors, or one that torch.save wrote) or a mapping of names to tensors.
            preset: the preset the weights belong to; found by the shapes if there is just one.
            config: the configuration instead of a preset.
            normalizer: "similarity" for the weights of 2024, "count" for earlier ones; nothing in a file tells them
                apart, except names of 2023, which need "count". Not read where `config` is given.

        Returns:
            The network in evaluation mode, in the dtype of the checkpoint.

        Raises:
            ValueError: if the file is truncated, is in no official dialect, or names or shapes do not fit: the message
                lists what is missing, left over and of another shape, and the preset that fits best.
            FileNotFoundError: if there is no such file.
        """
        config, state = read_official(checkpoint, preset, config, normalizer, expected_shapes)
        return build(cls._empty(config), state, OFFICIAL_WEIGHTS)

    @classmethod
    def _converted(cls, name: str, asked: NetworkConfig, overrides: Mapping[str, Any]) -> Self:
        """Load the converted weights of a preset; other classes get a new classifier, other channels adapted ones."""
        adapts = ("num_classes", "in_channels") if asked.on_lattice else ("num_classes",)
        settings = {field: value for field, value in overrides.items() if field not in adapts}
        net = open_model(converted_weights(name), settings, cls)
        if "in_channels" in overrides and net.config.in_channels != asked.in_channels:
            config, state, first = net.config, net.state_dict(), f"{net.config.first_layer}.weight"
            state[first] = adapt_in_channels(state[first], asked.in_channels, config.coordinate_dim)
            info = replace(net.weights_info, transform=None)
            net = build(cls._empty(config.replace(in_channels=asked.in_channels)), state, info)
        if "num_classes" in overrides and net.config.num_classes != asked.num_classes:
            net.reset_classifier(asked.num_classes)
        return net

    def fuse(self, kernels: Literal["torch", "native"] = "torch") -> FoldedNet:
        """Return the inference form: an equivalent network with constants folded, which cannot be trained.

        Args:
            kernels: "torch" runs on any device in any dtype. "native" is for tensors of images in bfloat16 on CPUs with
                AVX-512 and its bfloat16 products, and returns a network in bfloat16: a C++ compiler makes it once, in
                seconds, and keeps it in $POINTCOC_HOME or ~/.cache/pointcoc. Other input of such a network (points,
                images of several sizes, sizes whose regions differ) runs through torch's operations as before.

        Raises:
            ValueError: if the network is in training mode, or `kernels` is unknown or not for this network.
            RuntimeError: if the native kernels cannot run here; the message says why.
        """
        folded = FoldedNet(self, kernels)
        return folded.to(torch.bfloat16) if kernels == "native" else folded

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the classifier by a new one for `num_classes` classes; 0 removes it."""
        self.config = self.config.replace(num_classes=num_classes)
        self.head = _head(self.config).to(next(self.parameters()))
        self.head.apply(_init_linear)
        self.weights_info = changed(self.weights_info)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the inside of each block again in backward instead of keeping it: less memory, about a third slower.

        Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.
        """
        for stage in self.stages:
            stage.grad_checkpointing = enable  # type: ignore[assignment]

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay should leave alone (timm's optimizers ask)."""
        return {name for name, parameter in self.named_parameters() if parameter.ndim == 1}


def _reducer(config: NetworkConfig, s: int) -> nn.Module:
    in_dim = config.dims[s - 1] if s else config.in_channels + config.coordinate_dim
    if config.reducer == "steps":
        return StepReducer(in_dim, config.dims[s], config.steps(s), config.pos_dim)
    if config.on_lattice:
        return LatticeReducer(in_dim, config.dims[s], config.neighbors[s], config.strides[s], config.pos_dim)
    norm = config.norm if s else None  # the input is raw
    return CloudReducer(in_dim, config.dims[s], config.neighbors[s], config.pos_dim, config.pool, norm)


def _stage(config: NetworkConfig, s: int) -> Stage:
    before, last = sum(config.depths[:s]), max(1, sum(config.depths) - 1)
    return Stage(
        ClusterBlock(
            config.dims[s],
            config.heads[s],
            config.head_dims[s],
            config.mlp_ratios[s],
            config.options,
            config.drop_path * (before + block) / last,
            config.layer_scale,
            config.backend,
            config.norm,
        )
        for block in range(config.depths[s])
    )


def _head(config: NetworkConfig) -> nn.Module:
    return nn.Linear(config.dims[-1], config.num_classes) if config.num_classes else nn.Identity()


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@functools.lru_cache(maxsize=64)
def expected_shapes(config: NetworkConfig) -> Mapping[str, tuple[int, ...]]:
    """Return the names and shapes of the state of a network without making its tensors."""
    return shapes_of(ContextClusterNet._empty(config))


KIND = Kind(model=ContextClusterNet)
