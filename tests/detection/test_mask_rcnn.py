"""Mask R-CNN: the paper's sizes, images that do not see each other's padding, and a few steps of training."""

from __future__ import annotations

import pytest
import torch
from order_one import order_one_network
from torch import Tensor

from pointcoc.detection import TrueSizeMaskRCNN, mask_rcnn
from pointcoc.models import StageMaps

NARROW = {"depths": 1, "dims": (8, 12, 16, 20), "heads": 2, "head_dims": 4, "mlp_ratios": 2, "num_classes": 0}


def narrow(network: dict | None = None, **settings) -> TrueSizeMaskRCNN:
    overrides = NARROW | {"dense": True, "centers": 5} | (network or {})
    backbone = StageMaps(order_one_network("coc_small", dtype=torch.float32, **overrides))
    torch.manual_seed(0)
    model = mask_rcnn(backbone, num_classes=3, min_size=64, max_size=150, **settings)
    assert isinstance(model, TrueSizeMaskRCNN)
    return model


def random(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def square(image: Tensor, box: tuple[int, int, int, int], label: int = 1) -> dict[str, Tensor]:
    """Draw a bright box into an image; its target."""
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = 1
    mask = torch.zeros(1, *image.shape[1:], dtype=torch.uint8)
    mask[:, y1:y2, x1:x2] = 1
    return {"boxes": torch.tensor([box]).float(), "labels": torch.tensor([label]), "masks": mask}


def nothing(image: Tensor) -> dict[str, Tensor]:
    height, width = image.shape[1:]
    return {
        "boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long(), "masks": torch.zeros(0, height, width).byte(),
    }  # fmt: skip


@pytest.mark.parametrize("centers", [2, 7])
def test_small_has_the_parameters_of_the_paper(centers: int) -> None:
    """Table 4: 33.6 M for small."""
    model = mask_rcnn("coc_small", num_classes=91, centers=centers)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(33.6e6, rel=0.05)


@pytest.mark.parametrize("network", [{}, {"reducer": "steps", "stage_norm": "batch"}])
def test_an_image_alone_is_the_image_in_a_padded_batch(network: dict) -> None:
    """A side of 64, of which no padding is left alone, and sides that no step divides."""
    model = narrow(network, box_score_thresh=0.0).double().eval()
    model.rpn._post_nms_top_n = {"training": 40, "testing": 40}  # fewer masks to draw
    model.roi_heads.detections_per_img = 20
    images = [random(3, 64, 64), random(3, 70, 149), random(3, 64, 97)]
    with torch.no_grad():
        together = model([image.clone() for image in images])
        for image, found in zip(images, together, strict=True):
            (alone,) = model([image.clone()])
            assert len(found["boxes"]) > 10
            for name in ("boxes", "scores", "labels", "masks"):
                torch.testing.assert_close(found[name], alone[name], rtol=0, atol=1e-6)


def test_a_few_steps_lower_the_loss_with_and_without_objects() -> None:
    torch.manual_seed(0)
    model = narrow().train()
    model.rpn._post_nms_top_n = {"training": 20, "testing": 20}  # fewer boxes to train on
    images = [torch.rand(3, 64, 80) / 2, torch.rand(3, 70, 64) / 2]
    targets = [square(images[0], (10, 12, 50, 48)), nothing(images[1])]
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(10):
        found = model([image.clone() for image in images], targets)
        loss = sum(found.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert set(found) == {
        "loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask",
    }  # fmt: skip
    assert losses[-1] < 0.8 * losses[0]
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_resnets_are_those_of_torchvision() -> None:
    model = mask_rcnn("resnet18", num_classes=3, min_size=64).eval()
    assert not isinstance(model, TrueSizeMaskRCNN)
    assert len(model([torch.rand(3, 64, 70)])) == 1


@pytest.mark.parametrize("rois", [8, 32])
def test_as_many_proposals_train_as_are_asked_for(rois: int) -> None:
    image = torch.rand(3, 64, 64)
    target = square(image, (8, 8, 40, 40))
    for model in (narrow(box_batch_size_per_image=rois), mask_rcnn("resnet18", box_batch_size_per_image=rois)):
        proposals, *_ = model.roi_heads.select_training_samples([torch.rand(500, 4) * 30], [target])
        assert len(proposals[0]) == rois


def test_errors() -> None:
    model = narrow()
    with pytest.raises(ValueError, match=r"unknown backbone 'coc_smal'; choose from coc_tiny, .*resnet18"):
        mask_rcnn("coc_smal")
    with pytest.raises(ValueError, match="centers are a setting of our presets"):
        mask_rcnn("resnet18", centers=5)
    with pytest.raises(ValueError, match="at least 2, got 1"):
        mask_rcnn("coc_small", num_classes=1)
    with pytest.raises(ValueError, match=r"box_batch_size_per_image must be at least 4, .* got 3"):
        mask_rcnn("resnet18", box_batch_size_per_image=3)
    with pytest.raises(ValueError, match="box_batch_size_per_image must be at least 4"):
        mask_rcnn(model.backbone.backbone, box_batch_size_per_image=0)
    with pytest.raises(ValueError, match="leave them out where it is a module"):
        mask_rcnn(model.backbone.backbone, centers=5)
    image = torch.rand(3, 64, 64)
    with pytest.raises(ValueError, match=r"targets must be given in training"):
        model([image])
    with pytest.raises(ValueError, match=r"one entry per image \(1\), got 0"):
        model([image], [])
    with pytest.raises(ValueError, match=r"boxes must have an area, got \[5.0, 5.0, 5.0, 9.0\] for image 0"):
        model([image], [{**nothing(image), "boxes": torch.tensor([[5.0, 5, 5, 9]])}])
