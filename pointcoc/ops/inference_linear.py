"""A linear layer for inference, with GELU in the same pass where the processor has it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
ONEDNN_DTYPES = (torch.float32, torch.bfloat16)


def inference_linear(x: Tensor, weight: Tensor, bias: Tensor, gelu: bool = False) -> Tensor:
    """Compute x W' + b, and the exact GELU of it.

    On CPUs torch's linear in float32 is MKL's product, and GELU reads and writes everything again. oneDNN's linear with
    GELU took about half the time on one core of an AMD EPYC (layers of coc_tiny, float32). torch has it as an operator
    without gradients, which inductor uses too.

    Args:
        x: shape (..., in).
        weight: shape (out, in).
        bias: shape (out,).
        gelu: apply GELU.

    Returns:
        Shape (..., out).
    """
    if _has_onednn(x, weight):
        rows = x.flatten(0, -2)  # inductor's passes over this operator expect two axes
        y = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "gelu" if gelu else "none", [], "none")
        return y.view(*x.shape[:-1], weight.shape[0])
    y = F.linear(x, weight, bias)
    return F.gelu(y) if gelu else y


def _has_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN's operator gives the same: it knows neither gradients, autocast nor other formats of files."""
    if x.device.type != "cpu" or x.dtype not in ONEDNN_DTYPES or x.dtype != weight.dtype:
        return False
    if type(weight) not in (Tensor, torch.nn.Parameter):  # quantized, say: it computes `linear` by itself
        return False
    if torch.compiler.is_exporting() or torch.is_autocast_enabled("cpu"):
        return False
    if torch.compiler.is_compiling() and (torch.is_grad_enabled() or not _is_freezing()):
        return False  # inductor refuses the operator where weights are not constants of the graph
    needs_gradients = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    return not needs_gradients and HAS_ONEDNN


def _is_freezing() -> bool:
    """Whether inductor freezes weights while a graph is traced; the graph serves after the setting is taken back."""
    return torch._inductor.config.freezing


# What torch.compiler.assume_constant_result does, which would load the compiler with `import pointcoc`.
_is_freezing._dynamo_marked_constant = True  # type: ignore[attr-defined]
