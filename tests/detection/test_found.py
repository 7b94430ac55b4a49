"""Objects found in an image: masks as torchvision enlarges them, but never those of all objects at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as rle
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.utils import draw_segmentation_masks

from pointcoc.data.class_colors import class_colors
from pointcoc.detection.found import Found, find_objects, of_tensors
from pointcoc.detection.prediction import draw_found

SIZE = (300, 400)
BOXES = torch.tensor([[0, 0, 400, 300], [0, 0, 3.5, 2.2], [100.3, 20.7, 260.1, 299.6], [390, 290, 400, 300]])


class Heads(nn.Module):
    """Returns boxes with random masks of 28 x 28, as the heads of torchvision's detectors do."""

    def __init__(self, boxes: Tensor, has_masks: bool):
        super().__init__()
        self.boxes, self.has_masks = boxes, has_masks

    def forward(self) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        count = len(self.boxes)
        scores = torch.linspace(0.9, 0.1, count)
        found = {"boxes": self.boxes, "labels": torch.arange(count) % 3 + 1, "scores": scores}
        masks = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        return [found | {"masks": masks} if self.has_masks else found], {}


class Detector(nn.Module):
    """A detector whose answer does not depend on the image."""

    def __init__(self, boxes: Tensor, has_masks: bool = True):
        super().__init__()
        self.roi_heads = Heads(boxes, has_masks)
        self.transform = GeneralizedRCNNTransform(8, 8, [0.0], [1.0])

    def forward(self, images: list[Tensor]) -> Any:
        found, _ = self.roi_heads()
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        return self.transform.postprocess(found, sizes, sizes)


class Largest(TorchDispatchMode):
    """Notes how many values the largest tensor has that any operation returns."""

    values = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.values = max(self.values, result.numel())
        return result


def image() -> Tensor:
    return torch.zeros(3, *SIZE)


def test_masks_are_those_of_torchvision_bit_by_bit() -> None:
    model = Detector(BOXES).eval()
    (found,) = find_objects(model, [image()])
    expected = model([image()])[0]["masks"][:, 0] > 0.5
    assert torch.equal(torch.stack([found.mask(row) for row in range(len(found))]), expected)
    for runs, mask in zip(found.runs or (), expected, strict=True):
        assert runs == rle.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
    (same,) = [of_tensors(one) for one in model([image()])]
    assert same.runs == found.runs
    assert [one["segmentation"] for one in found.records(1)] == list(found.runs or ())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_masks_without_and_full_of_pixels(value: float) -> None:
    masks = torch.full((1, 1, 6, 5), value)
    one = {"boxes": BOXES[:1], "labels": torch.ones(1).long(), "scores": torch.ones(1), "masks": masks}
    found = of_tensors(one)
    assert found.runs is not None
    assert float(found.mask(0).float().mean()) == value
    assert int(rle.area(found.runs[0])) == 30 * value


def test_what_is_below_the_threshold_is_left_out_before_masks_are_enlarged() -> None:
    (found,) = find_objects(Detector(BOXES).eval(), [image()], 0.5)
    assert found.scores.tolist() == pytest.approx([0.9, 0.9 - 0.8 / 3])
    assert found.runs is not None
    assert len(found.runs) == len(found) == 2


def test_boxes_without_masks_are_found_and_drawn() -> None:
    (found,) = find_objects(Detector(BOXES, has_masks=False).eval(), [image()])
    assert isinstance(found, Found)
    assert found.runs is None
    assert "segmentation" not in found.records(1)[0]
    assert int(draw_found(image(), found, {}).sum()) > 0


def test_drawn_masks_are_those_of_torchvision() -> None:
    boxes = torch.tensor([[10.0, 10, 200, 100], [100, 110, 300, 290]])
    (found,) = find_objects(Detector(boxes).eval(), [image()])
    colors = [tuple(one) for one in class_colors(3)[1:].tolist()]
    gray = torch.full((3, *SIZE), 0.4)
    masks = torch.stack([found.mask(row) for row in range(2)])
    expected = draw_segmentation_masks((255 * gray).round().to(torch.uint8), masks, alpha=0.5, colors=colors)
    drawn = draw_found(gray, found, {})
    untouched = torch.zeros(SIZE, dtype=torch.bool)
    untouched[40:96, 14:196] = untouched[150:285, 104:296] = True  # no edge of a box and no label
    assert torch.equal(drawn[:, untouched], expected[:, untouched])
    assert len(drawn[:, untouched].unique()) > 1


@pytest.mark.parametrize("has_masks", [True, False])
def test_no_tensor_holds_the_masks_of_all_objects(has_masks: bool) -> None:
    """A hundred objects that fill their image: nothing is larger than the image."""
    with Largest() as largest:
        (found,) = find_objects(Detector(BOXES[:1].repeat(100, 1), has_masks).eval(), [image()])
        draw_found(image(), found, {})
    assert len(found) == 100
    assert largest.values <= 3 * SIZE[0] * SIZE[1]
