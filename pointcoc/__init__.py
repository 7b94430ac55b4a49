"""pointcoc: one network for images and point clouds, by clustering sets of points."""

from pointcoc.geometry import NetworkPlan
from pointcoc.models import PRESETS, ContextClusterNet, NetworkConfig, PointMLPCoC, PointMLPConfig, load
from pointcoc.ops import Assignment, ClusterOptions, context_cluster
from pointcoc.pointset import PointSet, cloud_to_points, concat, image_to_points
from pointcoc.version import __version__

__all__ = [
    "PRESETS",
    "Assignment",
    "ClusterOptions",
    "ContextClusterNet",
    "NetworkConfig",
    "NetworkPlan",
    "PointMLPCoC",
    "PointMLPConfig",
    "PointSet",
    "__version__",
    "cloud_to_points",
    "concat",
    "context_cluster",
    "image_to_points",
    "load",
]
