"""Density of ModelNet40-C: clouds (N, 3) whose bounding box has its middle at 0 and its longest half side 1; y is up.

Numbers of points are those of the benchmark (arXiv 2201.12296, data/generate_c.py of its repository), which are for
1,024 points, in proportion to N.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import ConvexHull

BENCHMARK_POINTS = 1024
OCCLUSION_DISTANCE, LIDAR_DISTANCE = 3.0, 5.0
LIDAR_ELEVATION = math.radians(22.5)
LINE = math.radians(1.0)  # angle between scan lines
FLIP = 30.0  # radius of the spherical flip over the distance of the farthest point


def occlusion(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Keep what a camera sees from 30 to 60 degrees above, at a distance of 3.

    As in the benchmark the strength is a direction, not a severity: the camera stands within 36 degrees of an azimuth
    of 72 degrees times the strength. The benchmark renders the depth of the object's mesh and draws 1,024 points from
    it; here there are only points, those behind others are found with hidden point removal, and those in sight
    stay as they are: about a third of them.
    """
    elevation = draw.uniform(math.pi / 6, math.pi / 3)
    return cloud[visible(cloud, _viewpoint(strength, draw, elevation, OCCLUSION_DISTANCE))]


def lidar(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Keep what a LiDAR sees from 22.5 degrees above, at a distance of 5, on scan lines 1 degree apart.

    The strength is a direction, as in `occlusion`. The benchmark renders the mesh, drops what lies between the lines
    and draws 768 points with replacement; here every point in sight moves along its circle around the sensor, by
    half a degree at most, to the nearest line.
    """
    sensor = _viewpoint(strength, draw, LIDAR_ELEVATION, LIDAR_DISTANCE)
    ray = cloud[visible(cloud, sensor)] - sensor
    distance = np.linalg.norm(ray, axis=1)
    elevation = np.round(np.arcsin(ray[:, 1] / distance) / LINE) * LINE
    azimuth = np.arctan2(ray[:, 2], ray[:, 0])
    flat = distance * np.cos(elevation)
    return sensor + np.stack([flat * np.cos(azimuth), distance * np.sin(elevation), flat * np.sin(azimuth)], axis=1)


def density_increase(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Make 1, ..., 5 patches of 50 points (of 1,024) twice as dense and the rest thinner, so that N points remain.

    The benchmark keeps patches of 100 of 2,048 sampled points whole and thins the rest to 1,024 points in all. Here
    there are no further samples of the surface: the new points lie between two near ones.
    """
    size = _count(50, cloud)
    patches: list[np.ndarray] = []
    for number in range(1, strength + 1):
        near, rest = _patch(cloud, size, draw)
        if len(rest) < number * size:  # a cloud of a few points has none to spare for another patch
            break
        patches += [cloud[near], _between(cloud[near], draw)]
        cloud = cloud[rest]
    kept = draw.choice(len(cloud), len(cloud) - size * (len(patches) // 2), replace=False)
    return np.concatenate([cloud[np.sort(kept)], *patches])


def density_decrease(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Remove three of four points of 1, ..., 5 patches of 100 points (of 1,024)."""
    size = _count(100, cloud)
    for _ in range(strength):
        near, _ = _patch(cloud, size, draw)
        cloud = np.delete(cloud, draw.choice(near, len(near) * 3 // 4, replace=False), axis=0)
    return cloud


def cutout(cloud: np.ndarray, strength: int, draw: np.random.Generator) -> np.ndarray:
    """Remove 2, 3, 5, 7, 10 patches of 30 points (of 1,024)."""
    size = _count(30, cloud)
    for _ in range((2, 3, 5, 7, 10)[strength - 1]):
        _, rest = _patch(cloud, size, draw)
        if len(rest):
            cloud = cloud[rest]
    return cloud


def visible(cloud: np.ndarray, viewpoint: np.ndarray) -> np.ndarray:
    """Numbers of the points that are seen from a viewpoint, in order.

    Hidden point removal (Katz, Tal and Basri, Direct Visibility of Point Sets, SIGGRAPH 2007): points are flipped at a
    large sphere around the viewpoint; those on the convex hull of the flipped points and the viewpoint are seen.

    Args:
        cloud: points, shape (N, 3).
        viewpoint: shape (3,), outside of the cloud.
    """
    if len(cloud) < 4:  # no hull: they hide nothing
        return np.arange(len(cloud))
    ray = cloud - viewpoint
    distance = np.linalg.norm(ray, axis=1, keepdims=True)
    flipped = ray * (2 * FLIP * distance.max() / distance - 1)
    # QJ moves points by a rounding error, which makes a hull of flat clouds too.
    hull = ConvexHull(np.concatenate([flipped, np.zeros((1, 3))]), qhull_options="QJ")
    return np.sort(hull.vertices[hull.vertices < len(cloud)])


def _viewpoint(strength: int, draw: np.random.Generator, elevation: float, distance: float) -> np.ndarray:
    azimuth = 2 * math.pi * strength / 5 + draw.uniform(-math.pi / 5, math.pi / 5)
    flat = math.cos(elevation)
    return distance * np.array([flat * math.cos(azimuth), math.sin(elevation), flat * math.sin(azimuth)])


def _count(number: int, cloud: np.ndarray) -> int:
    return max(1, round(number * len(cloud) / BENCHMARK_POINTS))


def _patch(cloud: np.ndarray, size: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the `size` points nearest to a random one, and of the others."""
    order = np.argsort(((cloud - draw.choice(cloud)) ** 2).sum(1), kind="stable")
    return order[:size], np.sort(order[size:])


def _between(patch: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """For each point one a quarter to half of the way to one of its three nearest neighbors in the patch."""
    near = np.argsort(((patch[:, None] - patch) ** 2).sum(-1), axis=1, kind="stable")[:, 1:4]
    if near.shape[1] == 0:
        return patch.copy()
    choice = near[np.arange(len(patch)), draw.integers(near.shape[1], size=len(patch))]
    way = draw.uniform(0.25, 0.5, (len(patch), 1))  # below a half, so that two neighbors never add the same point
    return patch + way * (patch[choice] - patch)
