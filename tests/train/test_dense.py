"""What the recipes of dense prediction share."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pointcoc.detection import mask_rcnn
from pointcoc.models import ContextClusterNet, save_model
from pointcoc.segmentation import point_segmentation, semantic_fpn
from pointcoc.train.dense import DenseSettings, start_from


def test_a_smoke_run_has_two_updates_of_few_sets() -> None:
    settings = DenseSettings(updates=80_000, minutes=30, smoke=True)
    small = settings.shrink()
    assert (small.updates, small.minutes, small.smoke_sets) == (2, 0.0, 4)
    assert DenseSettings(updates=3).shrink().updates == 3


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"eval_only": True}, "eval_only needs weights"),
        ({"val_fraction": 0.1}, "val_fraction must be 0: the last weights are measured, got 0.1"),
    ],
)
def test_what_contradicts_itself_is_refused(fields: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DenseSettings(**fields)


def test_a_run_starts_from_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved, model = nn.Linear(2, 3), nn.Linear(2, 3)
    save_model(tmp_path, saved)
    assert start_from(model, DenseSettings()) is model
    assert not torch.equal(model.weight, saved.weight)
    for place in (tmp_path, tmp_path / "model.safetensors"):
        start_from(model, DenseSettings(weights=str(place)))
        assert torch.equal(model.weight, saved.weight)
    assert "9 parameters" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"no weights at .*none: give a folder"):
        start_from(model, DenseSettings(weights=str(tmp_path / "none")))


def detector(num_classes: int) -> nn.Module:
    return mask_rcnn("coc_tiny", num_classes=num_classes, min_size=64, max_size=64)


def pixels(num_classes: int) -> nn.Module:
    return semantic_fpn("coc_tiny", num_classes=num_classes)


def points(num_classes: int) -> nn.Module:
    net = ContextClusterNet.from_preset("coc_points_small", num_classes=0, dense=True)
    return point_segmentation(net, num_classes=num_classes)


@pytest.mark.parametrize("make", [detector, pixels, points])
def test_weights_for_other_classes_get_a_new_classifier(
    make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    saved, model = make(5), make(3)
    save_model(tmp_path, saved)
    start_from(model, DenseSettings(weights=str(tmp_path)))
    assert f"{tmp_path}: a new classifier, for 3 classes instead of 5" in capsys.readouterr().out
    before, expected = saved.state_dict(), make(3).state_dict()
    now = model.state_dict()
    assert {name: value.shape for name, value in now.items()} == {name: v.shape for name, v in expected.items()}
    other = {name for name in now if now[name].shape != before[name].shape}
    assert 2 <= len(other) <= 6
    assert all(torch.equal(now[name], before[name]) for name in now.keys() - other if "box_predictor" not in name)
    assert (model.config.num_classes, model.weights_info.class_names) == (3, None)
    save_model(tmp_path / "again", model)
    start_from(make(3), DenseSettings(weights=str(tmp_path / "again"), eval_only=True))
    with pytest.raises(ValueError, match=r"another preset or config: num_classes is 5, expected 3$"):
        start_from(model, DenseSettings(weights=str(tmp_path), eval_only=True))


@pytest.mark.parametrize("make", [detector, pixels, points])
def test_a_classifier_has_two_classes_at_least(make) -> None:
    with pytest.raises(ValueError, match=r"num_classes .*must be at least 2, got 1"):
        make(3).reset_classifier(1)


def test_weights_of_another_kind_are_named_by_their_kinds(tmp_path: Path) -> None:
    save_model(tmp_path, ContextClusterNet.from_preset("coc_points_small"))
    with pytest.raises(ValueError, match=r"of another kind of model: classifier, expected point_segmentation$"):
        start_from(points(3), DenseSettings(weights=str(tmp_path)))


def scenes() -> tuple[nn.Module, Tensor]:
    return semantic_fpn("coc_tiny", num_classes=3, dropout=0.0), torch.rand(1, 3, 40, 50)


def clouds() -> tuple[nn.Module, Tensor]:
    net = ContextClusterNet.from_preset("coc_points_small", num_classes=0, dense=True)
    return point_segmentation(net, num_classes=3, dropout=0.0), torch.rand(2, 64, 3)


@pytest.mark.parametrize("make", [scenes, clouds])
def test_recomputing_changes_no_gradient(make) -> None:
    torch.manual_seed(0)
    model, input = make()
    found = []
    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        model(input).square().mean().backward()
        found.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert len(found[0]) > 50
    torch.testing.assert_close(found[0], found[1])


def test_the_backbone_of_boxes_recomputes_too() -> None:
    model = mask_rcnn("coc_tiny", num_classes=2, min_size=32, max_size=64)
    model.set_grad_checkpointing()
    assert all(stage.grad_checkpointing for stage in model.backbone.backbone.net.stages)
    model.set_grad_checkpointing(False)
    assert not any(stage.grad_checkpointing for stage in model.backbone.backbone.net.stages)
