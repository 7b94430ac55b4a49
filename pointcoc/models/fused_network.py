"""FusedNet: a network in its inference form, with constants folded and images kept as maps in region order."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pointcoc.geometry import NetworkPlan
from pointcoc.geometry.plan import make_grid_plan
from pointcoc.geometry.sizes import ceil_div
from pointcoc.geometry.tiles import Tiles, make_tiles
from pointcoc.models.config import NetworkConfig, check_tensor, stage_numbers
from pointcoc.nn.block import ClusterBlock
from pointcoc.nn.coordinates import encode_coordinates
from pointcoc.nn.fused_block import FusedBlock
from pointcoc.nn.native_blocks import NativeBlocks
from pointcoc.nn.norm import SetNorm, normalize_equal
from pointcoc.nn.reducer import LatticeReducer, StepReducer, convolve_windows
from pointcoc.ops.native_library import native_library
from pointcoc.pointset import PointSet, check_images, pixel_coordinates

if TYPE_CHECKING:
    from pointcoc.models.network import ContextClusterNet

MOST_SIZES = 32  # image sizes whose constants are kept


@dataclass(frozen=True, eq=False)
class SizeConstants:
    """What the inference form derives from the size of an image alone, for any number of images.

    Args:
        coordinates: part of the first anchors that the coordinates of the pixels give, with the bias, (1, h, w, C).
        tiles: layout of each stage; None where regions differ in size or another path takes fewer operations.
    """

    coordinates: Tensor
    tiles: tuple[Tiles | None, ...]


class FusedNet(nn.Module):
    """The inference form of a `ContextClusterNet`: the same logits from fewer and larger operations.

    `ContextClusterNet.fuse` makes it. It holds folded copies of the weights, so later changes of the network do not
    reach it, and it cannot be trained. `to(torch.bfloat16)` works; similarities are computed in float32 or better.

    A tensor of images takes the short way: the coordinate channels of every pixel are a constant of the size, and
    where the regions of a stage are equal tiles its blocks run by `FusedBlock.by_tiles`. All other input (points with
    holes, images of several sizes, clouds) and all other options go through the operations of the network itself, with
    folded weights.

    What depends on the size of the images is kept from their first call outside a compiled graph; a graph that sees a
    size first computes it inside. So call the module once before compiling it.

    With `kernels="native"` the stages of equal tiles run as one operator each, compiled from C++ on the machine, which
    keeps what lies between the layers of a block in the processor's cache. It takes bfloat16 on a CPU.

    Args:
        net: the network to fold, in evaluation mode; it is not changed.
        kernels: "torch", or "native" (see `ContextClusterNet.fuse`).

    Shapes:
        Input: as for `ContextClusterNet`.
        Output: logits (B, num_classes).

    Raises:
        ValueError: if `net` is in training mode, or `kernels` is unknown or not for this network.
        RuntimeError: if the native kernels cannot run here; the message says why.
    """

    def __init__(self, net: ContextClusterNet, kernels: Literal["torch", "native"] = "torch"):
        super().__init__()
        if net.training:
            raise ValueError("the network is in training mode; call eval() before fuse()")
        _check_kernels(kernels, net.config)
        self.config, self.kernels = net.config, kernels
        self.network = _fold(net)
        self._constants: dict[tuple[int, int], SizeConstants] = {}
        self._native: dict[int, NativeBlocks] = {}
        self.register_load_state_dict_post_hook(_forget)
        self.eval()

    def forward(self, input: Tensor | PointSet | Any, plan: NetworkPlan | None = None) -> Tensor:
        """Classify each set.

        Args:
            input: images, a PointSet, or torch_geometric data (see `ContextClusterNet`).
            plan: the geometry of this input, if it was made before.

        Returns:
            Logits, shape (B, num_classes).
        """
        if self._is_short(input, plan):
            return self.network.head(self._run(input)[1].mean((1, 2)))
        return self.network(input, plan)

    def forward_features(self, input: Tensor | PointSet | Any, plan: NetworkPlan | None = None) -> PointSet:
        """Return the points of the last stage with normalized features."""
        if self._is_short(input, plan):
            return self._plan(input).stages[-1].anchors.with_x(self._run(input)[1].flatten(0, 2))
        return self.network.forward_features(input, plan)

    def forward_head(self, features: PointSet, pre_logits: bool = False) -> Tensor:
        """Average the points of each set and classify.

        Args:
            features: what `forward_features` returned.
            pre_logits: return the averages (B, dim) before the classifier.
        """
        return self.network.forward_head(features, pre_logits)

    def forward_intermediates(
        self,
        input: Tensor | PointSet | Any,
        indices: Sequence[int] | None = None,
        norm: bool = False,
        plan: NetworkPlan | None = None,
    ) -> list[Tensor] | list[PointSet]:
        """Return the output of stages, as `ContextClusterNet.forward_intermediates` does.

        Args:
            input: images, a PointSet, or torch_geometric data.
            indices: stages to return, 0 first, negative from the end; all by default.
            norm: normalize the last stage as `forward_features` does; dense networks normalize every stage always.
            plan: the geometry of this input, if it was made before.

        Returns:
            Maps (B, dim, H, W) for a tensor of images, PointSets for all else.
        """
        if self._is_short(input, plan):
            maps, last = self._run(input)
            maps = [*maps[:-1], last] if norm else maps
            return [maps[s].movedim(-1, 1) for s in stage_numbers(self.config, indices)]
        return self.network.forward_intermediates(input, indices, norm, plan)

    def train(self, mode: bool = True) -> FusedNet:
        """Refuse training mode.

        Args:
            mode: False, which changes nothing.

        Raises:
            ValueError: if `mode` is True.
        """
        if mode:
            raise ValueError("a fused network is for inference; train the network it was made from and fuse() again")
        return super().train(False)

    def _is_short(self, input: Any, plan: NetworkPlan | None) -> TypeGuard[Tensor]:
        is_images = isinstance(input, Tensor) and self.config.anchors == "lattice" and self.config.pos_dim == 2
        return is_images and plan is None

    def _run(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the output of each stage as maps (B, h, w, dim), and the last one normalized."""
        check_tensor(images, self.config)
        check_images(images)
        constants = self._constants_of(images.shape[2], images.shape[3])
        maps = self._first(images, constants.coordinates)
        outputs = []
        for s, tiles in enumerate(constants.tiles):
            maps = maps if s == 0 else self._reduce(maps, s)
            maps = self._by_plan(maps, s, images) if tiles is None else self._by_tiles(maps, s, tiles)
            norms = cast("Sequence[SetNorm | nn.BatchNorm1d] | None", self.network.stage_norms)
            outputs.append(maps if norms is None else _norm(norms[s], maps))
        norm = self.network.norm
        return outputs, outputs[-1] if norm is None else _norm(norm, maps)

    def _first(self, images: Tensor, coordinates: Tensor) -> Tensor:
        """The first reducer: (B, C, H, W) to (B, h, w, dim); `coordinates` holds their part and the bias."""
        first, *others = self._reductions(0)
        weight = first.weight[:, : self.config.in_channels].contiguous(memory_format=torch.channels_last)
        maps = convolve_windows(images, weight, None, first.stride).movedim(1, -1) + coordinates
        return self._reduce_by(others, self._activate(maps))

    def _reduce(self, maps: Tensor, s: int) -> Tensor:
        return self._reduce_by(self._reductions(s), maps)

    def _reduce_by(self, layers: Sequence[LatticeReducer], maps: Tensor) -> Tensor:
        for one in layers:
            maps = convolve_windows(maps.movedim(-1, 1), one.weight, one.bias, one.stride).movedim(1, -1)
            maps = self._activate(maps)
        return maps

    def _activate(self, maps: Tensor) -> Tensor:
        return F.relu(maps) if self.config.reducer == "steps" else maps

    def _reductions(self, s: int) -> Sequence[LatticeReducer]:
        """The layers of the reducer of a stage; the norms of `StepReducer` are folded into them."""
        reducer = self.network.reducers[s]
        return cast("Sequence[LatticeReducer]", reducer.steps if isinstance(reducer, StepReducer) else [reducer])

    def _blocks(self, s: int) -> Sequence[FusedBlock]:
        return cast("Sequence[FusedBlock]", self.network.stages[s])

    def _by_tiles(self, maps: Tensor, s: int, tiles: Tiles) -> Tensor:
        x = tiles.enter(maps)
        if self.kernels == "native":
            return tiles.leave(self._native_blocks(s)(x, tiles, maps.shape[0]))
        for block in self._blocks(s):
            x = block.by_tiles(x, tiles, maps.shape[0])
        return tiles.leave(x)

    def _native_blocks(self, s: int) -> NativeBlocks:
        if s not in self._native:
            self._native[s] = NativeBlocks(self._blocks(s))
        return self._native[s]

    def _by_plan(self, maps: Tensor, s: int, images: Tensor) -> Tensor:
        """Run a stage by the operations of the network, for regions of any kind."""
        stage = self._plan(images).stages[s]
        x, order = maps.reshape(-1, maps.shape[-1]), stage.regions.order
        x = x if order is None else order.enter(x)
        for block in self._blocks(s):
            x, _ = block(x, stage.sets, stage.regions)
        x = x if order is None else order.leave(x)
        return x.view(maps.shape)

    def _plan(self, images: Tensor) -> NetworkPlan:
        dtype = torch.promote_types(images.dtype, torch.float32)
        grid = (images.shape[2], images.shape[3])
        return make_grid_plan(grid, images.shape[0], self.config.geometry, images.device, dtype)

    def _constants_of(self, height: int, width: int) -> SizeConstants:
        """Look constants up or make them; those made inside a graph belong to it."""
        if (height, width) in self._constants:
            return self._constants[height, width]
        if torch.compiler.is_compiling():
            return self._make_constants(height, width)
        with torch.inference_mode(False), torch.no_grad():  # made during inference, they must serve gradients too
            constants = self._make_constants(height, width)
        if len(self._constants) >= MOST_SIZES:
            del self._constants[next(iter(self._constants))]
        self._constants[height, width] = constants
        return constants

    def _make_constants(self, height: int, width: int) -> SizeConstants:
        reducer = self._reductions(0)[0]
        weight, bias = reducer.weight[:, self.config.in_channels :], reducer.bias
        numbers = pixel_coordinates((height, width), weight.device, weight.dtype)
        pixels = encode_coordinates(numbers, self.config.coordinates, self.config.frequencies).movedim(-1, 0)[None]
        coordinates = convolve_windows(pixels, weight, bias, reducer.stride).movedim(1, -1)
        grid, tiles = (height, width), []
        for s, stage in enumerate(self.config.geometry):
            grid = (ceil_div(grid[0], stage.stride), ceil_div(grid[1], stage.stride))
            made = make_tiles(grid, stage, weight.device, torch.promote_types(weight.dtype, torch.float32))
            tiles.append(made if made is not None and self._runs_tiles(s, made) else None)
        return SizeConstants(coordinates.contiguous(), tuple(tiles))

    def _runs_tiles(self, s: int, tiles: Tiles) -> bool:
        return self.kernels == "native" or self._blocks(s)[0].prefers_tiles(tiles.num_centers)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FusedNet:
        _forget(self, None)  # constants follow the dtype and the device of the weights
        return super()._apply(fn, recurse)


