"""Weights of classes in a loss: rare classes count more, by how often they are there or as one says."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def class_weights(words: Sequence[str], counts: Tensor) -> Tensor | None:
    """Return the weight of each class in a loss, None for equal ones.

    Args:
        words: "none"; "inverse", the inverse of the share of a class; "sqrt", its square root; or a number for each
            class. Weights by shares have a mean of 1 over what counts.
        counts: how often each class is there, shape (num_classes,).

    Returns:
        Float32 of shape (num_classes,); 0 for a class that is nowhere, by its share.

    Raises:
        ValueError: if a word is unknown, or the numbers are not one a class, at least 0, and not all 0.
    """
    if tuple(words) == ("none",):
        return None
    if len(words) == 1 and words[0] in ("inverse", "sqrt"):
        power = 1.0 if words[0] == "inverse" else 0.5
        share = counts.double() / counts.sum()
        weights = torch.where(share > 0, share.clamp(min=1e-12) ** -power, 0)
        return (weights / (weights * share).sum()).float()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise ValueError(f"class_weights must be none, inverse, sqrt or numbers, got {' '.join(words)}") from None
    if len(numbers) != len(counts) or not all(0 <= number < float("inf") for number in numbers) or not any(numbers):
        raise ValueError(
            f"class_weights must be {len(counts)} numbers of at least 0, one a class and not all 0, got "
            f"{' '.join(words)}"
        )
    return torch.tensor(numbers)
