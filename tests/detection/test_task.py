"""Detection learns in the loop of classification, and continues bit by bit: with a model that has the faces of
Mask R-CNN and no weight, for the real one takes a minute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pointcoc.data import CocoImages
from pointcoc.detection import coco_scores
from pointcoc.detection.task import DetectionTask, collate_images
from pointcoc.train import Settings, evaluate, fit

pytest.importorskip("pycocotools")


@pytest.fixture
def images(tmp_path: Path) -> CocoImages:
    entries = [{"id": number, "file_name": f"{number}.png", "height": 40, "width": 50} for number in range(4)]
    box = {"bbox": [10, 8, 20, 24], "area": 480, "segmentation": [[10, 8, 30, 8, 30, 32, 10, 32]], "iscrowd": 0}
    objects = [{"id": 1 + n, "image_id": n, "category_id": 1, **box} for n in range(3)]
    for entry in entries:
        Image.new("RGB", (50, 40), (90, 50, 20)).save(tmp_path / entry["file_name"])
    content = {"images": entries, "annotations": objects, "categories": [{"id": 1}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    return CocoImages(tmp_path, tmp_path / "a.json", num_classes=2)


class Boxes(nn.Module):
    """Losses by name in training; else one box around the mean brightness. It draws, as the sampling of boxes does."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 4)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        boxes = [40 * self.layer(image.mean((1, 2))).sigmoid() for image in images]
        if targets is None:
            return [self.found(box, image) for box, image in zip(boxes, images, strict=True)]
        pairs = zip(boxes, targets, strict=True)
        error = torch.stack([(box - target["boxes"]).square().sum() for box, target in pairs]).mean()
        return {"loss_box": error, "loss_other": torch.rand(()) * self.layer.weight.sum()}

    def found(self, box: Tensor, image: Tensor) -> dict[str, Tensor]:
        box = torch.cat([box[:2], box[:2] + box[2:]])
        masks = torch.ones(1, 1, *image.shape[1:])
        return {"boxes": box[None], "labels": torch.ones(1).long(), "scores": torch.ones(1), "masks": masks}


def make() -> nn.Module:
    return Boxes()


def test_a_stopped_run_of_detection_ends_with_the_same_bits(
    images: CocoImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pointcoc.train.loop.save_curves", lambda out, headline: out)
    loader = DataLoader(images, 2, shuffle=True, collate_fn=collate_images)
    options = {"updates": 3, "warmup_epochs": 0, "trackers": ("none",), "save_every": 2, "keep": 1, "lr": 1e-3}
    expected, model, calls = make(), make(), iter(range(1, 100))
    fit(expected, loader, None, Settings(out=tmp_path / "whole", **options), task=DetectionTask())

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        if next(calls) == 3:
            raise Killed

    hook = model.register_forward_pre_hook(kill)
    run = Settings(out=tmp_path / "stopped", resume="auto", **options)
    with pytest.raises(Killed):
        fit(model, loader, None, run, task=DetectionTask())
    hook.remove()
    fit(model, loader, None, run, task=DetectionTask())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))
    found = evaluate(model, loader, task=DetectionTask(images.coco))
    model.eval()
    alone = ((images.ids[row], model([images[row][0]])[0]) for row in range(4))
    assert found == pytest.approx(coco_scores(images.coco, alone))


def test_the_loss_is_the_sum_of_the_losses_for_each_image(images: CocoImages) -> None:
    inputs, targets = collate_images([images[0], images[3], images[1]])
    model, scores = make().train(), DetectionTask().new_scores()
    torch.manual_seed(1)
    loss = DetectionTask().loss(model, inputs, targets, scores)
    torch.manual_seed(1)
    assert loss.item() == pytest.approx(3 * sum(value.item() for value in model(inputs, targets).values()))
    assert scores.compute()["loss"] == pytest.approx(loss.item() / 3)
    with pytest.raises(ValueError, match="annotations must be given to measure boxes and masks, got None"):
        evaluate(model, DataLoader(images, 2, collate_fn=collate_images), task=DetectionTask())


def test_a_loss_that_is_not_finite_leaves_images_and_targets(images: CocoImages, tmp_path: Path) -> None:
    model = make()
    torch.nn.init.constant_(model.layer.bias, torch.nan)
    run = Settings(out=tmp_path / "run", updates=2, warmup_epochs=0, trackers=("none",))
    with pytest.raises(FloatingPointError, match=r"the loss is nan at update 1 .*bad-batch.pt"):
        fit(model, DataLoader(images, 2, collate_fn=collate_images), None, run, task=DetectionTask())
    batch = torch.load(run.out / "bad-batch.pt", weights_only=True)
    assert [tuple(image.shape) for image in batch["inputs"]] == [(3, 40, 50)] * 2
    assert batch["labels"][0]["boxes"].tolist() == [[10, 8, 30, 32]]
    assert batch["sources"] == [images.source(0), images.source(1)]
