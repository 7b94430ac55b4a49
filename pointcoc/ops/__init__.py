"""The equations of Context Clusters and the operation that runs them."""

from pointcoc.deprecation import moved
from pointcoc.ops.context_cluster import context_cluster
from pointcoc.ops.equations import Assignment, aggregate, assign, dispatch, score, unit, weights
from pointcoc.ops.operators import OPERATORS, Operator, cluster_layer
from pointcoc.ops.options import Case, ClusterOptions, ClusterWeights

__all__ = [
    "OPERATORS",
    "Assignment",
    "Case",
    "ClusterOptions",
    "ClusterWeights",
    "Operator",
    "aggregate",
    "assign",
    "cluster_layer",
    "context_cluster",
    "dispatch",
    "score",
    "unit",
    "weights",
]

__getattr__ = moved(__name__, {"BACKENDS": "pointcoc.ops.OPERATORS"})
