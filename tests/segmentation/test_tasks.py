"""Classes of pixels and of points learn in the loop of classification: losses by hand, resumes, faults."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Data

from pointcoc.data import collate_points
from pointcoc.segmentation.tasks import PixelTask, PointTask, class_loss
from pointcoc.train import Settings, evaluate, fit

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader")
IGNORED = -100


class Pixels(Dataset):
    """Images whose class is the sign of their first channel, with noise that differs at each visit."""

    def __init__(self, broken: int = -1, spoiled: int = -1, is_ignored: bool = False) -> None:
        self.broken, self.spoiled, self.is_ignored = broken, spoiled, is_ignored

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == self.broken:
            raise OSError("image file is truncated")
        image = torch.randn(3, 6, 7, generator=torch.Generator().manual_seed(index))
        mask = torch.full((6, 7), IGNORED) if self.is_ignored else (image[0] > 0).long()
        mask[: 1 + index % 3] = IGNORED
        noisy = image + 0.1 * torch.randn_like(image)
        return (noisy * torch.inf if index == self.spoiled else noisy), mask

    def source(self, index: int) -> str:
        return f"{index}.png"


class Points(Pixels):
    def __getitem__(self, index: int) -> Data:
        image, mask = super().__getitem__(index)
        rows = 20 + index
        return Data(x=image.flatten(1).T[:rows], pos=image.flatten(1).T[:rows], y=mask.flatten()[:rows])


class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.1), nn.Linear(4, 2))

    def forward(self, points) -> Tensor:
        return self.layers(points.x)


def pixel_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(0.1), nn.Conv2d(4, 2, 1))


def point_net() -> nn.Module:
    torch.manual_seed(0)
    return PointNet()


KINDS = {"pixels": (pixel_net, Pixels, PixelTask, None), "points": (point_net, Points, PointTask, collate_points)}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pointcoc.train.loop.save_curves", lambda out, headline: out)
    return KINDS[request.param]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        updates=6, warmup_epochs=0, schedule="poly", min_lr=0.0, lr=0.02, batch_size=3, save_every=1, resume="auto",
        log_every=1, trackers=("none",), out=tmp_path / "run",
    )  # fmt: skip


def loader(data: Dataset, collate_fn, batch_size: int = 3) -> DataLoader:
    return DataLoader(data, batch_size, shuffle=True, collate_fn=collate_fn)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_a_kill_changes_nothing(kind, settings: Settings, tmp_path: Path, ema: float) -> None:
    make, data, task, collate = kind
    settings = replace(settings, ema=ema)
    expected, model, calls = make(), make(), iter(range(1, 100))
    result = fit(expected, loader(data(), collate), None, replace(settings, out=tmp_path / "whole"), task=task(2))

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        if next(calls) == 5:
            raise Killed

    hook = model.register_forward_pre_hook(kill)
    with pytest.raises(Killed):
        fit(model, loader(data(), collate), None, settings, task=task(2))
    hook.remove()
    model = make()
    again = fit(model, loader(data(), collate), None, settings, task=task(2))
    assert same(model, expected)
    assert (again.updates, again.epochs) == (result.updates, result.epochs) == (6, 2)


def test_it_learns_and_the_mean_iou_chooses(kind, settings: Settings) -> None:
    make, data, task, collate = kind
    model, settings = make(), replace(settings, updates=60, save_every=0)
    val = loader(data(), collate, 2)
    result = fit(model, loader(data(), collate), val, settings, task=task(2, notes={"classes": ["no", "yes"]}))
    assert result.best is not None
    assert result.best["mean_iou"] > 0.7
    assert evaluate(model, val, task=task(2)) == pytest.approx(result.best)
    lines = [json.loads(line) for line in (settings.out / "metrics.jsonl").read_text().splitlines()]
    scores = [line["mean_iou"] for line in lines if line["split"] == "val"]
    assert max(scores) == result.best["mean_iou"]


def test_a_loss_that_is_not_finite_names_what_helps(kind, settings: Settings) -> None:
    make, data, task, collate = kind
    run = replace(settings, updates=3)
    with pytest.raises(
        FloatingPointError, match=r"the loss is nan at update \d .*learning rate 0\.\d+.*smaller --lr"
    ) as e:
        fit(make(), loader(data(spoiled=5), collate), None, run, task=task(2))
    assert "bad-batch.pt" in str(e.value)
    batch = torch.load(run.out / "bad-batch.pt", weights_only=True)
    assert "5.png" in batch["sources"]


def test_an_unreadable_item_is_left_out_if_that_is_allowed(kind, settings: Settings) -> None:
    make, data, task, collate = kind
    with pytest.raises(ValueError, match=r"max_bad is 0: 2.png: image file is truncated"):
        fit(make(), loader(data(broken=2), collate), None, settings, task=task(2))
    run = replace(settings, max_bad=1, resume="no", overwrite=True)
    fit(make(), loader(data(broken=2), collate), None, run, task=task(2))
    assert (run.out / "bad_items.txt").read_text() == "2.png: image file is truncated\n"


def test_where_nothing_counts_loss_and_gradient_are_zero(kind) -> None:
    make, data, task, collate = kind
    inputs, targets = next(iter(loader(data(is_ignored=True), collate)))
    model, scores = make(), task(2).new_scores()
    loss = task(2).loss(model, inputs, targets, scores)
    loss.backward()
    assert loss.item() == 0
    assert all(bool((parameter.grad == 0).all()) for parameter in model.parameters())
    assert scores.compute() == {"loss": 0.0}


def test_the_loss_is_the_sum_of_the_means_of_the_items(kind) -> None:
    make, data, task, collate = kind
    inputs, targets = next(iter(loader(data(), collate)))
    model, one = make().eval(), task(2)
    sizes = inputs.counts.tolist() if data is Points else 1
    items = zip(model(inputs).split(sizes), targets.split(sizes), strict=True)
    expected = sum(cross_entropy(logits, target, ignore_index=IGNORED) for logits, target in items)
    torch.testing.assert_close(one.loss(model, inputs, targets, one.new_scores()), expected)


def test_wrong_classes_and_settings_are_named(kind, settings: Settings) -> None:
    make, data, task, collate = kind
    inputs, targets = next(iter(loader(data(), collate)))
    targets[-1:] = 7
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], or -100 to ignore, got 7"):
        task(2).loss(make(), inputs, targets, task(2).new_scores())
    with pytest.raises(ValueError, match="must be int64 of shape"):
        task(2).loss(make(), inputs, targets.float(), task(2).new_scores())
    with pytest.raises(ValueError, match="label_smoothing must be 0 where the task is not classification"):
        fit(make(), loader(data(), collate), None, replace(settings, label_smoothing=0.1), task=task(2))


def test_a_mask_is_measured_at_its_own_size() -> None:
    """Twice the size of the image: the logits are resized, and a window changes nothing where it holds the image."""
    model, images, masks = pixel_net().eval(), torch.randn(1, 3, 6, 7), torch.randint(0, 2, (1, 12, 14))
    pairs = DataLoader([(images[0], masks[0])], 1)
    scores = [evaluate(model, pairs, task=PixelTask(2, window)) for window in (0, 9)]
    assert scores[0] == pytest.approx(scores[1])
    logits = nn.functional.interpolate(model(images), (12, 14), mode="bilinear")
    assert scores[0]["loss"] == pytest.approx(cross_entropy(logits, masks).item())
    assert scores[0]["pixel_accuracy"] == pytest.approx((logits.argmax(1) == masks).double().mean().item())


def test_segmentation_and_detection_need_no_extra_of_training() -> None:
    words = "import sys, pointcoc.segmentation, pointcoc.detection; print({'accelerate', 'timm'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_scores_of_runs_that_kept_counts_in_a_buffer_are_read() -> None:
    scores, later = PixelTask(2).new_scores(), PixelTask(2).new_scores()
    scores.update(torch.tensor(3.0), 2, torch.tensor([0, 1, 1]), torch.tensor([0, 0, IGNORED]))
    state = scores.state_dict()
    state["counts"] = state.pop("confusion.confmat")
    later.restore(state)
    assert later.compute() == scores.compute()
    assert later.confusion.counts.tolist() == [[1, 1], [0, 0]]


def test_class_weights_by_hand() -> None:
    """A class of weight w counts as w points of it would; the mean is over weights."""
    logits, targets = torch.randn(5, 3), torch.tensor([0, 2, IGNORED, 1, 2])
    weights = torch.tensor([1.0, 3.0, 0.5])
    item = torch.tensor([0, 0, 0, 1, 1])
    expected = sum(cross_entropy(logits[a:b], targets[a:b], weights, ignore_index=IGNORED) for a, b in ((0, 3), (3, 5)))
    scores = PointTask(3).new_scores()
    found = class_loss(logits, targets, item, 2, scores, class_weights=weights)
    torch.testing.assert_close(found, expected)
    plain = class_loss(logits, targets, item, 2, PointTask(3).new_scores())
    ones = class_loss(logits, targets, item, 2, PointTask(3).new_scores(), class_weights=torch.ones(3))
    torch.testing.assert_close(ones, plain)
    zero = class_loss(logits[:1], targets[:1], item[:1], 1, scores, class_weights=torch.tensor([0.0, 1.0, 1.0]))
    assert float(zero) == 0
    images, masks = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    task = PixelTask(3, class_weights=weights)
    one = [cross_entropy(image[None], mask[None], weights) for image, mask in zip(images, masks, strict=True)]
    torch.testing.assert_close(task.loss(nn.Identity(), images, masks, task.new_scores()), sum(one))
