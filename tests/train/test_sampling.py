"""Balanced sampling and balanced weights: what is drawn, what counts, and the same bits after a kill."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pointcoc.train import Classification, Settings, fit, make_loaders
from pointcoc.train.batches import Batches, count_repeats
from pointcoc.train.labels import balanced_positive_weights, balanced_weights
from pointcoc.train.loaders import training_labels
from pointcoc.train.sampling import BalancedSampler

LABELS = torch.tensor([0] * 90 + [2] * 8 + [5] * 2)


class Noisy(Dataset):
    """Items are (number + noise that is drawn, class), classes of 40, 6 and 2 items."""

    labels = torch.tensor([0] * 40 + [1] * 6 + [2] * 2)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return index + torch.rand(1) / 2, int(self.labels[index])


class Linear(nn.Module):
    num_classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x / 48)


def test_all_classes_are_drawn_alike_and_all_items_of_a_class_too() -> None:
    torch.manual_seed(0)
    sampler = BalancedSampler(LABELS)
    drawn = torch.tensor([list(sampler) for _ in range(100)]).flatten()
    assert len(sampler) == 100
    shares = torch.bincount(LABELS[drawn], minlength=6) / len(drawn)
    assert shares.tolist() == pytest.approx([1 / 3, 0, 1 / 3, 0, 0, 1 / 3], abs=0.02)
    items = torch.bincount(drawn, minlength=100)
    assert items[:90].min() > 0
    assert items[98:].float().mean() == pytest.approx(10_000 / 6, rel=0.05)


def test_several_labels_cannot_be_sampled_by_class() -> None:
    with pytest.raises(ValueError, match=r"sampling must be plain where items have several labels, .* shape \(4, 3\)"):
        BalancedSampler(torch.zeros(4, 3))


def test_an_item_drawn_again_is_changed_anew_and_follows_from_the_seed_alone() -> None:
    assert count_repeats([[3, 1, 3], [1, 3]]) == [[0, 0, 1], [1, 2]]

    def read(first: int = 0, epoch: int = 1) -> list[list[float]]:
        settings = Settings(batch_size=8, val_fraction=0.0)
        loader = make_loaders(Noisy(), Noisy(), settings, sampling="balanced").train
        return [parts[0].value[0][:, 0].tolist() for parts, _ in Batches(loader, seed=4).updates(epoch, first)]

    whole = read()
    values = [value for batch in whole for value in batch]
    assert len(values) == 48
    assert len({int(value) for value in values}) < 40  # items of the small classes come again
    assert len(set(values)) == 48
    assert read(first=3) == whole[3:]
    assert read(epoch=2) != whole


def test_balanced_weights_have_a_mean_of_one() -> None:
    weights = balanced_weights(LABELS, 7)
    assert weights.tolist() == pytest.approx([100 / 270, 0, 100 / 24, 0, 0, 100 / 6, 0])
    assert float(weights[LABELS].mean()) == pytest.approx(1)
    there = torch.tensor([[1.0, 0, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0]])
    assert balanced_positive_weights(there).tolist() == pytest.approx([1 / 3, 1, 3])
    assert training_labels(make_loaders(Noisy(), Noisy(), Settings(val_fraction=0.5)).train).bincount().tolist() == [
        20, 3, 1,
    ]  # fmt: skip


def test_the_loss_of_training_is_weighted_and_that_of_a_measure_is_not() -> None:
    task, net = Classification(3, class_weights=torch.tensor([0.0, 1.0, 2.0])), Linear()
    inputs, labels = torch.rand(6, 1), torch.tensor([0, 0, 1, 1, 2, 2])
    loss = task.loss(net, inputs, labels, task.new_scores())
    each = nn.functional.cross_entropy(net(inputs), labels, reduction="none")
    assert float(loss.detach()) == pytest.approx(float((each * torch.tensor([0, 0, 1, 1, 2, 2])).sum().detach()))
    from pointcoc.train import evaluate

    loader = DataLoader(list(zip(inputs, labels.tolist(), strict=True)), batch_size=6)
    assert evaluate(net, loader, task=task)["loss"] == pytest.approx(float(each.mean().detach()))


def test_a_balanced_run_that_was_stopped_ends_with_the_same_bits(tmp_path: Path, monkeypatch) -> None:
    from pointcoc.train import loop

    def train(out: Path, resume: str = "no") -> Tensor:
        torch.manual_seed(0)
        net = Linear()
        settings = Settings(
            epochs=3, warmup_epochs=0, batch_size=8, val_fraction=0.0, save_every=2, out=out, resume=resume
        )
        loaders = make_loaders(Noisy(), Noisy(), settings, sampling="balanced")
        task = Classification(3, class_weights=balanced_weights(training_labels(loaders.train), 3))
        fit(net, loaders.train, None, settings, task=task)
        return net.linear.weight.detach()

    whole = train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        updates, one_update = iter(range(100)), loop.one_update

        def stopped(*args: object) -> float:
            if next(updates) == 9:  # within the second epoch, after a checkpoint of it
                raise KeyboardInterrupt
            return one_update(*args)

        patch.setattr(loop, "one_update", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "stopped")
    assert torch.equal(train(tmp_path / "stopped", "must"), whole)
