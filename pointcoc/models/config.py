"""The configuration of a network: one frozen dataclass, nothing in it that is not used."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from pointcoc.geometry.plan import StageGeometry
from pointcoc.nn.coordinates import COORDINATES
from pointcoc.nn.reducer import POOLS, REDUCERS, lattice_steps
from pointcoc.ops import BACKENDS, ClusterOptions

PER_STAGE = (
    "depths", "dims", "heads", "head_dims", "mlp_ratios", "strides", "neighbors", "regions", "centers",
    "center_neighbors", "window", "voxels",
)  # fmt: skip
COUNTS = tuple(name for name in PER_STAGE if name not in ("mlp_ratios", "window", "voxels"))
ANCHORS = ("lattice", "fps", "voxel")
PARTITIONS = ("cells", "curve")
STAGE_NORMS = ("set", "batch")
PROPOSALS = ("cells", "fps", "curve")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Settings of a `ContextClusterNet`; the defaults are those of coc_tiny.

    Entries per stage are tuples of one length; one value stands for all stages.

    Args:
        num_classes: outputs of the classifier; 0 for none.
        in_channels: channels of an image, or features of a point of a cloud. Images get two more, their coordinates.
        pos_dim: axes of the coordinates.
        coordinates: how the coordinates of images are told to the first reducer: as the paper's "numbers", or as
            "fourier", sines and cosines of rising frequency in their place (see `fourier_features`). Weights depend on
            it. Not for clouds.
        frequencies: of "fourier"; each makes two features an axis. Not read for "numbers".
        anchors: "lattice" reduces lattices by strided windows, "fps" any set by farthest points and their nearest,
            "voxel" any set by one point per occupied cubic cell and its nearest, for sets too large for "fps".
        reducer: of lattices: "window" joins the points of one window, as in the paper; "steps" does it in small windows
            of stride 2 with batch norm and ReLU between (see `StepReducer`), which learns faster from few images. It
            needs strides that are powers of two, reads `neighbors` as the window of these steps, and needs more than
            one anchor a batch while training.
        pool: how anchors of clouds join their neighbors: "max" or "concat" (see `CloudReducer`). Lattices concatenate.
        depths: blocks per stage.
        dims: channels per stage.
        heads: heads per stage.
        head_dims: channels of a head per stage.
        mlp_ratios: hidden channels of the pointwise networks over `dims`.
        strides: lattice: sites per axis between anchors; fps: points per anchor. Not read for voxels.
        voxels: edge of the cells of "voxel" anchors, in units of `pos`, growing from stage to stage; None for others.
        neighbors: lattice: sites per axis of a window; clouds: nearest points an anchor gathers.
        partition: "cells" (of the lattice, or of the bounding box) or, for clouds, "curve": runs of about `window`
            points along a Hilbert curve.
        regions: cells per axis; not read where `window` is given.
        window: size of a region instead of their number: lattice: sites per axis; cells of clouds: edge in units of
            `pos`; "curve": points, needed. None uses `regions`.
        proposals: of centers: "cells" (sub-cells of a cell), for clouds also "fps" (farthest points), for the
            partition "curve" also "curve" (equal parts of a run).
        centers: proposals per region; per axis for "cells", in all for "fps" and "curve".
        center_neighbors: points that a proposal of "fps" averages.
        normalizer: "similarity" or "count" (see `ClusterOptions`).
        assignment: "hard" or "soft" (see `ClusterOptions`).
        iterations: how often points are assigned (see `ClusterOptions`).
        drop_path: probability to skip the last block while training; rises linearly from 0 over the blocks.
        dropout: probability to drop a feature before the classifier while training.
        layer_scale: initial value of the scales of both branches of a block.
        dense: a norm on the output of every stage instead of one before the mean, for detection and segmentation.
        stage_norm: the norm of `dense`: "set" over all points and channels of a set, as in the official networks, or
            "batch" over the points of a batch, each channel for itself, which needs more than one point a batch while
            training. Not read where `dense` is not set.
        backend: of the cluster operation (see `context_cluster`); weights do not depend on it.

    Raises:
        ValueError: if a value is not allowed; the message names the field, what came and what is allowed.
    """

    kind: ClassVar[str] = "classifier"

    num_classes: int = 1000
    in_channels: int = 3
    pos_dim: int = 2
    coordinates: str = "numbers"
    frequencies: int = 4
    anchors: str = "lattice"
    reducer: str = "window"
    pool: str = "max"
    depths: tuple[int, ...] = (3, 4, 5, 2)
    dims: tuple[int, ...] = (32, 64, 196, 320)
    heads: tuple[int, ...] = (4, 4, 8, 8)
    head_dims: tuple[int, ...] = (24, 24, 24, 24)
    mlp_ratios: tuple[float, ...] = (8, 8, 4, 4)
    strides: tuple[int, ...] = (4, 2, 2, 2)
    voxels: tuple[float, ...] | None = None
    neighbors: tuple[int, ...] = (4, 3, 3, 3)
    partition: str = "cells"
    regions: tuple[int, ...] = (8, 4, 2, 1)
    window: tuple[float | None, ...] | None = None
    proposals: str = "cells"
    centers: tuple[int, ...] = (2, 2, 2, 2)
    center_neighbors: tuple[int, ...] = (8, 8, 8, 8)
    normalizer: str = "similarity"
    assignment: str = "hard"
    iterations: int = 1
    drop_path: float = 0.0
    dropout: float = 0.0
    layer_scale: float = 1e-5
    dense: bool = False
    stage_norm: str = "set"
    backend: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.depths, Sequence) or len(self.depths) == 0:
            raise ValueError(f"depths must hold the blocks of each stage, such as (3, 4, 5, 2), got {self.depths!r}")
        for name in PER_STAGE:
            object.__setattr__(self, name, per_stage(name, getattr(self, name), self.num_stages))
        _check(self)

    @property
    def num_stages(self) -> int:
        """Number of stages, the length of `depths`."""
        return len(self.depths)

    @property
    def on_lattice(self) -> bool:
        """Whether the input lies on a lattice (images and their pixels), else it is clouds."""
        return self.anchors == "lattice"

    @property
    def reads_images(self) -> bool:
        """Whether the network reads images: lattices of two axes."""
        return self.on_lattice and self.pos_dim == 2

    @property
    def input_dim(self) -> int:
        """Features of an input point; those of images include their coordinates."""
        return self.in_channels + (self.pos_dim if self.anchors == "lattice" else 0)

    @property
    def coordinate_dim(self) -> int:
        """Features that tell the first reducer of an image where a point is; 0 for clouds, which have offsets."""
        if self.anchors != "lattice":
            return 0
        return self.pos_dim * (1 if self.coordinates == "numbers" else 2 * self.frequencies)

    @property
    def first_layer(self) -> str:
        """Name of the layer that reads the channels of the input."""
        return "reducers.0.steps.0" if self.reducer == "steps" else "reducers.0"

    @property
    def options(self) -> ClusterOptions:
        """Options of the cluster operation."""
        return ClusterOptions(normalizer=self.normalizer, assignment=self.assignment, iterations=self.iterations)

    @property
    def geometry(self) -> tuple[StageGeometry, ...]:
        """The settings that concern positions, per stage."""
        windows = self.window or (None,) * self.num_stages
        return tuple(
            StageGeometry(
                anchors=self.anchors,
                stride=self.strides[s],
                voxel=None if self.voxels is None else self.voxels[s],
                neighbors=self.neighbors[s],
                steps=self.steps(s),
                partition=self.partition,
                regions=self.regions[s],
                window=windows[s],
                proposals=self.proposals,
                centers=self.centers[s],
                center_neighbors=self.center_neighbors[s],
            )
            for s in range(self.num_stages)
        )

    def steps(self, stage: int) -> tuple[tuple[int, int], ...]:
        """Window and stride of each step of the reducer of a stage; none for a reducer of one window."""
        return lattice_steps(self.neighbors[stage], self.strides[stage]) if self.reducer == "steps" else ()

    def replace(self, **overrides: Any) -> NetworkConfig:
        """Return a copy with other values; one value for an entry per stage stands for all stages.

        Raises:
            ValueError: if a name is not a field.
        """
        return replace_settings(self, overrides)


