"""PointSet: flat tensors of points of several sets, and images turned into such points."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from pointcoc.checks import check_filled

if TYPE_CHECKING:
    from torch_geometric.data import Batch

Grid = tuple[int, ...] | tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class Movable:
    """Base of dataclasses that hold tensors, others of this kind, tuples of either, and plain values."""

    def to(self, device: torch.device | str) -> Self:
        """Move to a device."""
        moved = {field.name: _move(getattr(self, field.name), device) for field in fields(self) if field.init}
        return replace(self, **moved)


def _move(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, tuple):
        return tuple(_move(one, device) for one in value)
    return value.to(device) if isinstance(value, Tensor | PointSet | Movable) else value


@dataclass(frozen=True, eq=False, kw_only=False)
class PointSet:
    """Features and coordinates of the points of B sets, one set after the other.

    The words are torch_geometric's: set b owns the rows ``ptr[b]`` to ``ptr[b + 1]`` of `x` and `pos`.
    Shapes are checked when a PointSet is made; values (finite, sites inside the lattice) are checked by
    `validate`, which the public entrances of the library call, so that compiled code and a GPU never wait for it.

    Args:
        x: features, shape (N, C).
        pos: coordinates, shape (N, D), float32 or float64 whatever the dtype of `x`. D = 2 for images (row, column),
            3 for clouds.
        ptr: first row of each set and the end of the last, shape (B + 1,), int64.
        sizes: sites per axis of the lattice of each set, shape (B, D), int64; `pos` then holds integer sites. None
            for points anywhere.
        grid: a promise: every set is this lattice, complete and in row order. Sites per axis; where the sets differ, a
            tuple of those of each set; or None.
        size: a promise: every set has this many points. None if they differ or nobody has looked.

    Raises:
        ValueError: if a shape or a dtype does not fit; the message names the field.
    """

    x: Tensor
    pos: Tensor
    ptr: Tensor
    sizes: Tensor | None = None
    grid: Grid | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        x, pos, ptr, sizes, grid = self.x, self.pos, self.ptr, self.sizes, self.grid
        if x.ndim != 2:
            raise ValueError(f"x must have shape (N, C), got {tuple(x.shape)}")
        if pos.ndim != 2 or pos.shape[0] != x.shape[0]:
            raise ValueError(f"pos must have shape ({x.shape[0]}, D) to match x, got {tuple(pos.shape)}")
        if pos.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"pos must be float32 or float64, got {pos.dtype}")
        if not x.is_floating_point():
            raise ValueError(f"x must be floating point, got {x.dtype}")
        if ptr.ndim != 1 or ptr.shape[0] < 1 or ptr.dtype != torch.int64:
            raise ValueError(f"ptr must be int64 of shape (B + 1,), got {ptr.dtype} {tuple(ptr.shape)}")
        if sizes is not None and (sizes.shape != (ptr.shape[0] - 1, pos.shape[1]) or sizes.dtype != torch.int64):
            expected = (ptr.shape[0] - 1, pos.shape[1])
            raise ValueError(f"sizes must be int64 of shape {expected}, got {sizes.dtype} {tuple(sizes.shape)}")
        if grid is not None:
            _check_grid(self, grid)
        if self.size is not None and self.num_points != self.size * self.num_sets:
            raise ValueError(f"size {self.size} of {self.num_sets} sets does not give {self.num_points} points")

    @property
    def lattice(self) -> tuple[int, ...] | None:
        """Sites per axis if every set is promised to be the same complete lattice, else None."""
        return None if self.grid is None or _is_mixed(self.grid) else self.grid  # type: ignore[return-value]

    @property
    def lattices(self) -> tuple[tuple[int, ...], ...] | None:
        """Sites per axis of each set if every set is promised to be a complete lattice, else None."""
        return self.grid if self.lattice is None else (self.lattice,) * self.num_sets  # type: ignore[return-value]

    @property
    def promised_size(self) -> int | None:
        """Number of points of every set if `grid` or `size` promises one, else None."""
        return self.size if self.lattice is None else num_sites(self.lattice)

    @property
    def num_points(self) -> int:
        """Number of points of all sets, N."""
        return self.x.shape[0]

    @property
    def num_sets(self) -> int:
        """Number of sets, B."""
        return self.ptr.shape[0] - 1

    @property
    def counts(self) -> Tensor:
        """Number of points of each set, shape (B,)."""
        return self.ptr.diff()

    @property
    def batch(self) -> Tensor:
        """Set of each point, shape (N,)."""
        sets = torch.arange(self.num_sets, device=self.ptr.device)
        if self.promised_size is not None:
            return sets[:, None].expand(-1, self.promised_size).flatten()
        return torch.repeat_interleave(sets, self.counts, output_size=self.num_points)

    def take(self, index: Tensor) -> PointSet:
        """Keep or reorder points.

        The result is grouped by set and keeps the order of `index` within a set. `sizes` stay; `grid` and `size`, the
        promises, go.

        Args:
            index: rows to keep, shape (K,) int64, or a mask of shape (N,) bool.

        Raises:
            ValueError: if a row is out of range, a mask has another length, or a lattice site would appear twice.
        """
        rows = _rows(index, self.num_points)
        batch = self.batch.index_select(0, rows)
        rows = rows.index_select(0, torch.argsort(batch, stable=True))
        ptr = counts_to_ptr(torch.bincount(batch, minlength=self.num_sets))
        if self.sizes is not None and rows.unique().numel() != rows.numel():
            raise ValueError("index takes a lattice site more than once; each row may appear once when `sizes` is set")
        return PointSet(self.x.index_select(0, rows), self.pos.index_select(0, rows), ptr, self.sizes)

    def split(self) -> list[PointSet]:
        """Return each set as a PointSet of its own."""
        bounds = self.ptr.tolist()
        return [self._one(b, begin, end) for b, (begin, end) in enumerate(itertools.pairwise(bounds))]

    def _one(self, b: int, begin: int, end: int) -> PointSet:
        ptr = self.ptr.new_tensor([0, end - begin])
        sizes = None if self.sizes is None else self.sizes[b : b + 1]
        grid = None if self.lattices is None else self.lattices[b]
        return PointSet(self.x[begin:end], self.pos[begin:end], ptr, sizes, grid, self.size)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> PointSet:
        """Move to a device and convert the features.

        `pos` follows `dtype` to float32 and float64 but never below float32: coordinates decide neighbors.
        """
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        pos_dtype = dtype if dtype in (torch.float32, torch.float64) else self.pos.dtype
        return PointSet(
            self.x.to(device=device, dtype=dtype),
            self.pos.to(device=device, dtype=pos_dtype),
            self.ptr.to(device=device),
            None if self.sizes is None else self.sizes.to(device=device),
            self.grid,
            self.size,
        )

    def with_x(self, x: Tensor) -> PointSet:
        """Return the same points with other features, shape (N, any)."""
        return replace(self, x=x)

    def to_maps(self) -> Tensor:
        """Return the features of complete lattices of one size as maps, shape ``(B, C, *grid)``.

        Raises:
            ValueError: if the points carry no promise `grid`, or their lattices differ.
        """
        lattice = self.lattice
        if lattice is None:
            raise ValueError(
                f"to_maps needs complete lattices of one size (grid is {self.grid}); use x, pos and ptr, or split()"
            )
        return self.x.view(self.num_sets, *lattice, -1).movedim(-1, 1)

    def validate(self) -> PointSet:
        """Check values and return self; waits for the device.

        Raises:
            ValueError: if `ptr` does not run from 0 to N, there is no set, `size` or `grid` promises what is not so, a
                coordinate or a feature is not finite, or a lattice site is outside its lattice, not an integer, or
                there twice.
        """
        _check_ptr(self.ptr, self.num_points)
        _check_promises(self)
        _check_pos(self)
        check_features(self)
        return self

    @classmethod
    def from_pyg(cls, data: Any) -> PointSet:
        """Read a torch_geometric `Data` or `Batch`.

        Args:
            data: has `pos` (N, D); `x` (N, C), else the coordinates are the features; `batch` or `ptr` for several
                sets; optionally `sizes` (B, D) if `pos` holds lattice sites.

        Raises:
            ValueError: if `pos` is missing, `batch` is not sorted, or a value is not valid (see `validate`).
        """
        pos = getattr(data, "pos", None)
        if not isinstance(pos, Tensor):
            keys = getattr(data, "keys", None)
            has = f"only {sorted(keys())}" if callable(keys) else f"type {type(data).__name__}"
            raise ValueError(
                f"data has no tensor `pos`; it has {has}. Networks read a tensor, a list of images or of clouds, a "
                "PointSet, or torch_geometric data"
            )
        x = getattr(data, "x", None)
        pos = pos if pos.dtype in (torch.float32, torch.float64) else pos.float()
        return cls(pos if x is None else x, pos, _pyg_ptr(data, pos), getattr(data, "sizes", None)).validate()

    def to_pyg(self) -> Batch:
        """Return a torch_geometric `Batch` with `x`, `pos`, `batch`, `ptr` and, for lattices, `sizes`.

        `Batch.get_example(i)` works; the promise `grid` is not kept, since transforms may break it.
        """
        from torch_geometric.data import Batch, Data

        names = ("x", "pos") if self.sizes is None else ("x", "pos", "sizes")
        return Batch.from_data_list([Data(**{name: getattr(one, name) for name in names}) for one in self.split()])


def concat(sets: Sequence[PointSet]) -> PointSet:
    """Join PointSets: the sets of the first, then those of the second, and so on.

    The promise `grid` stays when all make it, and so does `size` when all share it.

    Args:
        sets: at least one PointSet; equal channels and dimensions, all lattices or none.

    Raises:
        ValueError: if `sets` is empty or its members do not fit together.
    """
    check_filled("sets", sets, "PointSet")
    kinds = {(one.x.shape[1], one.pos.shape[1], one.sizes is not None) for one in sets}
    if len(kinds) > 1:
        raise ValueError(f"sets must agree in (channels, dimensions, is a lattice), got {sorted(kinds)}")
    ptr = counts_to_ptr(torch.cat([one.counts for one in sets]))
    sizes = None if sets[0].sizes is None else torch.cat([one.sizes for one in sets])  # type: ignore[misc]
    size = sets[0].size if all(one.size == sets[0].size for one in sets) else None
    x, pos = torch.cat([one.x for one in sets]), torch.cat([one.pos for one in sets])
    return PointSet(x, pos, ptr, sizes, _join_grids(sets), size)


def _join_grids(sets: Sequence[PointSet]) -> Grid | None:
    lattices = [one.lattices for one in sets]
    if any(one is None for one in lattices):
        return None
    grids = tuple(itertools.chain.from_iterable(one for one in lattices if one is not None))
    return grids[0] if all(grid == grids[0] for grid in grids) else grids


def _is_mixed(grid: Grid) -> bool:
    return isinstance(grid[0], tuple)


def image_to_points(images: Tensor | Sequence[Tensor], mask: Tensor | Sequence[Tensor] | None = None) -> PointSet:
    """Turn images into sets of points, one point a pixel.

    Context Clusters (ICLR 2023), section 3.1: a pixel becomes ``[channels, x - 0.5, y - 0.5]`` with
    x = column / (width - 1) and y = row / (height - 1), 0.5 for a side of one pixel.

    Args:
        images: shape (B, C, H, W) of any float dtype, or a sequence of (C, H, W) of any sizes.
        mask: pixels to keep, bool, shape (B, H, W), or a sequence of (H, W); None keeps all.

    Returns:
        Features (N, C + 2) in the dtype and on the device of the images, `pos` = (row, column), `sizes`, and the
        promise `grid` if all images are complete: (H, W), or one (H, W) an image where they differ.

    Raises:
        ValueError: if a shape or dtype does not fit or there is no image.
    """
    if isinstance(images, Tensor):
        points = _grid_points(images)
    else:
        _check_image_list(images)
        points = concat([_grid_points(image[None]) for image in images])
    return points if mask is None else points.take(_flat_mask(mask, [image.shape[-2:] for image in images]))


def cloud_to_points(clouds: Tensor, pos_dim: int = 3) -> PointSet:
    """Turn clouds of equally many points into sets.

    Args:
        clouds: shape (B, N, C) of any float dtype; the first `pos_dim` channels are the coordinates.
        pos_dim: axes of the coordinates, D.

    Returns:
        Features (B * N, C), the coordinates among them, and the promise `size`.

    Raises:
        ValueError: if the shape does not fit or there is no point.
    """
    if clouds.ndim != 3 or clouds.shape[2] < pos_dim or 0 in clouds.shape:
        raise ValueError(f"clouds must have shape (B, N, C), C at least {pos_dim}, got {tuple(clouds.shape)}")
    num_sets, size = clouds.shape[:2]
    x = clouds.flatten(0, 1)
    pos = x[:, :pos_dim]
    pos = pos.to(torch.promote_types(pos.dtype, torch.float32))
    return PointSet(x, pos, torch.arange(num_sets + 1, device=x.device) * size, size=size)


def image_sides(images: Tensor) -> tuple[int, int]:
    """Return height and width of images (..., H, W); of a compiled graph they are numbers, never symbols.

    torch.compile makes symbols of sides that change. Regions and windows of symbols are long formulas: a graph for all
    sides takes minutes, one for each size seconds. Exported programs keep symbols.
    """
    height, width = images.shape[-2:]
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        return operator.index(height), operator.index(width)
    return height, width


def pixel_coordinates(grid: Sequence[int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the two coordinate features of every pixel, ``[x - 0.5, y - 0.5]``, shape (H, W, 2)."""
    exact = torch.promote_types(dtype, torch.float32)
    axes = []
    for size in reversed(grid):
        steps = torch.arange(size, device=device, dtype=exact)
        axes.append(steps / (size - 1) - 0.5 if size > 1 else steps)
    return torch.stack(torch.meshgrid(*axes, indexing="xy"), dim=-1).to(dtype)


