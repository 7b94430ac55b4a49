"""The configuration of a network: one frozen dataclass, nothing in it that is not used."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from pointcoc.geometry.plan import StageGeometry
from pointcoc.models.fields import COUNTS, check_fields, fill_stages, replace_settings, setting
from pointcoc.nn.coordinates import COORDINATES
from pointcoc.nn.norm import NORMS
from pointcoc.nn.reducer import POOLS, REDUCERS, lattice_steps
from pointcoc.ops import OPERATORS, ClusterOptions
from pointcoc.ops.operators import current_name

CLOUDS = ("fps", "voxel")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(ClusterOptions):
    """Settings of a `ContextClusterNet`; the defaults are those of coc_tiny.

    All fields of `ClusterOptions` are settings of a network too.

    Entries per stage are tuples of one length; one value stands for all stages. A field without effect beside the
    others has its default, so that equal configurations are equal networks.

    Args:
        num_classes: outputs of the classifier; 0 for none.
        in_channels: channels of an image, or features of a point of a cloud. Images get two more, their coordinates.
        pos_dim: axes of the coordinates.
        coordinates: how the coordinates of images are told to the first reducer: as the paper's "numbers", or as
            "fourier", sines and cosines of rising frequency in their place (see `fourier_features`). Weights depend on
            it. Not for clouds.
        frequencies: of "fourier" alone; each makes two features an axis.
        anchors: "lattice" reduces lattices by strided windows, "fps" any set by farthest points and their nearest,
            "voxel" any set by one point per occupied cubic cell and its nearest, for sets too large for "fps".
        reducer: of lattices: "window" joins the points of one window, as in the paper; "steps" does it in small windows
            of stride 2 with batch norm and ReLU between (see `StepReducer`), which learns faster from few images. It
            needs strides that are powers of two, reads `neighbors` as the window of these steps, and needs more than
            one anchor a batch while training.
        pool: of clouds: how anchors join their neighbors: "max" or "concat" (see `CloudReducer`). Lattices concatenate.
        depths: blocks per stage.
        dims: channels per stage.
        heads: heads per stage.
        head_dims: channels of a head per stage.
        mlp_ratios: hidden channels of the pointwise networks over `dims`.
        strides: lattice: sites per axis between anchors; fps: points per anchor. Not for voxels.
        voxels: edge of the cells of "voxel" anchors, in units of `pos`, growing from stage to stage; None for others.
        neighbors: lattice: sites per axis of a window; clouds: nearest points an anchor gathers.
        partition: "cells" (of the lattice, or of the bounding box) or, for clouds, "curve": runs of about `window`
            points along a Hilbert curve.
        regions: cells per axis, where `window` is not given.
        window: size of a region instead of their number: lattice: sites per axis; cells of clouds: edge in units of
            `pos`; "curve": points, needed. None uses `regions`.
        proposals: of centers: "cells" (sub-cells of a cell), for clouds also "fps" (farthest points), for the
            partition "curve" also "curve" (equal parts of a run).
        centers: proposals per region; per axis for "cells", in all for "fps" and "curve".
        center_neighbors: of proposals "fps" alone: points that one averages.
        drop_path: probability to skip the last block while training; rises linearly from 0 over the blocks.
        dropout: probability to drop a feature before the classifier while training.
        layer_scale: initial value of the scales of both branches of a block.
        dense: a norm on the output of every stage instead of one before the mean, for detection and segmentation.
        stage_norm: the norm of `dense`: "set" over all points and channels of a set, as in the official networks, or
            "batch" over the points of a batch, each channel for itself, which needs more than one point a batch while
            training.
        norm: the norm of blocks, of the last stage and of reducers of clouds, a key of `pointcoc.nn.NORMS`: "set" over
            all points and channels of a set, as in the official networks, or "batch" (see `stage_norm`).
        backend: which operator computes a cluster layer (see `pointcoc.ops.OPERATORS`); weights do not depend on it.

    Raises:
        ValueError: if a value is not allowed or has no effect; the message names the field, what came and what is
            allowed.
    """

    kind: ClassVar[str] = "classifier"

    num_classes: int = setting(1000, "head", "be an integer of at least 0")
    in_channels: int = setting(3, "input", "be an integer of at least 1")
    pos_dim: int = setting(2, "reducers", "be 1, 2 or 3")
    coordinates: str = setting("numbers", "reducers", choices=tuple(COORDINATES), needs=("anchors", ("lattice",)))
    frequencies: int = setting(4, "reducers", "be an integer of at least 1", needs=("coordinates", ("fourier",)))
    anchors: str = setting("lattice", "reducers", choices=("lattice", *CLOUDS))
    reducer: str = setting(
        "window",
        "reducers",
        choices=tuple(REDUCERS),
        needs=("anchors", ("lattice",)),
        refusal="reducer {value!r} needs anchors 'lattice', got {given!r}: for clouds choose `pool`",
    )
    pool: str = setting("max", "reducers", choices=tuple(POOLS), needs=("anchors", CLOUDS))
    depths: tuple[int, ...] = setting((3, 4, 5, 2), "stages", COUNTS)
    dims: tuple[int, ...] = setting((32, 64, 196, 320), "stages", COUNTS)
    heads: tuple[int, ...] = setting((4, 4, 8, 8), "stages", COUNTS)
    head_dims: tuple[int, ...] = setting((24, 24, 24, 24), "stages", COUNTS)
    mlp_ratios: tuple[float, ...] = setting((8, 8, 4, 4), "stages", "be positive")
    strides: tuple[int, ...] = setting(
        (4, 2, 2, 2), "positions", COUNTS, needs=("anchors", ("lattice", "fps")), sized_by={"reducer": "steps"}
    )
    voxels: tuple[float, ...] | None = setting(
        None,
        "positions",
        "be positive",
        needs=("anchors", ("voxel",)),
        refusal="voxels needs anchors 'voxel', got voxels {value} and anchors {given!r}",
    )
    neighbors: tuple[int, ...] = setting(
        (4, 3, 3, 3), "positions", COUNTS, sized_by={"anchors": "lattice", "pool": "concat"}
    )
    partition: str = setting(
        "cells",
        "positions",
        choices=("cells", "curve"),
        needs=("anchors", CLOUDS),
        refusal="partition {value!r} needs anchors {needed}; lattices are split into 'cells'",
    )
    regions: tuple[int, ...] = setting((8, 4, 2, 1), "positions", COUNTS, needs=("window", (None,)))
    window: tuple[float | None, ...] | None = setting(None, "positions", "be positive")
    proposals: str = setting(
        "cells",
        "positions",
        choices=("cells", "fps", "curve"),
        needs=("anchors", CLOUDS),
        refusal="proposals {value!r} needs anchors {needed}; lattices propose 'cells'",
    )
    centers: tuple[int, ...] = setting((2, 2, 2, 2), "positions", COUNTS)
    center_neighbors: tuple[int, ...] = setting((8, 8, 8, 8), "positions", COUNTS, needs=("proposals", ("fps",)))
    drop_path: float = setting(0.0, "training", "be in [0, 1)")
    dropout: float = setting(0.0, "training", "be in [0, 1)")
    layer_scale: float = setting(1e-5, "start")
    dense: bool = setting(False, "norms")
    stage_norm: str = setting("set", "norms", choices=tuple(NORMS), needs=("dense", (True,)))
    norm: str = setting("set", "stages", choices=tuple(NORMS))
    backend: str = setting("auto", "nothing", choices=("auto", *OPERATORS))

    def __post_init__(self) -> None:
        fill_stages(self, PER_STAGE)
        if self.window == (None,) * self.num_stages:
            object.__setattr__(self, "window", None)
        object.__setattr__(self, "backend", current_name(self.backend))
        check_fields(self)
        super().__post_init__()
        if self.on_lattice:
            _check_lattice(self)
        if self.anchors == "voxel":
            _check_voxels(self.voxels)
        _check_partition(self)

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
        """Whether the network reads images, which are lattices of two axes."""
        return self.on_lattice and self.pos_dim == 2

    @property
    def input_dim(self) -> int:
        """Features of an input point; those of images include their coordinates."""
        return self.in_channels + (self.pos_dim if self.on_lattice else 0)

    @property
    def coordinate_dim(self) -> int:
        """Features that tell the first reducer of an image where a point is; 0 for clouds, which have offsets."""
        if not self.on_lattice:
            return 0
        return self.pos_dim * (1 if self.coordinates == "numbers" else 2 * self.frequencies)

    @property
    def first_layer(self) -> str:
        """Name of the layer that reads the channels of the input."""
        return "reducers.0.steps.0" if self.reducer == "steps" else "reducers.0"

    @property
    def options(self) -> ClusterOptions:
        """Options of the cluster operation."""
        return ClusterOptions(**{one.name: getattr(self, one.name) for one in fields(ClusterOptions)})

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

        A field that loses its effect goes back to its default: `regions` where `window` is given.

        Raises:
            ValueError: if a name is not a field, or a value is not allowed or has no effect.
        """
        return replace_settings(self, overrides)


