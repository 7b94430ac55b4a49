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
