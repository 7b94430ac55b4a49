"""Functions of coordinates alone: neighbors, sampling, regions, centers, plans. No parameters, no features."""

from pointcoc.geometry.curve_regions import curve_regions
from pointcoc.geometry.curves import hilbert_keys, hilbert_order
from pointcoc.geometry.neighbors import gather_neighbors, knn, lattice_reduce
from pointcoc.geometry.plan import NetworkPlan, Reduction, StageGeometry, StagePlan, make_plan
from pointcoc.geometry.regions import RaggedRegions, Regions, UniformRegions
from pointcoc.geometry.sampling import canonical_order, farthest_points, voxel_points
from pointcoc.geometry.segments import Segments, segment_mean, segment_sum, spread

__all__ = [
    "NetworkPlan",
    "RaggedRegions",
    "Reduction",
    "Regions",
    "Segments",
    "StageGeometry",
    "StagePlan",
    "UniformRegions",
    "canonical_order",
    "curve_regions",
    "farthest_points",
    "gather_neighbors",
    "hilbert_keys",
    "hilbert_order",
    "knn",
    "lattice_reduce",
    "make_plan",
    "segment_mean",
    "segment_sum",
    "spread",
    "voxel_points",
]
