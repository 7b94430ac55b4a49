"""Weights of a run: what a checkpoint must not hold, and what compiling does not go with."""

import pytest
import torch

from pointcoc import ContextClusterNet
from pointcoc.train import fit
from pointcoc.train.weights import are_finite


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_value_spoils_all(tiny, value: float) -> None:
    model = tiny()
    assert are_finite(model)
    with torch.no_grad():
        model.first.weight[1, 2] = value
    assert not are_finite(model)


def test_compile_is_refused_with_shards(tiny, train_loader, settings, monkeypatch) -> None:
    monkeypatch.setattr("pointcoc.train.weights.is_sharded", lambda accelerator: True)
    with pytest.raises(ValueError, match="compile must be off with FSDP"):
        fit(tiny(), train_loader, None, settings(compile=True))


def test_compile_is_refused_where_points_are_chosen_one_by_one(train_loader, settings) -> None:
    net = ContextClusterNet.from_preset("coc_points_small", num_classes=3)
    with pytest.raises(ValueError, match=r"compile must be off for a network that chooses farthest points .* 'fps'\)"):
        fit(net, train_loader, None, settings(compile=True))
    assert not settings().out.exists()
