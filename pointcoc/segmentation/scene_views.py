"""A scene of any size, read in overlapping views of the size of training, whose answers are joined.

Letters: N points, L leaves, P points of a view, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from pointcoc.checks import check_count
from pointcoc.data.scene_input import SceneInput
from pointcoc.pointset import PointSet

Progress = Callable[[int, int], None]
"""Called after each view with the number of views that are done, and of all."""


@torch.no_grad()
def scene_scores(
    model: nn.Module, scene: Data, inputs: SceneInput, progress: Progress | None = None
) -> tuple[Tensor, int]:
    """Return the mean score of each class over the views that hold a point.

    One view is on the device at a time: beside the scene, memory holds N x K scores and the network on one view.

    Args:
        model: maps a `PointSet` to logits (P, K), in evaluation mode.
        scene: described by `inputs`, see `SceneInput.describe`; on any device.
        inputs: makes views.
        progress: see `Progress`.

    Returns:
        Scores, from a softmax, of shape (N, K), float32, on the device of the scene; and the number of views.
    """
    like = next(model.parameters())
    views = SceneViews(scene.pos, inputs.view_points)
    total, counts = None, scene.pos.new_zeros(len(scene.pos), dtype=torch.float32)
    for number, rows in enumerate(views, 1):
        view = inputs.view(scene, rows)
        pos = view.pos.to(like.device)
        logits = model(PointSet(view.x.to(like), pos, torch.tensor([0, len(pos)], device=like.device)))
        scores = logits.float().softmax(1).to(counts.device)
        total = scores.new_zeros(len(counts), scores.shape[1]) if total is None else total
        total.index_add_(0, rows, scores)
        counts[rows] += 1
        if progress is not None:
            progress(number, len(views))
    assert total is not None
    return total.div_(counts[:, None]), len(views)


class SceneViews:
    """Views that cover a scene: each has a part of the points, and the nearest others up to the size of a view.

    The parts hold half a view each. They come from halving the scene again and again along its longer horizontal side,
    so every point is in two views on average, and in at least one where it is not at the border of the view.

    Args:
        pos: coordinates, the last axis up, shape (N, 3), N at least 1.
        size: points of a view.

    Raises:
        ValueError: if the size is below 1, or there are no points.
    """

    def __init__(self, pos: Tensor, size: int) -> None:
        check_count("size", size)
        if not len(pos):
            raise ValueError("pos must hold at least one point, got none")
        self.size = size
        self.pos = pos[:, :2]
        num = 1 if len(pos) <= size else -(-len(pos) // max(1, size // 2))
        self.leaves = list(_halve(self.pos, torch.arange(len(pos), device=pos.device), num))
        ends = [torch.stack([self.pos[rows].amin(0), self.pos[rows].amax(0)]) for rows in self.leaves]
        self.low, self.high = torch.stack(ends).unbind(1)
        self.counts = torch.tensor([len(rows) for rows in self.leaves], device=pos.device)

    def __len__(self) -> int:
        """Return the number of views."""
        return len(self.leaves)

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the rows of each view, shape (P,), int64."""
        for number, leaf in enumerate(self.leaves):
            yield self._fill(number, leaf)

    def _fill(self, number: int, leaf: Tensor) -> Tensor:
        missing = min(self.size, len(self.pos)) - len(leaf)
        if missing <= 0:
            return leaf
        middle = (self.low[number] + self.high[number]) / 2
        others = self._near(middle, number, missing)
        distance = (self.pos[others] - middle).square().sum(1)
        return torch.cat([leaf, others[distance.topk(missing, largest=False).indices]])

    def _near(self, middle: Tensor, number: int, missing: int) -> Tensor:
        """Rows of the leaves that can hold the `missing` points nearest to a place, without leaf `number`."""
        least = (middle.clamp(self.low, self.high) - middle).square().sum(1)
        most = torch.maximum((self.low - middle).abs(), (self.high - middle).abs()).square().sum(1)
        order = most.argsort()
        order = order[order != number]
        reached = int(torch.searchsorted(self.counts[order].cumsum(0), missing))
        found = (least <= most[order[reached]]).nonzero().squeeze(1).tolist()
        return torch.cat([self.leaves[leaf] for leaf in found if leaf != number])


def _halve(pos: Tensor, rows: Tensor, num: int) -> Iterator[Tensor]:
    """Split rows into `num` parts of nearly equal numbers, each compact."""
    if num == 1:
        yield rows
        return
    places = pos[rows]
    axis = int((places.amax(0) - places.amin(0)).argmax())
    order = places[:, axis].argsort(stable=True)
    middle = len(rows) * (num // 2) // num
    yield from _halve(pos, rows[order[:middle]], num // 2)
    yield from _halve(pos, rows[order[middle:]], num - num // 2)
