"""Networks are made of tensors as they are, and settings change only where tensors allow it."""

from __future__ import annotations

import pytest
import torch
from order_one import order_one_network

from pointcoc import ContextClusterNet
from pointcoc.models import WeightsInfo, preset
from pointcoc.models.weights.folder import build, override


def test_tensors_are_copied_and_keep_their_dtypes() -> None:
    net = order_one_network("coc_nano")
    state = net.state_dict() | {"head.bias": net.head.bias.detach().half()}
    built = build(ContextClusterNet._empty(net.config), state, WeightsInfo(source="here"))
    assert built.weights_info.source == "here"
    assert not built.training
    for name, value in built.state_dict().items():
        assert value.dtype == state[name].dtype
        assert torch.equal(value, state[name])
        assert value.data_ptr() != state[name].data_ptr()
    assert all(parameter.requires_grad and parameter.is_contiguous() for parameter in built.parameters())


def test_making_a_network_draws_no_random_numbers() -> None:
    net = order_one_network("coc_nano")
    torch.manual_seed(0)
    before = torch.get_rng_state()
    build(ContextClusterNet._empty(net.config), net.state_dict(), WeightsInfo())
    assert torch.equal(torch.get_rng_state(), before)


def test_tensors_of_another_configuration() -> None:
    net = order_one_network("coc_nano")
    with pytest.raises(ValueError, match=r"do not belong together; .*2 of another shape: head\.weight \(10, 192\)"):
        build(ContextClusterNet._empty(net.config.replace(num_classes=3)), net.state_dict(), WeightsInfo())


def test_neighbors_of_clouds_are_no_parameters_unless_they_are_joined() -> None:
    assert override(preset("coc_points"), {"neighbors": 12}).neighbors == (12, 12, 12)
    with pytest.raises(ValueError, match="neighbors=12 does not fit the parameters of the file"):
        override(preset("coc_points", pool="concat"), {"neighbors": 12})
