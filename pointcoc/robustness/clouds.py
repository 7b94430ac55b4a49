"""The fifteen corruptions of ModelNet40-C for point clouds, by name."""

from __future__ import annotations

import torch
from torch import Tensor

from pointcoc.robustness import cloud_density, cloud_noise, cloud_transforms
from pointcoc.robustness.drawing import Corruption, check_corruption, generator

CLOUD_CORRUPTIONS: dict[str, Corruption] = {
    "occlusion": cloud_density.occlusion,
    "lidar": cloud_density.lidar,
    "density_increase": cloud_density.density_increase,
    "density_decrease": cloud_density.density_decrease,
    "cutout": cloud_density.cutout,
    "uniform_noise": cloud_noise.uniform_noise,
    "gaussian_noise": cloud_noise.gaussian_noise,
    "impulse_noise": cloud_noise.impulse_noise,
    "upsampling": cloud_noise.upsampling,
    "background_noise": cloud_noise.background_noise,
    "rotation": cloud_transforms.rotation,
    "shear": cloud_transforms.shear,
    "free_form": cloud_transforms.free_form,
    "radial": cloud_transforms.radial,
    "inverse_radial": cloud_transforms.inverse_radial,
}
"""Corruptions of clouds by name: density, noise, transformations."""


def corrupt_cloud(pos: Tensor, kind: str, strength: int, seed: int = 0, index: int = 0) -> Tensor:
    """Corrupt a cloud as ModelNet40-C does.

    Sun et al., Benchmarking Robustness of 3D Point Cloud Recognition against Common Corruptions, arXiv 2201.12296. All
    is computed from the points alone; `occlusion`, `lidar` and `density_increase` say how they differ from the
    benchmark, which renders meshes for them. Lengths are in half sides of the bounding box: the cloud is moved and
    scaled into the cube [-1, 1] and afterwards back by the same amounts, where the benchmark leaves the result in a box
    of its own. So the error is that of the corruption, not that of another scale.

    Args:
        pos: coordinates, shape (N, 3), finite; y is up.
        kind: one of `CLOUD_CORRUPTIONS`.
        strength: 1 to 5.
        seed: of the measurement.
        index: number of the cloud in its data set; (seed, kind, strength, index) determine what is drawn.

    Returns:
        Coordinates (M, 3), dtype and device of `pos`; M is N but for density and for added points.

    Raises:
        ValueError: if the shape, the kind or the strength is not allowed.
    """
    check_corruption(kind, strength, tuple(CLOUD_CORRUPTIONS))
    if pos.ndim != 2 or pos.shape[1] != 3 or len(pos) == 0:
        raise ValueError(f"pos must have shape (N, 3) with N > 0, got {tuple(pos.shape)}")
    cloud = pos.detach().cpu().double().numpy()
    low, high = cloud.min(0), cloud.max(0)
    middle, half = (low + high) / 2, float((high - low).max() / 2) or 1.0
    corrupted = CLOUD_CORRUPTIONS[kind]((cloud - middle) / half, strength, generator(seed, kind, strength, index))
    return torch.from_numpy(corrupted * half + middle).to(pos)
