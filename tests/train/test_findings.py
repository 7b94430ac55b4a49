"""What a measure finds out besides its scores, counted by hand."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from pointcoc.train import evaluate
from pointcoc.train.findings import MOST_KEPT, Findings, Panel, confusion_of, picture_of
from pointcoc.train.task import Classification


class Given(nn.Module):
    """Answers with its input; a parameter gives it a device."""

    num_classes = 6

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, logits: Tensor) -> Tensor:
        return logits.flatten(1)


def logits_of(*classes: int) -> Tensor:
    """Logits whose likeliest class is given; the next ones follow in turn, the last is least likely."""
    return torch.stack([-((torch.arange(6) - one) % 6).float() for one in classes])[:, :, None, None]


TRUE = torch.tensor([0, 0, 1, 2, 2, 5])
GUESS = (0, 1, 1, 3, 3, 0)  # true classes are the 1st, 6th, 1st, 6th, 6th and 6th likeliest


def test_classes_and_items_of_a_classification() -> None:
    findings = Findings()
    data = TensorDataset(logits_of(*GUESS), TRUE)
    scores = evaluate(Given(), DataLoader(data, 4), findings=findings)
    assert scores["accuracy"] == pytest.approx(2 / 6)
    assert scores["top5_accuracy"] == pytest.approx(2 / 6)
    confusion = torch.zeros(6, 6, dtype=torch.int64)
    for true, guess in zip(TRUE.tolist(), GUESS, strict=True):
        confusion[true, guess] += 1
    assert findings.confusion is not None
    assert torch.equal(findings.confusion, confusion)
    assert findings.counts == [2, 1, 2, 0, 0, 1]
    nan = float("nan")
    assert findings.classes["accuracy"] == pytest.approx([0.5, 1, 0, nan, nan, 0], nan_ok=True)
    assert findings.classes["precision"] == pytest.approx([0.5, 0.5, nan, 0, nan, nan], nan_ok=True)
    assert findings.confused(2) == [(2, 3, 2), (0, 1, 1)]
    assert [one.index for one in findings.worst(9)] == [1, 3, 4, 5]
    assert [one.facts["predicted"] for one in findings.items] == list(GUESS)
    share = logits_of(0)[0].flatten().softmax(0)[0]
    assert findings.items[0].facts["confidence"] == pytest.approx(float(share))


def test_findings_change_no_score_and_are_not_kept_by_the_task() -> None:
    task, loader = Classification(6), DataLoader(TensorDataset(logits_of(*GUESS), TRUE), 6)
    plain = evaluate(Given(), loader, task=task)
    with_findings = evaluate(Given(), loader, task=task, findings=Findings())
    assert task.findings is None
    assert {**plain, "top5_accuracy": with_findings["top5_accuracy"]} == with_findings


def test_five_classes_have_no_top_5() -> None:
    model = Given()
    model.num_classes = 5
    data = TensorDataset(torch.eye(5)[:, :, None, None], torch.arange(5))
    assert "top5_accuracy" not in evaluate(model, DataLoader(data, 5), findings=Findings())


def test_items_of_a_stream_are_numbered_as_they_come() -> None:
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(logits_of(*GUESS), TRUE.tolist(), strict=True))

        def __len__(self) -> int:
            return 6

    findings = Findings()
    evaluate(Given(), DataLoader(Stream(), 4), findings=findings)
    assert [one.index for one in findings.items] == list(range(6))
    assert sorted(findings.kept) == [1, 3, 4, 5]


def test_pictures_of_the_worst_alone_are_drawn_and_kept() -> None:
    findings, drawn = Findings(), []

    def draw(index: int):
        drawn.append(index)
        return [Panel(title=str(index))]

    order = torch.randperm(100, generator=torch.Generator().manual_seed(0)).tolist()
    for index in order:
        findings.begin([index], 1)
        findings.add(0, index / 100, lambda index=index: draw(index))
    findings.join(Accelerator(cpu=True))
    assert sorted(findings.kept) == list(range(100 - MOST_KEPT, 100))
    assert len(drawn) < 60
    assert [one.index for one in findings.items] == list(range(100))
    assert 0 not in drawn  # nothing is wrong with it


def test_counts_of_pairs() -> None:
    found = confusion_of(torch.tensor([1, 1, 0]), torch.tensor([0, 0, 2]), 3)
    assert found.tolist() == [[0, 0, 1], [2, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_picture_reaches_from_black_to_white(channels: int) -> None:
    image = torch.linspace(-3, 5, 4 * channels).view(channels, 2, 2)
    picture = picture_of(image)
    assert picture.shape == (3, 2, 2)
    assert picture.dtype == torch.uint8
    assert (int(picture.min()), int(picture.max())) == (0, 255)
    assert picture_of(torch.zeros(1, 2, 2)).max() == 0