def replace_settings(config: Any, overrides: dict[str, Any]) -> Any:
    """Return a copy of a configuration with other values; unknown names raise ValueError, one depth is one a stage."""
    names = [field.name for field in dataclasses.fields(config)]
    for name in overrides:
        if name not in names:
            raise ValueError(f"unknown setting {name!r}; choose from {', '.join(names)}")
    if "depths" in overrides and not isinstance(overrides["depths"], Sequence):
        overrides = overrides | {"depths": (overrides["depths"],) * config.num_stages}
    return dataclasses.replace(config, **overrides)


def per_stage(name: str, value: Any, num_stages: int) -> Any:
    """Return one entry a stage; one value stands for all, None stays."""
    if value is None:
        return None
    if not isinstance(value, Sequence):
        return (value,) * num_stages
    if len(value) != num_stages:
        raise ValueError(f"{name} must be one value or {num_stages} (one a stage, like depths), got {tuple(value)}")
    return tuple(value)


def stage_numbers(config: NetworkConfig, indices: Sequence[int] | None) -> list[int]:
    """Return the stages that `indices` name, all for None; raise ValueError for one that is not there."""
    num = config.num_stages
    chosen = list(range(num)) if indices is None else list(indices)
    for index in chosen:
        if not -num <= index < num:
            raise ValueError(f"indices must be in [{-num}, {num - 1}], got {index}")
    return chosen


