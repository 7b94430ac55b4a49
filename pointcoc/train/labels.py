"""Labels and the classes they must lie in."""

import torch
from torch import Tensor, nn


def check_labels(labels: Tensor, num_classes: int) -> Tensor:
    """Check the labels of a batch before a loss meets them.

    Args:
        labels: integers (B,).
        num_classes: number of classes of the network.

    Returns:
        The labels as int64.

    Raises:
        ValueError: if they are not B integers, or one lies outside 0 to num_classes - 1; the message names it.
    """
    if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be integers (B,), got {labels.dtype} of shape {tuple(labels.shape)}")
    is_outside = (labels < 0) | (labels >= num_classes)
    if is_outside.any():
        row = int(is_outside.int().argmax())
        raise ValueError(f"labels must be in [0, {num_classes - 1}], got {int(labels[row])} at row {row} of a batch")
    return labels.long()


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return the weight of each class with which all classes count alike in a loss.

    Args:
        labels: classes of the training part, integers (N,).
        num_classes: number of classes.

    Returns:
        N over the number of classes that occur and the number of labels of each: a mean of 1 over the labels; 0 for a
        class that does not occur. Float32, shape (num_classes,).
    """
    counts = torch.bincount(labels, minlength=num_classes).double()
    weights = len(labels) / ((counts > 0).sum() * counts)
    return torch.where(counts > 0, weights, 0).float()


def balanced_positive_weights(labels: Tensor) -> Tensor:
    """Return the weight of each label with which images that have it count as much as those that do not.

    Args:
        labels: 0 or 1, shape (N, num_classes).

    Returns:
        Images without the label over those with it; 1 for a label that no image has. Float32, shape (num_classes,).
    """
    there = labels.double().sum(0)
    return torch.where(there > 0, (len(labels) - there) / there.clamp(min=1), 1).float()


def num_classes_of(model: nn.Module) -> int:
    """Return the number of classes that a network tells apart: its `num_classes`, else that of its `config`.

    Raises:
        ValueError: if it has neither.
    """
    for owner in (model, getattr(model, "config", None)):
        num_classes = getattr(owner, "num_classes", None)
        if isinstance(num_classes, int) and num_classes > 0:
            return num_classes
    raise ValueError(f"model must have num_classes, itself or in its config, got {type(model).__name__} without")
