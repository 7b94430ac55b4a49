"""ONNX forms of two torch functions that torch's own exporter does not translate as this library calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18

op: Any = opset18  # its annotations leave no room for values that are not known yet


def repeat_interleave(repeats: Any, output_size: Any = None) -> Any:
    """Return row i `repeats[i]` times: the rows of the entries of a table that count below `repeats`.

    `aten::repeat_interleave.Tensor`; the size of the output follows from `repeats`, `output_size` only announces it.
    """
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    column = op.Unsqueeze(op.Range(zero, op.ReduceMax(repeats, keepdims=0), one), op.Constant(value_ints=[0]))
    inside = op.Less(column, op.Unsqueeze(repeats, op.Constant(value_ints=[1])))
    return op.Gather(op.NonZero(inside), zero, axis=0)


def sort(self: Any, stable: bool = False, dim: int = -1, descending: bool = False) -> Any:
    """Sort stably: TopK of all entries gives the first of equal ones first.

    `aten::sort.stable`.
    """
    size = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]), axis=0)
    return op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.repeat_interleave.Tensor: repeat_interleave,
    torch.ops.aten.sort.stable: sort,
}
