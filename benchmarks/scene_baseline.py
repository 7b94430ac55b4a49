"""Question: how well does a random forest on local shape and height name the points of scenes, in seconds?

Trains scikit-learn's random forest on points of the training areas, each described by the eigenvalues of its nearest
neighbors at two scales and by its height above the ground at three radii, and reads every point of the test areas. It
sees neither positions nor colors. A network for scenes should be ahead of it::

    python benchmarks/scene_baseline.py --data PATH --train-areas Area_1 --test-areas Area_2 --classes ground tree

How to read it: intersection over union of each class, their mean, the share of right points, and the seconds of a run.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from pointcoc.data import IGNORE, SceneFolder
from pointcoc.data.scene_features import height_above_ground, local_shape, median_spacing
from pointcoc.data.scenes import S3DIS_CLASSES
from pointcoc.segmentation import Confusion

NEIGHBORS = (16, 64)
"""Neighbors of a point that tell its shape."""
RADII = (10.0, 40.0, 160.0)
"""Radii of the ground, over the spacing of the points."""


@dataclass(frozen=True, kw_only=True)
class BaselineSettings:
    """Settings of a run."""

    data: Path
    """Folder that holds the areas."""
    train_areas: tuple[str, ...] = ("Area_1", "Area_2", "Area_3", "Area_4", "Area_6")
    """Folders of the scenes to train on."""
    test_areas: tuple[str, ...] = ("Area_5",)
    """Folders of the scenes that the forest is measured on."""
    classes: tuple[str, ...] = S3DIS_CLASSES
    """Names of the classes."""
    max_points: int = 300_000
    """Training points, an equal number of each scene."""
    trees: int = 100
    """Trees of the forest."""
    seed: int = 0
    """Of the choice of points and of the forest."""


def main(settings: BaselineSettings) -> dict[str, float]:
    """Train on the training areas, then name every point of the test areas."""
    start = time.perf_counter()
    train, test = (
        SceneFolder(settings.data, areas, classes=settings.classes)
        for areas in (settings.train_areas, settings.test_areas)
    )
    spacing = float(np.median([median_spacing(train[number].pos) for number in range(len(train))]))
    print(f"{len(train)} training and {len(test)} test scenes, points {spacing:.3g} apart")
    forest = fit_forest(train, spacing, settings)
    print(f"trained after {time.perf_counter() - start:.0f} s")
    scores = measure_forest(forest, test, spacing, len(settings.classes))
    for name, iou in zip(settings.classes, scores.iou().tolist(), strict=True):
        print(f"  {name:12} {100 * iou:5.1f} %")
    found = scores.compute()
    print(
        f"random forest: mean IoU {100 * found['mean_iou']:.1f} %, accuracy {100 * found['pixel_accuracy']:.1f} %, "
        f"{time.perf_counter() - start:.0f} s"
    )
    return found


def describe(pos: Tensor, spacing: float) -> np.ndarray:
    """Return what the forest reads of each point: shape at two scales, height at three radii, shape (N, 13)."""
    heights = [height_above_ground(pos, ratio * spacing)[:, None] for ratio in RADII]
    return torch.cat([local_shape(pos, NEIGHBORS), *heights], dim=1).numpy()


def fit_forest(train: SceneFolder, spacing: float, settings: BaselineSettings) -> RandomForestClassifier:
    """Train on points of all scenes."""
    generator = torch.Generator().manual_seed(settings.seed)
    rows, classes = [], []
    for number in range(len(train)):
        scene = train[number]
        labeled = (scene.y != IGNORE).nonzero().squeeze(1)
        chosen = labeled[torch.randperm(len(labeled), generator=generator)[: settings.max_points // len(train)]]
        rows.append(describe(scene.pos, spacing)[chosen])
        classes.append(scene.y[chosen].numpy())
    forest = RandomForestClassifier(settings.trees, min_samples_leaf=5, n_jobs=-1, random_state=settings.seed)
    return forest.fit(np.concatenate(rows), np.concatenate(classes))


def measure_forest(forest: RandomForestClassifier, test: SceneFolder, spacing: float, num_classes: int) -> Confusion:
    """Name every point of all scenes."""
    scores = Confusion(num_classes, IGNORE)
    for number in range(len(test)):
        scene = test[number]
        scores.update(torch.from_numpy(forest.predict(describe(scene.pos, spacing))), scene.y)
    return scores


if __name__ == "__main__":
    main(tyro.cli(BaselineSettings, description=__doc__))
