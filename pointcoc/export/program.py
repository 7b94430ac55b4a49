"""Tracing a network as one graph, and writing it as torch.export or ONNX file."""

from __future__ import annotations

import itertools
import math
import operator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pointcoc.checks import check_choice, check_folder
from pointcoc.export.forms import Exportable, ExportForm, cluster_net, folded
from pointcoc.export.onnx_file import check_onnx, write_onnx
from pointcoc.models import ContextClusterNet, NetworkConfig

FORMATS = (".pt2", ".onnx")
OUTPUTS = ("logits", "stages", "assignments")
FIXED_BACKENDS = {"ragged": "its shapes depend on the data", "triton": "its kernels need Triton and a GPU"}


def export_network(
    net: Exportable,
    path: str | Path,
    size: tuple[int, int] | None = None,
    num_points: int | None = None,
    dynamic: bool = False,
    output: str = "logits",
) -> Path:
    """Write a network as one graph with a batch of any size.

    The constants of norms are folded into the layers beside them. An ONNX file names its axes (batch, height, width)
    and states class names, mean and standard deviation, if the network does (`weights_info`).

    Args:
        net: a `ContextClusterNet`, or a `SemanticFPN` on one, in evaluation mode; the graph has its device and dtype.
        path: file to write; ``.pt2`` for torch.export (torch.export.load reads it), ``.onnx`` for ONNX.
        size: (height, width) of the images.
        num_points: points of each cloud, for networks that read clouds.
        dynamic: images of other sizes too: any with sides from `smallest_side` up for ``.pt2``, multiples of
            `even_side` for ``.onnx``.
        output: "logits"; "stages", the map of each stage, for detection and segmentation; or "assignments", the logits
            and the center of each point in each block, to look at the clusters.

    Returns:
        The path.

    Raises:
        ValueError: if the network or an option cannot be exported; the message says what to do.
        FileNotFoundError: if the folder of `path` does not exist.
        ImportError: if a package that ONNX needs is not installed.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"path must end with {' or '.join(FORMATS)}, got {path.name!r}")
    path = check_folder("the folder of path", path.parent) / path.name
    _check(net, dynamic, output)
    example = example_input(net, size, num_points)
    if path.suffix == ".onnx":
        multiple = even_side(cluster_net(net).config) if dynamic else 1
        check_onnx(example, multiple)
        write_onnx(export_program(net, example, dynamic, output, multiple), ExportForm(net, output), path)
    else:
        torch.export.save(export_program(net, example, dynamic, output), path)
    return path


@torch.no_grad()
def export_program(
    net: Exportable, example: Tensor, dynamic: bool = False, output: str = "logits", multiple: int = 1
) -> torch.export.ExportedProgram:
    """Trace a network with torch.export; the batch may have any size.

    Args:
        net: in evaluation mode.
        example: images (B, C, H, W) or clouds (B, N, C).
        dynamic: whether height and width may change.
        output: "logits", "stages" or "assignments".
        multiple: sides that may come are multiples of this.

    Raises:
        ValueError: if the network or an option cannot be exported; the message says what to do.
    """
    _check(net, dynamic, output)
    net = folded(net)
    shapes: dict[int, Any] = {0: torch.export.Dim("batch", min=1)}
    if dynamic:
        shapes |= {
            axis: torch.export.Dim(name, min=smallest_side(cluster_net(net).config))
            if multiple == 1
            else multiple * torch.export.Dim(f"{name}_over_{multiple}", min=1)
            for axis, name in ((2, "height"), (3, "width"))
        }
    smallest = smallest_side(cluster_net(net).config) if dynamic else 1
    if multiple == 1 and min(example.shape[2:]) < smallest:
        raise ValueError(
            f"images of other sizes need sides of at least {smallest} for this network, also for size, "
            f"got {tuple(example.shape[2:])}; give such a size, or one fixed size"
        )
    return torch.export.export(ExportForm(net, output), (example,), dynamic_shapes={"input": shapes}, strict=False)


def example_input(net: Exportable, size: tuple[int, int] | None, num_points: int | None) -> Tensor:
    """Return a batch of two inputs of the network, noise.

    Raises:
        ValueError: if the size does not fit the kind of the network.
    """
    config, like = cluster_net(net).config, next(net.parameters())
    if config.on_lattice:
        if size is None or num_points is not None or len(size) != 2 or min(size) < 1:
            raise ValueError(f"this network reads images: give size=(height, width), got size={size}, {num_points=}")
        shape: tuple[int, ...] = (2, config.in_channels, *size)
    else:
        if num_points is None or size is not None or num_points < 1:
            raise ValueError(f"this network reads clouds: give num_points=1024, say, got {size=}, {num_points=}")
        shape = (2, num_points, config.in_channels)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(like.device, like.dtype)


def even_side(config: NetworkConfig) -> int:
    """Return the number whose multiples are sides that all stages split into equal regions."""
    return math.lcm(*_tiled_sides(config))


def smallest_side(config: NetworkConfig) -> int:
    """Return the least side that gives every stage more sites than regions (or than sites of a window)."""
    return max(_tiled_sides(config)) + 1


def _tiled_sides(config: NetworkConfig) -> list[int]:
    """Pixels a side that give each stage one site a region, or one window."""
    windows = config.window or (None,) * config.num_stages
    strides = itertools.accumulate(config.strides, operator.mul)
    return [
        stride * (regions if window is None else int(window))
        for stride, regions, window in zip(strides, config.regions, windows, strict=True)
    ]


def _check(net: Exportable, dynamic: bool, output: str) -> None:
    config = cluster_net(net).config
    check_choice("output", output, OUTPUTS)
    is_cloud = not config.on_lattice
    has_regions = config.window is not None or any(regions != 1 for regions in config.regions)
    for is_wrong, sentence in (
        (
            output != "logits" and not isinstance(net, ContextClusterNet),
            f"{type(net).__name__} is exported with its logits alone, got output={output!r}; export its network "
            "(model.backbone.net) for others",
        ),
        (net.training, "the network is in training mode, where it drops paths at random: call net.eval() first"),
        (
            config.backend in FIXED_BACKENDS,
            f"backend {config.backend!r} cannot be exported: {FIXED_BACKENDS.get(config.backend)}; load the network "
            "with backend='auto'",
        ),
        (
            is_cloud and (dynamic or output == "stages"),
            "clouds are exported with a fixed number of points, and with logits or assignments as output, got "
            f"{dynamic=}, {output=}",
        ),
        (
            is_cloud and config.anchors == "voxel",
            "anchors 'voxel' cannot be exported: how many there are depends on the data; use 'fps'",
        ),
        (
            is_cloud and has_regions,
            "clouds can be exported only with the whole set as one region, since others hold a number of points that "
            f"depends on the data, got regions {config.regions}, window {config.window}; use regions=1",
        ),
    ):
        if is_wrong:
            raise ValueError(sentence)
