"""The equations of Context Clusters as small functions on (..., centers, points) matrices.

Context Clusters (ICLR 2023), section 3.2. Letters: m centers, n points, d channels; leading axes are regions and heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPS = 1e-12


@dataclass(frozen=True, eq=False)
class Assignment:
    """The center each point belongs to and how similar it is to it.

    Args:
        center: index of the center within the region, int64; where points count for all centers, the most similar.
        similarity: s in (0, 1), of the same shape.
    """

    center: Tensor
    similarity: Tensor

    def rows(self) -> Assignment:
        """Return the same with one row a point, shape (N, heads)."""
        return Assignment(self.center.flatten(0, -2), self.similarity.flatten(0, -2))


def exact(x: Tensor) -> Tensor:
    """Return features in half precision as float32, and others as they are: similarities are computed so."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def autocast_device(x: Tensor) -> str:
    """Return the type of a tensor's device as `torch.autocast` wants it: torch knows none for some, meta among them."""
    return x.device.type if torch.amp.is_autocast_available(x.device.type) else "cpu"


def in_torch_func() -> bool:
    """Whether a transform of torch.func runs, such as grad or vmap: these refuse the hooks of checkpoints."""
    return torch._C._are_functorch_transforms_active()


def unit(x: Tensor) -> Tensor:
    """Scale vectors (..., d) to length one; lengths below 1e-12 count as 1e-12."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=EPS)


def score(center: Tensor, point: Tensor, alpha: Tensor, beta: Tensor, exists: Tensor | None = None) -> Tensor:
    """Return beta + alpha cos(center, point), the similarity before the sigmoid.

    Args:
        center: shape (..., m, d).
        point: shape (..., n, d).
        alpha: shape (1,).
        beta: shape (1,).
        exists: False for proposals without points, broadcasts to (..., m, n); their score is -inf.

    Returns:
        Shape (..., m, n).
    """
    scores = beta + alpha * (unit(center) @ unit(point).mT)
    return scores if exists is None else scores.masked_fill(~exists, -torch.inf)


def assign(scores: Tensor) -> Assignment:
    """Assign each point to the center of the highest score, the first on ties: (..., m, n) to (..., n)."""
    center = scores.argmax(-2)
    return Assignment(center, scores.gather(-2, center.unsqueeze(-2)).squeeze(-2).sigmoid())


def weights(assignment: Assignment, num_centers: int) -> Tensor:
    """Return s_j where point j belongs to center i and 0 elsewhere, shape (..., m, n)."""
    centers = torch.arange(num_centers, device=assignment.center.device)[:, None]
    return assignment.similarity.unsqueeze(-2) * (assignment.center.unsqueeze(-2) == centers)


def aggregate(value: Tensor, center_value: Tensor, weight: Tensor, normalizer: str = "similarity") -> Tensor:
    """Blend each center with its points: g_i = (c_i + sum_j w_ij v_j) / (1 + sum_j w_ij).

    Args:
        value: shape (..., n, d).
        center_value: shape (..., m, d).
        weight: shape (..., m, n), zero where a point does not count.
        normalizer: "similarity" as above; "count" divides by 1 + number of points that count.

    Returns:
        Shape (..., m, d).
    """
    total = weight if normalizer == "similarity" else (weight > 0).to(weight.dtype)
    return (center_value + weight @ value) / (1 + total.sum(-1, keepdim=True))


def dispatch(center: Tensor, weight: Tensor) -> Tensor:
    """Give the features of the centers back to their points: y_j = sum_i w_ij g_i.

    Args:
        center: g, shape (..., m, d).
        weight: shape (..., m, n).

    Returns:
        Shape (..., n, d).
    """
    return weight.mT @ center