def grid_sites(grid: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the sites of a complete lattice in row order, shape (product of grid, len(grid))."""
    axes = [torch.arange(size, device=device, dtype=dtype) for size in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)


def num_sites(grid: Grid) -> int:
    """Return the number of sites of a lattice, or of several together."""
    return sum(map(num_sites, grid)) if _is_mixed(grid) else math.prod(grid)  # type: ignore[arg-type]


def counts_to_ptr(counts: Tensor) -> Tensor:
    """Return where each set begins and the last one ends, shape (B + 1,), from the sizes (B,)."""
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0))


def _grid_points(images: Tensor) -> PointSet:
    check_images(images)
    num_sets, (height, width) = images.shape[0], image_sides(images)
    coordinates = pixel_coordinates((height, width), images.device, images.dtype)
    pixels = images.permute(0, 2, 3, 1)
    x = torch.cat([pixels, coordinates.expand(num_sets, -1, -1, -1)], dim=-1)
    sites = grid_sites((height, width), images.device, torch.promote_types(images.dtype, torch.float32))
    return PointSet(
        x.flatten(0, 2),
        sites.repeat(num_sets, 1),
        torch.arange(num_sets + 1, device=images.device) * (height * width),
        torch.tensor([[height, width]], device=images.device).repeat(num_sets, 1),
        (height, width),
    )


def _rows(index: Tensor, num_points: int) -> Tensor:
    if index.dtype == torch.bool:
        if index.shape != (num_points,):
            raise ValueError(f"a mask must have shape ({num_points},), got {tuple(index.shape)}")
        return index.nonzero().squeeze(1)
    if index.ndim != 1 or index.is_floating_point():
        raise ValueError(f"index must be a 1-d tensor of integers or a mask, got {index.dtype} {tuple(index.shape)}")
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= num_points):
        raise ValueError(f"index must be in [0, {num_points - 1}], got {int(index.min())} to {int(index.max())}")
    return index.long()


def _flat_mask(mask: Tensor | Sequence[Tensor], sizes: Sequence[Sequence[int]]) -> Tensor:
    masks = list(mask)
    shapes = [tuple(one.shape) for one in masks]
    if shapes != [tuple(size) for size in sizes]:
        raise ValueError(f"mask must hold one (H, W) per image: {[tuple(s) for s in sizes]}, got {shapes}")
    if any(one.dtype != torch.bool for one in masks):
        raise ValueError(f"mask must be bool, got {sorted({str(one.dtype) for one in masks})}")
    return torch.cat([one.flatten() for one in masks])


def _pyg_ptr(data: Any, pos: Tensor) -> Tensor:
    ptr, batch = getattr(data, "ptr", None), getattr(data, "batch", None)
    if batch is not None and batch.numel() > 1 and bool((batch.diff() < 0).any()):
        raise ValueError("data.batch must be sorted: the points of a set follow one another")
    if ptr is not None:
        return ptr
    if batch is None:
        return torch.tensor([0, pos.shape[0]], device=pos.device)
    return counts_to_ptr(torch.bincount(batch, minlength=getattr(data, "num_graphs", None) or 0))


def _check_grid(points: PointSet, grid: Grid) -> None:
    num_axes, mixed = points.pos.shape[1], _is_mixed(grid)
    fits = all(len(one) == num_axes for one in (grid if mixed else [grid]))  # type: ignore[arg-type]
    if points.sizes is None or not fits or (mixed and len(grid) != points.num_sets):
        raise ValueError(
            f"grid needs sizes and one entry per axis of pos ({num_axes}), for all sets or for each of the "
            f"{points.num_sets}, got grid {grid}, sizes {points.sizes}"
        )
    needed = num_sites(grid) if mixed else num_sites(grid) * points.num_sets
    if points.num_points != needed:
        raise ValueError(f"grid {grid} of {points.num_sets} sets needs {needed} points, got {points.num_points}")


def _check_ptr(ptr: Tensor, num_points: int) -> None:
    bounds = ptr.tolist()
    if len(bounds) < 2:
        raise ValueError("the batch is empty: ptr must describe at least one set")
    if bounds[0] != 0 or bounds[-1] != num_points:
        raise ValueError(f"ptr must run from 0 to the number of points {num_points}, got {bounds[0]} to {bounds[-1]}")
    if any(end < begin for begin, end in itertools.pairwise(bounds)):
        raise ValueError(f"ptr must not decrease, got {bounds}")


def _check_promises(points: PointSet) -> None:
    if points.promised_size is not None and bool((points.counts != points.promised_size).any()):
        raise ValueError(f"every set is promised to have {points.promised_size} points, got {points.counts.tolist()}")
    if points.sizes is not None and points.lattices is not None:
        lattices = [list(one) for one in points.lattices]
        if points.sizes.tolist() != lattices:
            raise ValueError(f"grid promises lattices {lattices}, but sizes are {points.sizes.tolist()}")


def check_features(points: PointSet) -> None:
    """Raise ValueError unless all features are finite; waits for the device."""
    total = points.x.sum(dtype=torch.promote_types(points.x.dtype, torch.float32))
    if bool(torch.isfinite(total)):  # one pass where all is well; sums of finite values may be infinite
        return
    bad = (~torch.isfinite(points.x)).nonzero()
    if len(bad):
        _check_pos(points)  # coordinates that are features too are called coordinates
        row, column = bad[0].tolist()
        value = float(points.x[row, column])
        raise ValueError(f"x must be finite, got {value} in row {row}, column {column} ({_set_of(points, row)})")


def _set_of(points: PointSet, row: int) -> str:
    return f"set {int(torch.searchsorted(points.ptr, row, right=True)) - 1}"


def _check_pos(points: PointSet) -> None:
    bad = ~torch.isfinite(points.pos).all(dim=1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(f"pos must be finite, got {points.pos[row].tolist()} in row {row} ({_set_of(points, row)})")
    if points.sizes is None:
        return
    limit = points.sizes.index_select(0, points.batch)
    wrong = ((points.pos != points.pos.floor()) | (points.pos < 0) | (points.pos >= limit)).any(dim=1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"pos must hold integer sites of its lattice {limit[row].tolist()}, "
            f"got {points.pos[row].tolist()} in row {row}"
        )
    sites = torch.cat([points.batch[:, None], points.pos.long()], dim=1)
    if points.grid is None and sites.unique(dim=0).shape[0] != points.num_points:
        raise ValueError("pos holds a lattice site more than once; each site may appear once in a set")


def check_images(images: Tensor) -> None:
    """Raise ValueError unless images are a floating point tensor (B, C, H, W) with pixels."""
    if images.ndim != 4:
        raise ValueError(
            f"images must have shape (B, C, H, W) or be a sequence of (C, H, W), got {tuple(images.shape)}"
        )
    if not images.is_floating_point():
        raise ValueError(f"images must be floating point, got {images.dtype}; divide uint8 pixels by 255 first")
    if 0 in images.shape:
        raise ValueError(f"images must not be empty, got shape {tuple(images.shape)}")


def _check_image_list(images: Sequence[Tensor]) -> None:
    check_filled("images", images, "image")
    wrong = [tuple(image.shape) for image in images if image.ndim != 3]
    if wrong:
        raise ValueError(f"a sequence of images must hold (C, H, W) tensors, got one of shape {wrong[0]}")
    if len({(image.shape[0], image.dtype) for image in images}) > 1:
        kinds = sorted({f"{image.shape[0]} channels of {image.dtype}" for image in images})
        raise ValueError(f"images must agree in channels and dtype, got {kinds}")
