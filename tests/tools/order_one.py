"""Networks with weights of order one, so that equality tests see every part of them.

A fresh network hides its cluster operation behind layer scales of 1e-5; norm weights of 1, alpha of 1 and beta of 0
hide mistakes too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointcoc import ContextClusterNet, NetworkConfig
from pointcoc.models import preset


def order_one(net: nn.Module, seed: int = 1) -> nn.Module:
    """Overwrite parameters and running statistics in place by noise of order one; the dtype stays; returns `net`."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.normal_(generator=generator)
            mean, deviation = _mean_and_deviation(name, parameter)
            parameter.mul_(deviation).add_(mean)
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1, generator=generator)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5, generator=generator)
    return net


def order_one_network(
    config: NetworkConfig | str, dtype: torch.dtype = torch.float64, **overrides
) -> ContextClusterNet:
    """Make a network from a configuration or the name of a preset, with weights of order one, in evaluation mode."""
    config = preset(config, **overrides) if isinstance(config, str) else config.replace(**overrides)
    with torch.device("meta"):  # the initial values would be overwritten
        net = ContextClusterNet(config)
    return order_one(net.to(dtype).to_empty(device="cpu")).eval()


def _mean_and_deviation(name: str, parameter: Tensor) -> tuple[float, float]:
    if name.endswith("alpha"):
        return 1.5, 0.5
    if name.endswith("beta"):
        return 0.0, 0.3
    if name.endswith(("scale1", "scale2")):
        return 0.5, 0.2
    if "norm" in name and name.endswith("weight"):
        return 1.0, 0.2
    if parameter.ndim > 1:
        return 0.0, parameter[0].numel() ** -0.5
    return 0.0, 0.1