def check_tensor(input: Tensor, config: NetworkConfig) -> None:
    """Raise ValueError unless a tensor has the axes and channels of the images or clouds that a network reads."""
    if config.anchors == "lattice":
        fits, shape = input.ndim == 4 and input.shape[1] == config.in_channels, f"(B, {config.in_channels}, H, W)"
    else:
        fits, shape = input.ndim == 3 and input.shape[2] == config.in_channels, f"(B, N, {config.in_channels})"
    if not fits:
        kind = "images" if config.anchors == "lattice" else "clouds"
        raise ValueError(f"{kind} must have shape {shape}, got {tuple(input.shape)}; this network reads {kind}")


def _check(config: NetworkConfig) -> None:
    _check_choice("anchors", config.anchors, ANCHORS)
    _check_choice("coordinates", config.coordinates, COORDINATES)
    _check_choice("reducer", config.reducer, REDUCERS)
    _check_choice("pool", config.pool, POOLS)
    _check_choice("stage_norm", config.stage_norm, STAGE_NORMS)
    _check_choice("partition", config.partition, PARTITIONS)
    _check_choice("proposals", config.proposals, PROPOSALS)
    _check_choice("backend", config.backend, ("auto", *BACKENDS))
    _ = config.options
    for name in (
        "depths",
        "dims",
        "heads",
        "head_dims",
        "strides",
        "neighbors",
        "regions",
        "centers",
        "center_neighbors",
    ):
        check_positive(name, getattr(config, name))
    check_positive("frequencies", (config.frequencies,))
    if config.coordinates != "numbers" and config.anchors != "lattice":
        raise ValueError(f"coordinates {config.coordinates!r} needs anchors 'lattice', got {config.anchors!r}")
    if any(ratio <= 0 for ratio in config.mlp_ratios):
        raise ValueError(f"mlp_ratios must be positive, got {config.mlp_ratios}")
    for name in ("drop_path", "dropout"):
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name} must be in [0, 1), got {getattr(config, name)}")
    if config.num_classes < 0 or config.in_channels < 1 or config.pos_dim not in (1, 2, 3):
        raise ValueError(
            "num_classes must be at least 0, in_channels at least 1 and pos_dim 1, 2 or 3, got "
            f"{config.num_classes}, {config.in_channels} and {config.pos_dim}"
        )
    windows = [window for window in config.window or () if window is not None]
    if any(window <= 0 for window in windows):
        raise ValueError(f"window must be positive, got {config.window}")
    if config.anchors == "lattice":
        _check_lattice(config, windows)
    elif config.reducer != "window":
        raise ValueError(
            f"reducer {config.reducer!r} needs anchors 'lattice', got {config.anchors!r}: for clouds choose `pool`"
        )
    _check_voxels(config)
    _check_partition(config)


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(choices)}")


