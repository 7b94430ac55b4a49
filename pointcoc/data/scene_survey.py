"""What a recipe for scenes asks of its training set before it starts: spacing, sizes, how often each class is there."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pointcoc.data.mask_folder import IGNORE
from pointcoc.data.scene_features import median_spacing


@dataclass(frozen=True, eq=False)
class SceneSurvey:
    """What a training set of scenes holds.

    Args:
        spacing: median over scenes of the median distance of a point to its nearest neighbor, in units of the scenes.
        sizes: points of each scene.
        class_counts: points of each class, shape (num_classes,), int64.
    """

    spacing: float
    sizes: tuple[int, ...]
    class_counts: Tensor

    def visits(self, view_points: int) -> list[int]:
        """Return the scene of each view of an epoch: each scene as often as its points fill views, at least once.

        Args:
            view_points: points of a view.
        """
        return [number for number, size in enumerate(self.sizes) for _ in range(max(1, round(size / view_points)))]


def survey_scenes(scenes: Any, num_classes: int) -> SceneSurvey:
    """Read every scene of a training set once.

    Args:
        scenes: data set of scenes, items with `pos` (N, 3) and `y` (N,), such as `SceneFolder`.
        num_classes: classes of a point.
    """
    spacings, sizes, counts = [], [], torch.zeros(num_classes, dtype=torch.int64)
    for number in range(len(scenes)):
        scene = scenes[number]
        spacings.append(median_spacing(scene.pos))
        sizes.append(len(scene.pos))
        counts += torch.bincount(scene.y[scene.y != IGNORE], minlength=num_classes)
    return SceneSurvey(median(spacings), tuple(sizes), counts)
