"""The pointwise network of a block."""

from __future__ import annotations

from torch import Tensor, nn


class Mlp(nn.Module):
    """Linear, GELU (exact), linear, for each point alone.

    Args:
        dim: channels in and out.
        hidden: channels between.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (N, dim) to rows (N, dim)."""
        return self.fc2(self.act(self.fc1(x)))
