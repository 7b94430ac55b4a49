"""Labels and the classes they must lie in."""

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
