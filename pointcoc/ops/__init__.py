"""The equations of Context Clusters and the operation that runs them."""

from pointcoc.ops.context_cluster import BACKENDS, context_cluster
from pointcoc.ops.equations import Assignment, aggregate, assign, dispatch, score, unit, weights
from pointcoc.ops.options import ClusterOptions

__all__ = [
    "BACKENDS",
    "Assignment",
    "ClusterOptions",
    "aggregate",
    "assign",
    "context_cluster",
    "dispatch",
    "score",
    "unit",
    "weights",
]
