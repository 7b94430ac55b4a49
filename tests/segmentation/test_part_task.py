"""Parts of objects learn in the loop of classification, and continue bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Data

from pointcoc.data import collate_parts
from pointcoc.pointset import PointSet
from pointcoc.segmentation import PartScores, choose_parts
from pointcoc.segmentation.tasks import PartTask
from pointcoc.train import Settings, evaluate, fit

PARTS = ((0, 1), (2, 3, 4))


class Objects(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Data:
        pos = torch.randn(9 + index, 3, generator=torch.Generator().manual_seed(index))
        part = 2 * (index % 2) + (pos[:, 0] > 0).long()
        return Data(pos=pos + 0.1 * torch.randn_like(pos), y=part, category=torch.tensor([index % 2]))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.kind = nn.Linear(3, 5), nn.Embedding(2, 5)

    def forward(self, points: PointSet, category: Tensor) -> Tensor:
        return self.layer(points.x) + self.kind(category)[points.batch]


def test_a_stopped_run_of_parts_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pointcoc.train.loop.save_curves", lambda out, headline: out)
    loader = DataLoader(Objects(), 2, shuffle=True, collate_fn=collate_parts)
    options = {"updates": 5, "warmup_epochs": 0, "trackers": ("none",), "save_every": 1, "resume": "auto"}
    expected, model, calls = Net(), Net(), iter(range(1, 100))
    fit(expected, loader, None, Settings(out=tmp_path / "whole", **options), task=PartTask(PARTS))

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        if next(calls) == 4:
            raise Killed

    hook = model.register_forward_pre_hook(kill)
    run = Settings(out=tmp_path / "stopped", **options)
    with pytest.raises(Killed):
        fit(model, loader, None, run, task=PartTask(PARTS))
    hook.remove()
    fit(model, loader, None, run, task=PartTask(PARTS))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), expected.parameters(), strict=True))


def test_the_measure_is_that_of_the_objects_one_by_one() -> None:
    model, fixed = Net().eval(), [Objects()[index] for index in range(6)]
    expected = PartScores(PARTS)
    for item in fixed:
        (points, category), parts = collate_parts([item])
        chosen = choose_parts(model(points, category), category, points.ptr, PARTS)
        expected.update(chosen, parts, int(category))
    found = evaluate(model, DataLoader(fixed, 4, collate_fn=collate_parts), task=PartTask(PARTS))
    assert found.pop("loss") > 0
    assert found == pytest.approx(expected.compute())
