"""ONNX forms of torch functions that torch's own exporter does not translate as this library calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18

op: Any = opset18  # its annotations leave no room for values that are not known yet


def sort(self: Any, stable: bool = False, dim: int = -1, descending: bool = False) -> Any:
    """Sort stably: TopK of all entries gives the first of equal ones first.

    `aten::sort.stable`.
    """
    size = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]), axis=0)
    return op.TopK(self, size, axis=dim, largest=int(descending), sorted=1)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.sort.stable: sort,
}
