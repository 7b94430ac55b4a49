"""The pointwise network of a block."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pointcoc.nn.folded import are_plain
from pointcoc.ops.equations import in_torch_func

HIDDEN_BYTES = 8 << 20  # of the hidden layer at once, on a CPU


class Mlp(nn.Module):
    """Linear, GELU (exact), linear, for each point alone.

    The hidden layer is kept for the gradients before GELU only, which is computed again in backward.

    Args:
        dim: channels in and out.
        hidden: channels between.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (N, dim) to rows (N, dim)."""
        if not are_plain(self.fc1, self.act, self.fc2):
            return self.fc2(self.act(self.fc1(x)))
        return mlp(x, (self.fc1.weight, self.fc1.bias), (self.fc2.weight, self.fc2.bias))


def mlp(x: Tensor, first: tuple[Tensor, Tensor], last: tuple[Tensor, Tensor]) -> Tensor:
    """Do what `Mlp` does with weight and bias of its layers given.

    Args:
        x: shape (N, dim).
        first: shapes (hidden, dim) and (hidden,).
        last: shapes (dim, hidden) and (dim,).
    """
    parts = [gelu_linear(F.linear(part, *first), *last) for part in split_rows(x, first[0].shape[0])]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def split_rows(x: Tensor, hidden: int) -> Sequence[Tensor]:
    """Split points into parts whose hidden layer a processor's cache holds; one part where that gains nothing.

    A hidden layer of more is written to memory and read again, and one of 32 MB comes from the system and is cleared
    each time: 25 against 10 ms a block (stage 1 of coc_small, 8 images, float32, two cores).

    Args:
        x: shape (N, dim).
        hidden: channels of the hidden layer.
    """
    is_open = torch.compiler.is_exporting() or not isinstance(x.shape[0], int)  # programs for any number of points
    if is_open or x.device.type != "cpu":
        return (x,)
    return x.split(max(1, HIDDEN_BYTES // (hidden * x.element_size())))


def gelu_linear(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply GELU and a linear layer, and keep `hidden` alone for the gradients.

    Args:
        hidden: shape (N, hidden).
        weight: shape (dim, hidden).
        bias: shape (dim,).
    """
    # Inductor chooses by itself what to keep, and torch.func (per-sample gradients) cannot compute again.
    keeps = not torch.is_grad_enabled() or torch.compiler.is_compiling() or in_torch_func()
    if keeps or not (hidden.requires_grad or weight.requires_grad):
        return _gelu_linear(hidden, weight, bias)
    return checkpoint(_gelu_linear, hidden, weight, bias, use_reentrant=False, preserve_rng_state=False)


def _gelu_linear(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(F.gelu(hidden), weight, bias)
