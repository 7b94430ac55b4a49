"""Reducers: anchors take the place of their neighbors, with fewer points and more channels."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from pointcoc.checks import check_choice
from pointcoc.geometry.neighbors import gather_neighbors
from pointcoc.geometry.plan import Canvas, Reduction, StagePlan
from pointcoc.geometry.sizes import surely
from pointcoc.nn.coordinates import encode_coordinates
from pointcoc.nn.folded import frozen
from pointcoc.nn.norm import NORMS, apply_norm, batch_norm, running_constants
from pointcoc.pointset import pixel_coordinates

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
POOLS = ("concat", "max")
REDUCERS = ("window", "steps")
LAST_WINDOW = 3  # of the step that moves no anchor
MOST_HIDDEN = 2**22  # values of neighbors at a time, in inference: one for each anchor, neighbor and channel
MOST_SIZES = 32  # image sizes whose constants are kept


class LatticeReducer(nn.Module):
    """Join the points of a window of the lattice and project them: a strided convolution that allows holes.

    Context Clusters (ICLR 2023), section 3.1, with the neighbors in row order and zeros for absent ones.

    Args:
        in_dim: channels of the points.
        out_dim: channels of the anchors.
        window: sites per axis.
        stride: sites per axis between anchors.
        pos_dim: axes of the lattice.
        bias: whether the projection has one.
    """

    bias: Tensor | None

    def __init__(self, in_dim: int, out_dim: int, window: int, stride: int, pos_dim: int = 2, bias: bool = True):
        super().__init__()
        self.window, self.stride = window, stride
        self.weight = nn.Parameter(torch.empty(out_dim, in_dim, *[window] * pos_dim))
        self.register_parameter("bias", nn.Parameter(torch.empty(out_dim)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start like a torch convolution."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor, plan: Reduction) -> Tensor:
        """Map rows of the points before (N, in_dim) to rows of the anchors (A, out_dim)."""
        if plan.source_grid is not None:
            return self._convolve(x.view(plan.sets.num, *plan.source_grid, x.shape[-1])).flatten(0, -2)
        if plan.canvas is not None:
            return self._convolve_canvas(x, plan.canvas, plan.sets.num)
        assert plan.neighbors is not None
        gathered = gather_neighbors(x, plan.neighbors).flatten(1)
        return F.linear(gathered, self.weight.flatten(2).mT.flatten(1), self.bias)

    def _convolve_canvas(self, x: Tensor, canvas: Canvas, num_sets: int) -> Tensor:
        empty = x.new_zeros(num_sets * math.prod(canvas.grid), x.shape[-1])
        maps = empty.index_copy(0, canvas.row, x).view(num_sets, *canvas.grid, -1)
        return self._convolve(maps).flatten(0, -2).index_select(0, canvas.anchor_row)

    def _convolve(self, maps: Tensor) -> Tensor:
        """Map (B, *grid, in_dim) to (B, *anchors, out_dim)."""
        return convolve_windows(maps.movedim(-1, 1), self.weight, self.bias, self.stride).movedim(1, -1)

    def extra_repr(self) -> str:
        """Show the settings in print(module)."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, window={self.window}, stride={self.stride}"