PER_STAGE = tuple(one.name for one in fields(NetworkConfig) if str(one.type).startswith("tuple["))


def stage_numbers(config: NetworkConfig, indices: Sequence[int] | None) -> list[int]:
    """Return the stages that `indices` name, all for None; raise ValueError for one that is not there."""
    num = config.num_stages
    chosen = list(range(num)) if indices is None else list(indices)
    for index in chosen:
        if not -num <= index < num:
            raise ValueError(f"indices must be in [{-num}, {num - 1}], got {index}")
    return chosen


def check_tensor(input: Tensor, config: NetworkConfig) -> None:
    """Raise ValueError unless a tensor has the axes and channels of the images that a network reads."""
    channels = config.in_channels
    if input.ndim != 4 or input.shape[1] != channels:
        raise ValueError(
            f"images must have shape (B, {channels}, H, W), got {tuple(input.shape)}; this network reads images"
        )


def _check_lattice(config: NetworkConfig) -> None:
    if any(window is not None and window != int(window) for window in config.window or ()):
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


def _check_voxels(voxels: Sequence[float] | None) -> None:
    if voxels is None or None in voxels:
        raise ValueError(
            f"anchors 'voxel' needs voxels, the edge of the cells of each stage in units of `pos`, got {voxels}"
        )
    if any(after <= before for before, after in itertools.pairwise(voxels)):
        raise ValueError(f"voxels must grow from stage to stage, got {voxels}")


def _check_partition(config: NetworkConfig) -> None:
    partition, proposals = config.partition, config.proposals
    if proposals not in (partition, "fps"):
        raise ValueError(
            f"proposals {proposals!r} needs partition {proposals!r}; choose {partition!r} or 'fps' for {partition!r}"
        )
    is_whole = [window is not None and float(window).is_integer() for window in config.window or (None,)]
    if partition == "curve" and not all(is_whole):
        raise ValueError(
            f"partition 'curve' needs window, the points of a region of each stage, as whole numbers, got "
            f"{config.window}"
        )
