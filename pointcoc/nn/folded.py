"""Folding: the constants of norms and the scales of branches go into the linear layers beside them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc.nn.norm import NORMS, NormLayer

PLAIN = (nn.Linear, nn.GELU, *NORMS.values())


def after_norm(norm: NormLayer, *layers: nn.Linear, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Join linear layers of one input and fold the constants of the norm before them into weight and bias.

    The norm has a weight w and a bias b per channel, and W (w * x + b) + c = (W diag(w)) x + (W b + c). Mean and
    deviation of a set stay before the product: there they touch the channels of the input, behind it those of the
    output, which are more, and a large mean would cancel only after rounding.

    Args:
        norm: the norm before the layers.
        *layers: linear layers with bias.
        dtype: to compute in; float32 or better by default.
    """
    own = norm.weight.dtype
    dtype = dtype or torch.promote_types(own, torch.float32)
    scale, shift = norm.constants(dtype)
    weight, bias = (torch.cat(list(part)).to(dtype) for part in zip(*((one.weight, one.bias) for one in layers)))
    return (weight * scale).to(own), (bias + weight @ shift).to(own)


def before_scale(layer: nn.Linear, scale: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Fold the scale of a branch into the linear layer that ends it.

    Args:
        layer: with bias.
        scale: shape (out,).
        dtype: to compute in; float32 or better by default.
    """
    own = scale.dtype
    dtype = dtype or torch.promote_types(own, torch.float32)
    exact = scale.to(dtype)
    return (exact[:, None] * layer.weight.to(dtype)).to(own), (exact * layer.bias.to(dtype)).to(own)


def are_plain(*modules: nn.Module) -> bool:
    """Whether modules do what their class does and nobody watches them, so that their parameters say it all.

    Adapters, quantized layers and parametrizations have classes of their own; hooks must see their module called.
    Quantized weights are tensors of a class of their own, in linear layers: these compute `linear`, nothing else.
    """
    return all(
        type(one) in PLAIN
        and not (one._forward_hooks or one._forward_pre_hooks)
        and not any(is_packed(parameter) for parameter in one._parameters.values())
        for one in modules
    )


def is_packed(parameter: Tensor | None) -> bool:
    """Whether a parameter is of a class of its own, as quantized weights are; such classes know few operations."""
    return parameter is not None and type(parameter) not in (Tensor, nn.Parameter)


def frozen(value: Tensor) -> nn.Parameter:
    """Copy a tensor into a parameter that has no gradient."""
    return nn.Parameter(value.detach().clone(), requires_grad=False)