def convolve_windows(maps: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """Project the window of each anchor of complete lattices: a strided convolution, padded for sides of any size.

    Args:
        maps: shape (B, in_dim, *grid).
        weight: shape (out_dim, in_dim, *window), equal sides.
        bias: shape (out_dim,) or None.
        stride: sites per axis between anchors.

    Returns:
        Shape (B, out_dim, *anchors).
    """
    grid, window = maps.shape[2:], weight.shape[-1]
    before = (window - stride + 1) // 2
    after = [_missing(size, window, stride) for size in grid]
    if not all(surely(pad == before) for pad in after):
        maps = F.pad(maps, [pad for size in reversed(after) for pad in (before, size)])
        before = 0
    return CONVOLUTIONS[len(grid)](maps, weight, bias, stride, before)


def _missing(size: int, window: int, stride: int) -> int:
    """Sites to add behind an axis of `size` sites so that its last window, and no further one, fits."""
    before = (window - stride + 1) // 2
    most = window - 1 - before  # makes ceil(size / stride) windows of any size
    if surely(size % stride == 0):
        return max(0, most - stride + 1)
    return max(0, most - (size - 1) % stride) if isinstance(size, int) else most


class StepReducer(nn.Module):
    """Reduce a lattice in small steps: windows of stride 2 until the stride is reached, then one of stride 1.

    Each step is a `LatticeReducer` with batch norm and ReLU behind it; channels double with each step of stride 2, up
    to `out_dim`. Networks with one large linear window in its place are slow to train from scratch: Early Convolutions
    Help Transformers See Better (NeurIPS 2021). The batch norm needs more than one anchor a batch while training.

    Args:
        in_dim: channels of the points.
        out_dim: channels of the anchors.
        steps: window and stride of each step (see `lattice_steps`).
        pos_dim: axes of the lattice.

    Raises:
        ValueError: by `forward`, if the plan has another number of steps.
    """

    def __init__(self, in_dim: int, out_dim: int, steps: Sequence[tuple[int, int]], pos_dim: int = 2):
        super().__init__()
        halvings = sum(stride > 1 for _, stride in steps)
        dims = [in_dim, *(out_dim >> max(0, halvings - 1 - i) for i in range(len(steps)))]
        self.steps = nn.ModuleList(
            LatticeReducer(before, dim, window, stride, pos_dim, bias=False)
            for (before, dim), (window, stride) in zip(itertools.pairwise(dims), steps, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(dim) for dim in dims[1:])

    def forward(self, x: Tensor, plan: StagePlan) -> Tensor:
        """Map rows of the points before (N, in_dim) to rows of the anchors (A, out_dim)."""
        if len(plan.steps) != len(self.steps):
            raise ValueError(
                f"plan reaches a stage in {len(plan.steps)} steps, this network in {len(self.steps)}: make the plan "
                "with the network itself (net.plan)"
            )
        for step, norm, places in zip(self.steps, self.norms, plan.steps, strict=True):
            x = F.relu(batch_norm(norm, step(x, places)))
        return x

    def fold_norms(self) -> None:
        """Put the batch norms, as they are in evaluation, into the layers before them; no training after this."""
        for i, (step, norm) in enumerate(zip(self.steps, self.norms, strict=True)):
            assert isinstance(step, LatticeReducer)
            assert isinstance(norm, _BatchNorm)
            scale, bias = running_constants(norm, torch.float64)
            weight = step.weight.double() * scale.view(-1, *[1] * (step.weight.ndim - 1))
            step.weight, step.bias = (frozen(value.to(step.weight.dtype)) for value in (weight, bias))
            self.norms[i] = nn.Identity()


class PixelReducer(LatticeReducer):
    """The first reducer of the folded form: it reads a tensor of images as it is, without coordinates as features.

    The coordinates of pixels are the same in all images of a size. What they add to the anchors is computed once per
    size, with the bias in it, for up to 32 sizes. A graph that sees a size first computes it inside, so call a network
    once before compiling it. Other input, which comes with its coordinates, is reduced as by `LatticeReducer`.

    Args:
        reducer: the layer whose weights it takes.
        coordinates: how coordinates are told, see `encode_coordinates`.
        frequencies: of "fourier".
    """

    def __init__(self, reducer: LatticeReducer, coordinates: str, frequencies: int):
        nn.Module.__init__(self)
        self.window, self.stride, self.weight = reducer.window, reducer.stride, reducer.weight
        self.register_parameter("bias", reducer.bias)  # type: ignore[arg-type]
        self.coordinates, self.frequencies = coordinates, frequencies
        self._of_size: dict[tuple[int, ...], Tensor] = {}
        self.register_load_state_dict_post_hook(_forget)

    def forward(self, x: Tensor, plan: Reduction) -> Tensor:
        """Map rows of pixels (N, in_dim), or images (B, channels, H, W), to rows of the anchors (A, out_dim)."""
        if x.ndim == 2:
            return super().forward(x, plan)
        channels = x.shape[1]
        weight = self.weight[:, :channels].contiguous(memory_format=torch.channels_last)
        anchors = convolve_windows(x, weight, None, self.stride).movedim(1, -1)
        return (anchors + self._places(tuple(x.shape[2:]), channels)).flatten(0, -2)

    def _places(self, grid: tuple[int, ...], channels: int) -> Tensor:
        """What coordinates and bias add to the anchors, (1, *anchors, out_dim); a graph keeps its own."""
        if grid in self._of_size:
            return self._of_size[grid]
        if torch.compiler.is_compiling():
            return self._make_places(grid, channels)
        with torch.inference_mode(False), torch.no_grad():  # made during inference, it must serve gradients too
            places = self._make_places(grid, channels)
        if len(self._of_size) >= MOST_SIZES:
            del self._of_size[next(iter(self._of_size))]
        self._of_size[grid] = places
        return places

    def _make_places(self, grid: tuple[int, ...], channels: int) -> Tensor:
        numbers = pixel_coordinates(grid, self.weight.device, self.weight.dtype)
        pixels = encode_coordinates(numbers, self.coordinates, self.frequencies).movedim(-1, 0)[None]
        places = convolve_windows(pixels, self.weight[:, channels:], self.bias, self.stride)
        return places.movedim(1, -1).contiguous()

    def _apply(self, *args: Any, **kwargs: Any) -> PixelReducer:
        _forget(self, None)  # constants follow the dtype and the device of the weights
        return super()._apply(*args, **kwargs)


def _forget(reducer: PixelReducer, _: Any) -> None:
    """Constants hold a part of the weights; new weights make others."""
    reducer._of_size = {}


def lattice_steps(window: int, stride: int) -> tuple[tuple[int, int], ...]:
    """Return window and stride of each step of a `StepReducer`.

    Args:
        window: sites per axis of the steps of stride 2.
        stride: sites per axis between anchors in the end, a power of two.
    """
    return ((window, 2),) * (stride.bit_length() - 1) + ((LAST_WINDOW, 1),)


class CloudReducer(nn.Module):
    """Gather the nearest points of each anchor, joined by their offsets from it.

    "concat" joins the neighbors, nearest first, and projects them (Context Clusters, section 3.1); absent are zeros.
    "max" maps each neighbor, joined by its offset, by the same layer and GELU, takes the maximum per channel
    (PointNet++, NeurIPS 2017, section 3.2), which does not depend on their order, and projects the result. A maximum
    shifts every channel by nearly the same amount in every set, which hides the sets from the classifier, and a
    `SetNorm` over all channels cannot remove it. A batch norm after the projection does, so training needs more than
    one anchor a batch.

    Args:
        in_dim: channels of the points.
        out_dim: channels of the anchors.
        neighbors: points an anchor gathers, K.
        pos_dim: axes of the coordinates.
        pool: "concat" or "max".
        norm: how "max" normalizes the features of the points first, a key of `NORMS`; None for raw input.
    """

    def __init__(
        self, in_dim: int, out_dim: int, neighbors: int, pos_dim: int = 3, pool: str = "max", norm: str | None = "set"
    ):
        super().__init__()
        check_choice("pool", pool, POOLS)
        self.pool = pool
        if pool == "concat":
            self.proj = nn.Linear(neighbors * (in_dim + pos_dim), out_dim)
            return
        if isinstance(norm, bool):
            warnings.warn("norm is a key of NORMS or None, no longer a bool", DeprecationWarning, stacklevel=2)
            norm = "set" if norm else None
        self.norm = None if norm is None else NORMS[norm](in_dim)
        self.feature, self.offset = nn.Linear(in_dim, out_dim), nn.Linear(pos_dim, out_dim, bias=False)
        self.act, self.proj, self.out_norm = nn.GELU(), nn.Linear(out_dim, out_dim), nn.BatchNorm1d(out_dim)

    def forward(self, x: Tensor, plan: StagePlan) -> Tensor:
        """Map rows of the points before (N, in_dim) to rows of the anchors (A, out_dim)."""
        assert plan.neighbors is not None
        assert plan.offsets is not None
        assert plan.source_sets is not None
        offsets = plan.offsets.to(x.dtype)
        if self.pool == "concat":
            return self.proj(torch.cat([gather_neighbors(x, plan.neighbors), offsets], dim=-1).flatten(1))
        x = x if self.norm is None else apply_norm(self.norm, x, plan.source_sets)
        # Linear layers run before the gather and after the maximum: once per point, not once per neighbor.
        return batch_norm(self.out_norm, self.proj(self._largest(self.feature(x), plan.neighbors, offsets)))

    def _largest(self, feature: Tensor, neighbors: Tensor, offsets: Tensor) -> Tensor:
        """Largest hidden value of the neighbors of each anchor, (A, out_dim)."""
        size = max(1, MOST_HIDDEN // (neighbors.shape[1] * feature.shape[1]))
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or len(neighbors) <= size:
            return self._largest_at_once(feature, neighbors, offsets)
        parts = zip(neighbors.split(size), offsets.split(size), strict=True)
        return torch.cat([self._largest_at_once(feature, *part) for part in parts])

    def _largest_at_once(self, feature: Tensor, neighbors: Tensor, offsets: Tensor) -> Tensor:
        rows = neighbors.clamp(min=0).flatten()  # absent ones are masked below, whatever is gathered
        hidden = self.act(feature.index_select(0, rows).unflatten(0, neighbors.shape).add_(self.offset(offsets)))
        return hidden.masked_fill_((neighbors < 0)[..., None], -torch.inf).amax(1)
