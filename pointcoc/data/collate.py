"""Joins items of a data set of sets into one `PointSet`, for a plain torch `DataLoader`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from pointcoc.pointset import PointSet, counts_to_ptr


def collate_sets(items: Sequence[Data]) -> tuple[PointSet, Tensor]:
    """Join sets of any number of points into one batch: `DataLoader(dataset, collate_fn=collate_sets)`.

    Values (finite coordinates, sites in range) are the data set's to check, not checked again here.

    Args:
        items: B sets with `pos` (N_b, D) and a label `y` of one integer; all or none with `x` (N_b, C), all or none
            with `sizes` (1, D). Without `x` the coordinates are the features, in float32.

    Returns:
        The batch of all points, set after set, and the labels, int64 of shape (B,).

    Raises:
        ValueError: if there are no items, an item lacks `pos` or `y` or points, or the items disagree in what they hold
            or in their numbers of columns; the message holds the item.
    """
    if not len(items):
        raise ValueError("items must hold at least one set, got none")
    pos = _columns(items, "pos")
    x = _columns(items, "x") if _all_or_none(items, "x") else pos
    sizes = _columns(items, "sizes") if _all_or_none(items, "sizes") else None
    _check_points(x, pos)
    all_pos = torch.cat(pos)
    batch = PointSet(
        x=all_pos.float() if x is pos else torch.cat(x),
        pos=all_pos,
        ptr=counts_to_ptr(torch.tensor([len(points) for points in pos])),
        sizes=None if sizes is None else torch.cat(sizes),
    )
    return batch, torch.cat([_label(item, number) for number, item in enumerate(items)])


def _all_or_none(items: Sequence[Data], name: str) -> bool:
    """Say whether the items hold the tensor `name`; raise if only some do."""
    present = [getattr(item, name, None) is not None for item in items]
    if any(present) and not all(present):
        raise ValueError(
            f"items must hold `{name}` all or none, got item {present.index(True)} with "
            f"and item {present.index(False)} without"
        )
    return present[0]


def _columns(items: Sequence[Data], name: str) -> list[Tensor]:
    """List the matrices `name` of all items; raise unless they have the same number of columns."""
    matrices: list[Tensor] = []
    for number, item in enumerate(items):
        matrix = getattr(item, name, None)
        if not isinstance(matrix, Tensor) or matrix.ndim != 2:
            raise ValueError(f"items must hold `{name}` as a matrix, got {kind_of(matrix)} in item {number}")
        if matrices and matrix.shape[1] != matrices[0].shape[1]:
            raise ValueError(
                f"items must hold `{name}` with the same number of columns, got {matrices[0].shape[1]} in item 0 and "
                f"{matrix.shape[1]} in item {number}"
            )
        matrices.append(matrix)
    return matrices


def _check_points(x: list[Tensor], pos: list[Tensor]) -> None:
    """Raise unless every set has points and a row of features for each."""
    for number, (features, points) in enumerate(zip(x, pos, strict=True)):
        if not len(points):
            raise ValueError(f"items must hold at least one point each, got none in item {number}")
        if len(features) != len(points):
            raise ValueError(
                f"items must hold one row of `x` per point, got {len(features)} rows and "
                f"{len(points)} points in item {number}"
            )


def _label(item: Data, number: int) -> Tensor:
    """Return the label of an item, int64 of shape (1,)."""
    label = getattr(item, "y", None)
    if isinstance(label, int) and not isinstance(label, bool):
        return torch.tensor([label])
    if not isinstance(label, Tensor) or label.numel() != 1 or label.is_floating_point():
        raise ValueError(f"items must hold a label `y` of one integer, got {kind_of(label)} in item {number}")
    return label.reshape(1).long()


def kind_of(value: object) -> str:
    """Say what came, in words for a message."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
