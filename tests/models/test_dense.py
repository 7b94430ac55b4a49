"""Backbones of dense prediction: four maps of any image, ours and timm's."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from order_one import order_one_network

from pointcoc.models import StageMaps, TimmMaps, dense_backbone

NARROW = {"depths": 1, "dims": (8, 12, 16, 20), "heads": 2, "head_dims": 4, "mlp_ratios": 2, "num_classes": 0}
STEPS = {"reducer": "steps", "stage_norm": "batch"}


def stage_maps(**overrides) -> StageMaps:
    return StageMaps(order_one_network("coc_small", **{**NARROW, "dense": True, **overrides}))


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (33, 50), (64, 96)])
def test_maps_have_4_to_32_pixels_per_point(size: tuple[int, int]) -> None:
    maps = stage_maps()(random(2, 3, *size))
    expected = [
        (2, dim, -(-size[0] // r), -(-size[1] // r)) for dim, r in zip((8, 12, 16, 20), (4, 8, 16, 32), strict=True)
    ]
    assert [tuple(one.shape) for one in maps] == expected


@pytest.mark.parametrize("overrides", [{"centers": 5}, STEPS])
def test_an_image_of_a_list_has_the_maps_that_it_has_alone(overrides: dict) -> None:
    backbone, images = stage_maps(**overrides), [random(3, 21, 40), random(3, 64, 33)]
    for maps, image in zip(backbone.each(images), images, strict=True):
        for one, alone in zip(maps, backbone(image[None]), strict=True):
            torch.testing.assert_close(one, alone, rtol=0, atol=1e-9)


def test_timm_models_give_the_same_four_maps() -> None:
    backbone = dense_backbone("resnet18")
    maps = backbone.eval()(random(1, 3, 64, 70).float())
    assert backbone.channels == (64, 128, 256, 512)
    assert [tuple(one.shape[1:]) for one in maps] == [(64, 16, 18), (128, 8, 9), (256, 4, 5), (512, 2, 3)]
    assert len(backbone.each([random(3, 32, 32).float()])) == 1


@pytest.mark.parametrize("name", ["coc_tiny", "coc_mini"])
def test_weights_of_classification_start_a_backbone(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path))
    trained = order_one_network(name, torch.float32)
    trained.save_pretrained(tmp_path / name)
    backbone = dense_backbone(name, centers=5, pretrained=True)
    assert isinstance(backbone, StageMaps)
    assert backbone.net.config.centers == (5, 5, 5, 5)
    for key, value in trained.state_dict().items():
        if not key.startswith(("norm.", "head.")):
            assert torch.equal(backbone.net.state_dict()[key], value), key


def test_a_classifier_is_removed() -> None:
    assert stage_maps(num_classes=3).net.config.num_classes == 0


def test_errors() -> None:
    with pytest.raises(
        ValueError,
        match=r"unknown backbone 'coc_smal'; choose from coc_tiny, .*coc_mini, or a model that timm.list_models",
    ):
        dense_backbone("coc_smal")
    with pytest.raises(ValueError, match=r"centers are a setting of our presets, got centers 5 for 'resnet18'"):
        dense_backbone("resnet18", centers=5)
    with pytest.raises(ValueError, match=r"strides \(4, 2, 2, 2\), as coc_small has, got .* strides \(2, 2, 2\)"):
        dense_backbone("coc_nano")
    with pytest.raises(ValueError, match="dense=True, got dense=False"):
        stage_maps(dense=False)
    with pytest.raises(ValueError, match=r"maps of reductions \(4, 8, 16, 32\), got \[4, 8, 16\]"):
        TimmMaps(timm.create_model("resnet18", features_only=True, out_indices=(1, 2, 3)))
    with pytest.raises(FileNotFoundError, match="coc_medium"):
        dense_backbone("coc_medium", pretrained=True)
