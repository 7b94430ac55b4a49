"""The table of operators: the ways to compute a cluster layer, and which of them runs when.

To add a variant, write its equation, add its row here, and add its name to the parity test of all rows
(tests/ops/test_operators.py).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from pointcoc.geometry.regions import RaggedRegions, Regions
from pointcoc.ops.center_side import center_side, why_center_side_later
from pointcoc.ops.equations import Assignment
from pointcoc.ops.inference_linear import inference_linear
from pointcoc.ops.options import Case, ClusterOptions, ClusterWeights, why_not_options, why_not_uniform
from pointcoc.ops.ragged import ragged
from pointcoc.ops.reference import reference
from pointcoc.ops.triton_limits import why_not_triton
from pointcoc.ops.triton_operation import triton

RENAMED = {"fused": "triton"}  # read in saved files for ever, elsewhere for one release


Operation = Callable[[Tensor, Tensor, Regions, Tensor, Tensor, ClusterOptions], tuple[Tensor, Assignment]]
Layer = Callable[[Tensor, Regions, ClusterWeights, int, ClusterOptions], tuple[Tensor, Assignment]]
Reason = Callable[[Case], str | None]


class Operator(NamedTuple):
    """A row of the table.

    Args:
        run: maps rows (N, C) in region order, regions, weights, heads and options to rows (N, C) and the `Assignment`.
        computes: options of which it computes every value; all others must have their defaults.
        why_not: says in a sentence why it cannot run, or returns None.
        why_later: says why "auto" prefers an operator that comes later, or returns None.
        operation: the same between the linear layers, on f and v (N, heads, d); None where these are never made.
    """

    run: Layer
    computes: tuple[str, ...]
    why_not: Reason
    why_later: Reason
    operation: Operation | None = None


def between(
    operation: Operation, computes: tuple[str, ...], why_not: Reason | None = None, why_later: Reason | None = None
) -> Operator:
    """Make the row of an operation that works on f and v: linear layers project before and after it.

    Args:
        operation: see `context_cluster`.
        computes: options of which it computes every value.
        why_not: why it cannot run; it always can if this is None.
        why_later: why "auto" prefers a later row; it never does if this is None.
    """
    return Operator(
        functools.partial(_projected, operation), computes, why_not or _never, why_later or _never, operation
    )


def _projected(
    operation: Operation, x: Tensor, regions: Regions, weights: ClusterWeights, heads: int, options: ClusterOptions
) -> tuple[Tensor, Assignment]:
    f, v = inference_linear(x, weights.fv_weight, weights.fv_bias).unflatten(1, (2, heads, -1)).unbind(1)
    y, assignment = operation(f, v, regions, weights.alpha, weights.beta, options)
    return inference_linear(y.flatten(1), weights.proj_weight, weights.proj_bias), assignment


def _never(case: Case) -> None:
    return None


def _why_not_center_side(case: Case) -> str | None:
    if case.dim is None:
        return "it needs the linear layers around the operation"
    return why_not_uniform(case.regions)


def _why_triton_later(case: Case) -> str:
    return "its kernels have not been timed on a GPU yet"


def _why_ragged_later(case: Case) -> str | None:
    return None if isinstance(case.regions, RaggedRegions) else "regions have equally, or nearly equally, many points"


ALL_OPTIONS = ("normalizer", "assignment", "iterations")
# "auto" takes the first row that can run and that gives no reason to go on.
OPERATORS: dict[str, Operator] = {
    "center_side": Operator(center_side, ("normalizer",), _why_not_center_side, why_center_side_later),
    "triton": between(triton, ("normalizer",), why_not_triton, _why_triton_later),
    "ragged": between(ragged, ALL_OPTIONS, why_later=_why_ragged_later),
    "reference": between(reference, ALL_OPTIONS),
}
OPERATIONS = {name: one for name, one in OPERATORS.items() if one.operation is not None}


def why_not(operator: Operator, case: Case) -> str | None:
    """Return why an operator cannot run, as a sentence, or None if it can."""
    return why_not_options(case.options, operator.computes) or operator.why_not(case)


def choose(name: str, case: Case, operators: Mapping[str, Operator] = OPERATORS) -> str:
    """Return the name of the operator that runs.

    Args:
        name: "auto" or a key of `operators`.
        case: what it runs on.
        operators: the rows to choose from, the preferred ones first.

    Raises:
        ValueError: if the name is unknown, or that operator cannot run; the message says why.
    """
    name = current_name(name)
    if name == "auto":
        fitting = (key for key, one in operators.items() if why_not(one, case) is None and one.why_later(case) is None)
        return next(fitting)
    if name not in operators:
        raise ValueError(f"unknown backend {name!r}; choose from auto, {', '.join(operators)}")
    reason = why_not(operators[name], case)
    if reason is not None:
        raise ValueError(f"backend {name!r} cannot be used: {reason}")
    return name


def current_name(name: str) -> str:
    """Return the present name of a backend, with a DeprecationWarning for an old one."""
    if name in RENAMED:
        warnings.warn(f"backend {name!r} is now called {RENAMED[name]!r}", DeprecationWarning, stacklevel=3)
    return RENAMED.get(name, name)


def cluster_layer(
    x: Tensor, regions: Regions, weights: ClusterWeights, heads: int, options: ClusterOptions, backend: str = "auto"
) -> tuple[Tensor, Assignment]:
    """Project, cluster and project back: `context_cluster` between the linear layers f, v and proj.

    Args:
        x: points in region order, shape (N, C).
        regions: where points are clustered.
        weights: parameters of the layer.
        heads: number of heads, h.
        options: of the cluster operation.
        backend: "auto", or a key of `OPERATORS`.

    Returns:
        Rows (N, C), and the `Assignment` of the points, shape (N, h), or (R, n, h) by regions (see `Assignment.rows`).

    Raises:
        ValueError: if the backend is unknown or cannot run here.
    """
    head_dim = weights.proj_weight.shape[1] // heads
    case = Case(regions, options, x.device, (x.dtype, x.dtype), (head_dim, head_dim), weights.proj_weight.shape[0])
    return OPERATORS[choose(backend, case)].run(x, regions, weights, heads, options)
