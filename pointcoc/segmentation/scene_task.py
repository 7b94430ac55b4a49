"""Classes of the points of scenes: learned from views, measured on scenes, which are read in views of the same size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch_geometric.data import Data

from pointcoc.data.scene_input import SceneInput
from pointcoc.segmentation.scene_views import scene_scores
from pointcoc.segmentation.tasks import PointTask, class_loss, closed, find_item, point_panels
from pointcoc.train.processes import say
from pointcoc.train.task import Pairs


class SceneTask(PointTask):
    """A class for each point: learned as by `PointTask`, measured on scenes from `collate_scenes`.

    Args:
        num_classes: classes of a point; the class -100 counts nowhere.
        inputs: makes the views of a scene.
        notes: see `Task`.
        class_weights: weight of each class in the loss, shape (num_classes,); None for equal ones.
    """

    def __init__(
        self,
        num_classes: int,
        inputs: SceneInput,
        notes: Mapping[str, Any] | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__(num_classes, notes, class_weights)
        self.inputs = inputs

    def measure(self, model: nn.Module, batches: Pairs, accelerator: Accelerator) -> dict[str, float]:
        """Compare every point of every scene with the joined answers of its views, and say how many; see `Task`."""
        scores = self.new_scores().to(accelerator.device)
        numbers = torch.zeros(2, dtype=torch.int64, device=accelerator.device)
        for scenes, targets in batches:
            for row, (scene, classes) in enumerate(zip(scenes, targets, strict=True)):
                with accelerator.autocast():
                    found, num_views = scene_scores(model, scene, self.inputs)
                item, log = torch.zeros_like(classes), found.clamp(min=torch.finfo(found.dtype).tiny).log()
                class_loss(log, classes, item, 1, scores, "classes of points", self.class_weights)
                numbers += torch.tensor([1, num_views], device=numbers.device)
                if self.findings is not None:
                    draw = partial(point_panels, scene.pos, classes, found.argmax(1), self.num_classes)
                    find_item(self.findings, row, found.argmax(1), classes, self.num_classes, draw)
        num_scenes, num_views = accelerator.reduce(numbers, "sum").tolist()
        say(f"{num_scenes} scenes measured in {num_views} views of up to {self.inputs.view_points:,} points")
        return closed(self, scores, accelerator)


def collate_scenes(items: Sequence[Data]) -> tuple[list[Data], list[Tensor]]:
    """Join described scenes into what `SceneTask.measure` reads: the scenes and their classes, as they are.

    Args:
        items: scenes with `pos`, `x` and `y` (see `pointcoc.data.SceneInput`).
    """
    return list(items), [item.y.long() for item in items]
