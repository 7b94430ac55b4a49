"""Several labels an image: loss, scores against scikit-learn, and what is no label."""

import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader

from pointcoc.train import MultiLabel, evaluate
from pointcoc.train.findings import Findings
from pointcoc.train.multi_label import average_precision


class Same(nn.Module):
    """Returns its input as logits."""

    num_classes = 4

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def samples(count: int = 30) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, 4, generator=generator).round(decimals=1)  # some are equal
    labels = (torch.rand(count, 4, generator=generator) < torch.tensor([0.5, 0.2, 0.8, 0])).float()
    return logits, labels


def test_average_precision_is_that_of_scikit_learn() -> None:
    logits, labels = samples()
    found = average_precision(logits.sigmoid(), labels)
    for column in range(3):
        expected = average_precision_score(labels[:, column].numpy(), logits[:, column].numpy())
        assert float(found[column]) == pytest.approx(expected, abs=1e-6)
    assert found[3].isnan()
    by_hand = average_precision(torch.tensor([[0.9], [0.8], [0.7]]), torch.tensor([[1.0], [0], [1]]))
    assert by_hand.tolist() == pytest.approx([(1 + 2 / 3) / 2])


def test_scores_of_a_measure() -> None:
    logits, labels = samples()
    loader = DataLoader(list(zip(logits, labels, strict=True)), batch_size=8)
    findings, task = Findings(), MultiLabel(4)
    scores = evaluate(Same(), loader, task=task, findings=findings)
    assert scores["loss"] == pytest.approx(float(binary_cross_entropy_with_logits(logits, labels)), abs=1e-6)
    assert scores["mean_ap"] == pytest.approx(float(average_precision(logits, labels)[:3].mean()), abs=1e-6)
    assert scores["f1"] == pytest.approx(f1_score(labels.numpy(), logits.numpy() >= 0, average="micro"))
    assert task.line(scores).startswith(f"mean average precision {scores['mean_ap']:.2%}, F1 ")
    assert findings.counts == labels.sum(0).int().tolist()
    wrong = ((logits >= 0) != (labels > 0)).sum(1).tolist()
    assert [one.facts["wrong_labels"] for one in findings.items] == wrong
    assert task.notes == {"multi_label": True}


def test_the_loss_counts_each_image_once_and_weighs_what_is_there() -> None:
    logits, labels = samples(6)
    weights = torch.tensor([1.0, 2, 3, 4])
    task = MultiLabel(4, positive_weights=weights)
    loss = task.loss(Same(), logits, labels, task.new_scores())
    each = binary_cross_entropy_with_logits(logits, labels, pos_weight=weights, reduction="none")
    assert float(loss.detach()) == pytest.approx(float(each.mean(1).sum()))


def test_what_is_no_label_is_named() -> None:
    logits, labels = samples(3)
    task = MultiLabel(4)
    with pytest.raises(ValueError, match=r"labels must have shape \(B, 4\), got \(3,\)"):
        task.loss(Same(), logits, labels[:, 0], task.new_scores())
    with pytest.raises(ValueError, match=r"labels must be 0 or 1, got 2\.0"):
        task.loss(Same(), logits, labels + 2 * (labels == 0), task.new_scores())
