"""What a recipe for scenes asks of its training set before it starts: spacing and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from pointcoc.data.scene_features import median_spacing


@dataclass(frozen=True, eq=False)
class SceneSurvey:
    """What a training set of scenes holds.

    Args:
        spacing: median over scenes of the median distance of a point to its nearest neighbor, in units of the scenes.
        sizes: points of each scene; 0 for one that cannot be read.
    """

    spacing: float
    sizes: tuple[int, ...]

    def visits(self, view_points: int) -> list[int]:
        """Return the scene of each view of an epoch: each scene that can be read as often as it fills views.

        At least once each.

        Args:
            view_points: points of a view.
        """
        return [
            number for number, size in enumerate(self.sizes) if size for _ in range(max(1, round(size / view_points)))
        ]


def survey_scenes(scenes: Any, max_bad: int = 0) -> SceneSurvey:
    """Read every scene of a training set once.

    Args:
        scenes: data set of scenes, items with `pos` (N, 3), such as `SceneFolder`.
        max_bad: scenes that may be unreadable.

    Raises:
        ValueError: if more of them cannot be read, or all.
    """
    spacings, sizes = list[float](), list[int]()
    for number in range(len(scenes)):
        try:
            pos = scenes[number].pos
        except (OSError, ValueError):
            if sizes.count(0) >= max_bad or len(scenes) == 1:
                raise
            sizes.append(0)
            continue
        spacings.append(median_spacing(pos))
        sizes.append(len(pos))
    if not spacings:
        raise ValueError(f"none of the {len(scenes)} scenes can be read")
    return SceneSurvey(median(spacings), tuple(sizes))
