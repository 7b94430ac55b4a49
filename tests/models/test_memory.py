"""What training keeps for its gradients."""

from __future__ import annotations

import torch
from kept import kept_for_backward, num_bytes
from torch import Tensor, nn

from pointcoc import ContextClusterNet

MIB = 2**20


def saved_bytes(net: nn.Module, images: Tensor) -> int:
    """Bytes of all storages that backward needs, except parameters and buffers."""
    own = {value.untyped_storage().data_ptr() for value in (*net.parameters(), *net.buffers())}
    kept = kept_for_backward(lambda: net(images))
    return num_bytes([value for value in kept if value.untyped_storage().data_ptr() not in own])


def test_coc_tiny_keeps_at_most_50_mib_an_image() -> None:
    """The official code keeps 86 (float32, 224x224)."""
    net, per_image = ContextClusterNet.from_preset("coc_tiny").train(), {}
    images = {num: torch.randn(num, 3, 224, 224, generator=torch.Generator().manual_seed(0)) for num in (1, 2)}
    for recompute in (False, True):
        net.set_grad_checkpointing(recompute)
        one, two = (saved_bytes(net, batch) for batch in images.values())
        per_image[recompute] = (two - one) / MIB  # without what is kept once a batch
    assert 20 < per_image[False] <= 50
    assert 1 < per_image[True] <= 15
