"""Images of a few pixels in width or height are answered and trained on."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from pointcoc.detection import mask_rcnn
from pointcoc.detection.thin_images import ThinTransform

SETTINGS = (32, 64, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5])


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (2, 4000), (1, 1)])
def test_a_thin_image_keeps_a_pixel_and_its_boxes(size: tuple[int, int]) -> None:
    height, width = size
    target = {
        "boxes": torch.tensor([[0.0, 0, width, height]]), "labels": torch.ones(1).long(),
        "masks": torch.ones(1, height, width, dtype=torch.uint8),
    }  # fmt: skip
    batch, (resized,) = ThinTransform(GeneralizedRCNNTransform(*SETTINGS))([torch.rand(3, *size)], [target])
    ((new_height, new_width),) = batch.image_sizes
    assert min(new_height, new_width) >= 1
    assert max(new_height, new_width) <= 64
    assert resized["boxes"].tolist() == [[0, 0, new_width, new_height]]
    assert (resized["masks"].shape, resized["masks"].dtype) == ((1, new_height, new_width), torch.uint8)
    assert bool(resized["masks"].all())


@pytest.mark.parametrize("size", [(40, 60), (1, 30), (200, 64)])
def test_other_images_are_resized_as_torchvision_does(size: tuple[int, int]) -> None:
    plain = GeneralizedRCNNTransform(*SETTINGS)
    image = torch.rand(3, *size)
    assert torch.equal(ThinTransform(plain)([image])[0].tensors, plain([image])[0].tensors)


@pytest.mark.parametrize("backbone", ["coc_tiny", "resnet18"])
def test_detectors_answer(backbone: str) -> None:
    model = mask_rcnn(backbone, num_classes=2, min_size=32, max_size=64, box_score_thresh=0.0).eval()
    for size in ((1, 300), (300, 1)):
        with torch.no_grad():
            (found,) = model([torch.rand(3, *size)])
        assert found["masks"].shape[1:] == (1, *size)
        assert bool((found["boxes"] <= torch.tensor([*size[::-1], *size[::-1]])).all())
