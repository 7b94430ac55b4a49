"""The networks of benchmarks/accuracy.py, by name: all map a batch of tensors to logits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import Tensor, nn

from pointcoc import ContextClusterNet
from pointcoc.pointset import cloud_to_points
from tools.dgcnn import DGCNN

LRS = (5e-4, 1.5e-3, 4e-3)
SMALL_PRESET = "coc_pico"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of a column.

    Args:
        column: "images" or "clouds".
        build: makes it for a number of classes; of ours also with other fields of the preset.
        lrs: the learning rates to choose from.
        is_ours: whether it is a preset.
    """

    column: str
    build: Callable[..., nn.Module]
    lrs: tuple[float, ...] = LRS
    is_ours: bool = False


class OfPoints(nn.Module):
    """Hand clouds (B, P, 3) to a network of point sets."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, clouds: Tensor) -> Tensor:
        """Return logits (B, num_classes)."""
        return self.net(cloud_to_points(clouds))


def ours(column: str, preset: str) -> Network:
    """Return the network of a preset."""
    build = functools.partial(_from_preset, preset)
    return Network(column=column, build=build, is_ours=True)


def _from_preset(preset: str, num_classes: int, **overrides: Any) -> nn.Module:
    return ContextClusterNet.from_preset(preset, num_classes=num_classes, **overrides)


def small_resnet18(num_classes: int) -> nn.Module:
    """Return timm's resnet18 with the usual stem for images of 32 x 32: 3 x 3, stride 1, no pooling."""
    net = timm.create_model("resnet18", num_classes=num_classes)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU


def small_vit(num_classes: int) -> nn.Module:
    """Return a vit of timm for images of 32 x 32, patches of 4 x 4, with the parameters of our preset."""
    return timm.create_model(
        "vit_tiny_patch16_224",
        img_size=32,
        patch_size=4,
        embed_dim=108,
        depth=5,
        num_heads=3,
        num_classes=num_classes,
    )


def pointnet2(num_classes: int) -> nn.Module:
    """Return PointNet++ on torch_geometric's layers; needs torch-cluster."""
    from tools.pointnet2 import PointNet2

    return OfPoints(PointNet2(num_classes))


def dgcnn(num_classes: int) -> nn.Module:
    """Return DGCNN on torch_geometric's layers."""
    return OfPoints(DGCNN(num_classes))


NETWORKS = {
    SMALL_PRESET: ours("images", SMALL_PRESET),
    "resnet18": Network(column="images", build=small_resnet18),
    "vit": Network(column="images", build=small_vit),
    "coc_points": ours("clouds", "coc_points"),
    "pointnet2": Network(column="clouds", build=pointnet2),
    "dgcnn": Network(column="clouds", build=dgcnn),
}