def check_positive(name: str, values: Sequence[int]) -> None:
    """Raise ValueError unless all values of a setting are integers of at least 1."""
    if any(not isinstance(value, int) or value < 1 for value in values):
        raise ValueError(f"{name} must hold integers of at least 1, got {values}")


def _check_lattice(config: NetworkConfig, windows: Sequence[float]) -> None:
    if config.proposals != "cells":
        raise ValueError(f"proposals {config.proposals!r} needs anchors 'fps' or 'voxel'; lattices propose 'cells'")
    if config.partition != "cells":
        raise ValueError("partition 'curve' needs anchors 'fps' or 'voxel'; lattices are split into 'cells'")
    if any(window != int(window) for window in windows):
        raise ValueError(f"window counts sites on a lattice and must be whole, got {config.window}")
    if config.reducer == "steps":
        _check_steps(config)
    elif any(k < s for k, s in zip(config.neighbors, config.strides, strict=True)):
        raise ValueError(
            f"neighbors {config.neighbors} must not be below strides {config.strides}: points would be lost"
        )


def _check_steps(config: NetworkConfig) -> None:
    for window, stride, dim in zip(config.neighbors, config.strides, config.dims, strict=True):
        if stride & (stride - 1):
            raise ValueError(f"reducer 'steps' needs strides that are powers of two, got {config.strides}")
        if window < 2:
            raise ValueError(f"reducer 'steps' needs neighbors of at least 2, got {config.neighbors}")
        if dim % max(1, stride // 2):
            raise ValueError(
                f"reducer 'steps' doubles the channels with each step of stride 2, up to dims: they must be multiples "
                f"of half the strides {config.strides}, got {config.dims}"
            )


def _check_voxels(config: NetworkConfig) -> None:
    voxels = config.voxels
    if config.anchors != "voxel":
        if voxels is not None:
            raise ValueError(f"voxels needs anchors 'voxel', got voxels {voxels} and anchors {config.anchors!r}")
        return
    if voxels is None:
        raise ValueError(
            "anchors 'voxel' needs voxels, the edge of the cells of each stage in units of `pos`, got None"
        )
    if any(voxel is None or not 0 < voxel < math.inf for voxel in voxels):
        raise ValueError(f"voxels must be positive, got {voxels}")
    if any(after <= before for before, after in itertools.pairwise(voxels)):
        raise ValueError(f"voxels must grow from stage to stage, got {voxels}")


def _check_partition(config: NetworkConfig) -> None:
    if config.partition == "cells":
        if config.proposals == "curve":
            raise ValueError("proposals 'curve' needs partition 'curve'; choose 'cells' or 'fps' for cells")
        return
    if config.proposals == "cells":
        raise ValueError("proposals 'cells' needs partition 'cells'; choose 'curve' or 'fps' for a curve")
    if config.window is None or any(window is None or not float(window).is_integer() for window in config.window):
        raise ValueError(
            f"partition 'curve' needs window, the points of a region of each stage, as whole numbers, got "
            f"{config.window}"
        )
