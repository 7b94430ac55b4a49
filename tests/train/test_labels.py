"""Labels outside the classes are named before a loss sees them."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pointcoc.train import check_labels
from pointcoc.train.labels import num_classes_of


def test_labels_inside_the_classes_come_back_as_int64() -> None:
    labels = check_labels(torch.tensor([0, 9], dtype=torch.uint8), 10)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0, 9]


@pytest.mark.parametrize(("label", "row"), [(10, 1), (-1, 1), (255, 1)])
def test_a_label_outside_is_named(label: int, row: int) -> None:
    with pytest.raises(ValueError, match=rf"labels must be in \[0, 9\], got {label} at row {row} of a batch"):
        check_labels(torch.tensor([0, label, 99]), 10)


@pytest.mark.parametrize("labels", [torch.zeros(2), torch.zeros(2, 1, dtype=torch.int64), torch.zeros(())])
def test_labels_must_be_integers_in_a_row(labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"labels must be integers \(B,\), got torch\.\w+ of shape"):
        check_labels(labels, 10)


def test_the_number_of_classes_is_the_models_or_its_configs() -> None:
    model = nn.Module()
    with pytest.raises(ValueError, match="model must have num_classes, itself or in its config, got Module without"):
        num_classes_of(model)
    model.config = SimpleNamespace(num_classes=4)  # type: ignore[assignment]
    assert num_classes_of(model) == 4
    model.num_classes = 5  # type: ignore[assignment]
    assert num_classes_of(model) == 5
