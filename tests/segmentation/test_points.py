"""The class of every point: order, sets and sizes do not matter; errors by a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from order_one import order_one
from set_samples import clouds, shuffled

from pointcoc import ContextClusterNet, PointSet
from pointcoc.models import save_model
from pointcoc.pointset import concat
from pointcoc.segmentation import PointSegmenter, point_segmentation
from pointcoc.train import load_weights

NARROW = {"dims": (8, 12, 16), "heads": 2, "head_dims": 4, "num_classes": 0, "in_channels": 2, "dense": True}
SCENE = {**NARROW, "dims": (8, 8, 8, 8), "voxels": (0.1, 0.2, 0.4, 0.8), "window": 16}


def segmenter(preset: str = "coc_points_small", num_categories: int | None = None) -> PointSegmenter:
    net = ContextClusterNet.from_preset(preset, **(SCENE if preset == "coc_scene" else NARROW))
    model = point_segmentation(net, num_classes=5, num_categories=num_categories)
    order_one(model.double())
    return model.eval()


@pytest.mark.parametrize("preset", ["coc_points_small", "coc_scene"])
def test_points_in_any_order_have_the_same_logits(preset: str) -> None:
    model, points = segmenter(preset), clouds(60, 33, 1)
    other, rows = shuffled(points)
    with torch.no_grad():
        logits = model(points)
        torch.testing.assert_close(model(other), logits[rows], rtol=0, atol=1e-9)
    assert logits.shape == (94, 5)
    assert float(logits.std()) > 0.1


@pytest.mark.parametrize("preset", ["coc_points_small", "coc_scene"])
def test_sets_alone_are_sets_in_a_batch_down_to_one_point(preset: str) -> None:
    model, category = segmenter(preset, 3), torch.tensor([2, 0, 1, 1])
    sets = [clouds(count, seed=count) for count in (50, 1, 2, 9)]
    with torch.no_grad():
        together = model(concat(sets), category)
        alone = torch.cat([model(one, category[row : row + 1]) for row, one in enumerate(sets)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)
    assert bool(together.isfinite().all())


def test_a_plan_made_before_gives_the_same_and_must_be_that_of_the_points() -> None:
    model, points = segmenter(), clouds(20, 5)
    with torch.no_grad():
        assert torch.equal(model(points, plan=model.net.plan(points)), model(points))
    with pytest.raises(ValueError, match="plan was made for other points"):
        model(points, plan=model.net.plan(clouds(3)))


def test_the_category_of_an_object_counts() -> None:
    model, points = segmenter(num_categories=2), clouds(20)
    first, second = (model(points, torch.tensor([number])) for number in (0, 1))
    assert float((first - second).abs().detach().max()) > 1e-3


def test_every_parameter_learns_and_one_cloud_is_learned() -> None:
    torch.manual_seed(0)
    model = point_segmentation("coc_points_small", num_classes=2, num_categories=2, dropout=0.0)
    pos = torch.randn(2, 64, 3)
    target = (pos[..., 2] > 0).long().flatten()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(model(pos, torch.tensor([0, 1])), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_weights_from_before_a_setting_of_the_network_came_are_read(tmp_path: Path) -> None:
    model, other = segmenter(), segmenter()
    save_model(tmp_path, model)
    file = tmp_path / "config.json"
    content = json.loads(file.read_text())
    for name in ("reducer", "stage_norm"):
        del content["config"]["network"][name]
    file.write_text(json.dumps(content))
    first, expected = next(other.parameters()), next(model.parameters())
    torch.nn.init.zeros_(first)
    load_weights(other, tmp_path)
    assert torch.equal(first, expected)
    content["config"]["network"]["dims"] = [8, 12, 20]
    file.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"another preset or config: network.dims is \[8, 12, 20\], expected \[8, 12, 16\]$"
    ):
        load_weights(other, tmp_path)


def test_errors() -> None:
    with pytest.raises(ValueError, match="need a network for clouds, such as coc_points or coc_scene"):
        point_segmentation("coc_nano", num_classes=3)
    with pytest.raises(ValueError, match="dense=True, got dense=False"):
        point_segmentation(ContextClusterNet.from_preset("coc_points_small"), num_classes=3)
    with pytest.raises(ValueError, match="leave it out where backbone is a network"):
        point_segmentation(segmenter().net, num_classes=3, in_channels=4)
    for words, sentence in (
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"num_classes": 2, "num_categories": 0}, "num_categories must be at least 1 or None, got 0"),
        ({"num_classes": 2, "dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            point_segmentation("coc_points_small", **words)
    points, model = clouds(8, 8), segmenter(num_categories=3)
    with pytest.raises(ValueError, match=r"kind of each set, 0 to 2, got None"):
        model(points)
    with pytest.raises(ValueError, match=r"int64 of shape \(2,\), got torch.int64 \(1,\)"):
        model(points, torch.tensor([0]))
    with pytest.raises(ValueError, match=r"category must be in \[0, 2\], got \[0, 3\]"):
        model(points, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="category must be left out"):
        segmenter()(points, torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="set 1 of the batch has no points"):
        segmenter()(PointSet(points.x, points.pos, torch.tensor([0, 16, 16])))
