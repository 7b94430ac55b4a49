"""Scenes in overlapping views: every point is answered, views are of the size of training, answers are joined."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from pointcoc.data import SceneInput
from pointcoc.models import CloudTransform
from pointcoc.segmentation import SceneViews, class_weights, point_segmentation, scene_scores
from pointcoc.segmentation.scene_task import SceneTask, collate_scenes
from pointcoc.train.processes import make_accelerator

INPUTS = SceneInput(CloudTransform(features=("position", "shape"), spacing=0.05, view_points=100))


def places(count: int, kind: str = "even") -> Tensor:
    pos = torch.rand(count, 3, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    if kind == "uneven":
        pos[:, :2] = pos[:, :2] ** 4
    return torch.ones_like(pos) if kind == "one place" else pos


@pytest.mark.parametrize("kind", ["even", "uneven", "one place"])
@pytest.mark.parametrize(("count", "size"), [(1, 4), (4, 4), (5, 4), (1000, 64), (777, 100), (30, 1)])
def test_views_cover_every_point_with_their_size(count: int, size: int, kind: str) -> None:
    views = SceneViews(places(count, kind), size)
    found = list(views)
    assert len(found) == len(views)
    assert torch.cat(found).unique().tolist() == list(range(count))
    assert {len(rows) for rows in found} == {min(count, size)}
    assert all(len(rows.unique()) == len(rows) for rows in found)
    assert len(found) == (1 if count <= size else -(-count // max(1, size // 2)))


def test_a_view_has_its_part_and_the_nearest_others() -> None:
    pos = places(1000, "uneven")
    views = SceneViews(pos, 64)
    for number, rows in enumerate(views):
        part = views.leaves[number]
        assert torch.equal(rows[: len(part)], part)
        middle = (pos[part, :2].amin(0) + pos[part, :2].amax(0)) / 2
        distance = (pos[:, :2] - middle).square().sum(1)
        distance[part] = torch.inf
        expected = distance.topk(64 - len(part), largest=False).indices
        assert sorted(rows[len(part) :].tolist()) == sorted(expected.tolist())


class Means(nn.Module):
    """Says of every point how many points its view has, and of the first class more where the view is large."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []

    def forward(self, points) -> Tensor:
        self.seen.append(points.x)
        first = self.scale * float(len(self.seen)) * torch.ones(points.num_points, 1)
        return torch.cat([first, torch.zeros(points.num_points, 1)], 1)


def test_scores_are_the_mean_over_the_views_of_a_point() -> None:
    scene = INPUTS.describe(Data(pos=places(250)))
    model, steps = Means(), []
    scores, num_views = scene_scores(model, scene, INPUTS, progress=lambda done, of: steps.append((done, of)))
    views = list(SceneViews(scene.pos, 100))
    assert num_views == len(views) == 5
    assert steps == [(number, 5) for number in range(1, 6)]
    for point in (0, 17, 249):
        of_point = [number for number, rows in enumerate(views, 1) if point in rows]
        expected = torch.stack([torch.tensor([float(number), 0.0]).softmax(0) for number in of_point]).mean(0)
        torch.testing.assert_close(scores[point], expected)
    torch.testing.assert_close(scores.sum(1), torch.ones(250))
    for seen, rows in zip(model.seen, views, strict=True):
        assert torch.equal(seen, INPUTS.view(scene, rows).x)  # what training reads of these points


def test_a_scene_of_one_view_is_measured_as_the_view_in_training() -> None:
    torch.manual_seed(0)
    channels = INPUTS.transform.num_features
    model = point_segmentation("coc_scene", num_classes=3, in_channels=channels).eval()
    scene = INPUTS.describe(Data(pos=places(90), y=torch.arange(90) % 3))
    scores, num_views = scene_scores(model, scene, INPUTS)
    view = INPUTS.view(scene, torch.arange(90))
    from pointcoc.pointset import PointSet

    with torch.no_grad():
        expected = model(PointSet(view.x, view.pos, torch.tensor([0, 90]))).softmax(1)
    assert num_views == 1
    torch.testing.assert_close(scores, expected)


def test_the_task_measures_every_point_and_says_the_views(capsys: pytest.CaptureFixture[str]) -> None:
    scenes = [INPUTS.describe(Data(pos=places(count), y=(torch.arange(count) % 2))) for count in (250, 60)]
    scenes[0].y[:10] = -100
    task = SceneTask(2, INPUTS)
    found = task.measure(
        Means().eval(), [collate_scenes(scenes[:1]), collate_scenes(scenes[1:])], make_accelerator("no")
    )
    assert found["accuracy"] == pytest.approx(0.5)
    assert found["mean_iou"] == pytest.approx(0.25)
    assert "2 scenes measured in 6 views of up to 100 points" in capsys.readouterr().out


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be an integer of at least 1, got 0"):
        SceneViews(places(5), 0)
    with pytest.raises(ValueError, match="at least one point, got none"):
        SceneViews(places(0), 4)


def test_class_weights_by_hand() -> None:
    counts = torch.tensor([60, 30, 10, 0])
    assert class_weights(("none",), counts) is None
    inverse = class_weights(("inverse",), counts)
    torch.testing.assert_close(inverse, torch.tensor([1 / 0.6, 1 / 0.3, 1 / 0.1, 0]) / 3)
    root = class_weights(("sqrt",), counts)
    torch.testing.assert_close(root / root[0], torch.tensor([1, 2**0.5, 6**0.5, 0]))
    assert float((root * counts).sum() / counts.sum()) == pytest.approx(1)
    assert class_weights(("1", "2", "0", "0.5"), counts).tolist() == [1, 2, 0, 0.5]
    for words, sentence in (
        (("many",), "class_weights must be none, inverse, sqrt or numbers, got many"),
        (("1", "2"), "class_weights must be 4 numbers of at least 0, one a class and not all 0, got 1 2"),
        (("1", "1", "1", "-1"), "of at least 0"),
        (("0", "0", "0", "0"), "not all 0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            class_weights(words, counts)