def _forget(module: FusedNet, _: Any) -> None:
    """Constants hold a part of the first reducer, native blocks copies of all weights; new weights make others."""
    module._constants.clear()
    module._native.clear()


def _check_kernels(kernels: str, config: NetworkConfig) -> None:
    if kernels not in ("torch", "native"):
        raise ValueError(f"unknown kernels {kernels!r}; choose from torch, native")
    if kernels == "torch":
        return
    if config.anchors != "lattice" or config.pos_dim != 2:
        raise ValueError("native kernels are for images; this network takes clouds: use kernels='torch'")
    if config.assignment != "hard" or config.iterations != 1 or config.backend != "auto":
        given = f"assignment={config.assignment!r}, iterations={config.iterations}, backend={config.backend!r}"
        raise ValueError(f"native kernels need assignment='hard', iterations=1 and backend='auto', got {given}")
    native_library()


def _fold(net: ContextClusterNet) -> ContextClusterNet:
    """Copy a network with its blocks folded and all parameters frozen."""
    net = copy.deepcopy(net).requires_grad_(False)
    for stage in cast("Sequence[nn.ModuleList]", net.stages):
        for i, block in enumerate(stage):
            stage[i] = FusedBlock(cast(ClusterBlock, block))
    for reducer in net.reducers:
        if isinstance(reducer, StepReducer):
            reducer.fold_norms()
    if net.config.anchors == "lattice" and net.config.pos_dim == 2:  # maps are channels last: convolutions do not copy
        net.reducers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def _norm(norm: SetNorm | nn.BatchNorm1d, maps: Tensor) -> Tensor:
    if isinstance(norm, SetNorm):
        return torch.addcmul(norm.bias, normalize_equal(maps, norm.eps), norm.weight)
    return norm(maps.flatten(0, -2)).view_as(maps)
