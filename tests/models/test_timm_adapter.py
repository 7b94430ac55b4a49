"""The methods timm expects of a network of images."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from order_one import order_one
from torch import Tensor, nn

from pointcoc import ContextClusterNet, NetworkConfig
from pointcoc.models.timm_adapter import ContextClusterModel

SIZES = [(64, 64), (37, 50), (1, 1)]
SMALL = NetworkConfig(
    num_classes=5,
    depths=(1, 2, 1, 1),
    dims=(8, 12, 16, 20),
    heads=2,
    head_dims=4,
    mlp_ratios=2,
    regions=(2, 2, 1, 1),
)


def model(dtype: torch.dtype = torch.float64, global_pool: str = "avg", **overrides) -> ContextClusterModel:
    """Make a small model with weights of order one, in evaluation mode."""
    return order_one(ContextClusterModel(SMALL.replace(**overrides), global_pool).to(dtype)).eval()  # type: ignore


def twin(net: ContextClusterModel) -> ContextClusterNet:
    """The plain network with the same weights."""
    plain = ContextClusterNet(net.config).to(torch.float64).eval()
    plain.load_state_dict(net.state_dict())
    return plain


def images(height: int = 32, width: int = 32, channels: int = 3, num: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(num, channels, height, width, generator=generator, dtype=torch.float64)


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_weights_and_logits_are_those_of_the_network(size: tuple[int, int]) -> None:
    net, x = model(), images(*size)
    plain = twin(net)
    assert_equal(net(x), plain(x))
    net.load_state_dict(plain.state_dict())  # and back
    assert_equal(net(x, net.plan(x)), plain(x))
    assert_equal(net.forward_features(x), plain.forward_features(x).to_maps())
    for mine, theirs in zip(net.forward_intermediates(x, intermediates_only=True), plain.forward_intermediates(x)):
        assert torch.equal(mine, theirs)


def test_head_by_hand() -> None:
    net, x = model(dropout=0.5), images()
    features = net.forward_features(x)
    pooled = features.flatten(2).mean(2)
    assert_equal(net.forward_head(features, pre_logits=True), pooled)
    assert_equal(net.forward_head(features), pooled @ net.head.weight.T + net.head.bias)
    assert_equal(net(x), net.forward_head(features))
    net.train()
    assert not torch.equal(net.forward_head(features), net.forward_head(features))


def test_facts() -> None:
    net = model(in_channels=4)
    assert (net.num_classes, net.in_chans, net.num_features, net.head_hidden_size) == (5, 4, 20, 20)
    assert net.feature_info == [
        {"num_chs": dim, "reduction": reduction, "module": f"stages.{s}"}
        for s, (dim, reduction) in enumerate([(8, 4), (12, 8), (16, 16), (20, 32)])
    ]
    modules = dict(net.named_modules())
    assert all(info["module"] in modules for info in net.feature_info)


@pytest.mark.parametrize(
    ("indices", "stages"),
    [(None, [0, 1, 2, 3]), (1, [3]), (3, [1, 2, 3]), ((0, 2), [0, 2]), ((-1,), [3]), ([-2, 0], [2, 0])],
)
@pytest.mark.parametrize("stop_early", [False, True])
def test_intermediates_are_chosen(indices, stages: list[int], stop_early: bool) -> None:
    net, x = model(), images()
    every = net.forward_intermediates(x, intermediates_only=True)
    last, chosen = net.forward_intermediates(x, indices, stop_early=stop_early)
    assert len(chosen) == len(stages)
    assert all(torch.equal(one, every[s]) for one, s in zip(chosen, stages))
    whole = max(stages) == 3 or not stop_early
    assert torch.equal(last, net.forward_features(x) if whole else every[max(stages)])
    assert [one.shape[1:] for one in every] == [(8, 8, 8), (12, 4, 4), (16, 2, 2), (20, 1, 1)]


def test_the_norm_is_for_the_last_stage() -> None:
    net, x = model(), images(64, 64)
    plain = net.forward_intermediates(x, intermediates_only=True)
    normal = net.forward_intermediates(x, norm=True, intermediates_only=True)
    assert all(torch.equal(one, other) for one, other in zip(plain[:-1], normal[:-1]))
    assert torch.equal(normal[-1], net.forward_features(x))
    assert not torch.allclose(normal[-1], plain[-1])


def test_stopping_early_leaves_out_stages() -> None:
    net, x = model(), images()
    ran: list[int] = []
    for s, stage in enumerate(net.stages):
        stage.register_forward_hook(lambda *_, s=s: ran.append(s))
    net.forward_intermediates(x, (1,), stop_early=True)
    assert ran == [0, 1]


def test_dense_networks_normalize_every_stage() -> None:
    net, x = model(dense=True, num_classes=0), images()
    last, maps = net.forward_intermediates(x)
    for one, other in zip(maps, twin(net).forward_intermediates(x), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(last, maps[-1])
    assert net.prune_intermediate_layers((0, 1)) == [0, 1]
    assert net.stage_norms is not None
    assert len(net.stage_norms) == 2
    assert all(torch.equal(one, other) for one, other in zip(net.forward_intermediates(x)[1], maps))


@pytest.mark.parametrize("indices", [0, 5, (4,), (-5,), ()])
def test_stages_out_of_range(indices) -> None:
    with pytest.raises(ValueError, match=r"indices.* must "):
        model().forward_intermediates(images(), indices)
    with pytest.raises(ValueError, match=r"indices.* must "):
        model().prune_intermediate_layers(indices)


def test_other_formats() -> None:
    with pytest.raises(ValueError, match="output_fmt must be 'NCHW', got 'NLC'"):
        model().forward_intermediates(images(), output_fmt="NLC")


@pytest.mark.parametrize("window", [None, (8, None, 4, None)])
def test_pruning_keeps_what_earlier_stages_need(window) -> None:
    net, x = model(window=window), images(64, 64)
    before = net.forward_intermediates(x, (0, 1), intermediates_only=True)
    assert net.prune_intermediate_layers((0, -3)) == [0, 1]
    assert (len(net.stages), len(net.reducers), net.norm) == (2, 2, None)
    assert isinstance(net.get_classifier(), nn.Identity)
    assert (net.num_classes, net.num_features, len(net.feature_info)) == (0, 12, 2)
    assert all(torch.equal(one, other) for one, other in zip(net.forward_intermediates(x)[1], before))
    assert torch.equal(net(x), before[1])  # no norm, no pooling, no classifier
    assert net.config == model(window=window).config.replace(
        num_classes=0, depths=(1, 2), dims=(8, 12), heads=2, head_dims=4, mlp_ratios=2, strides=(4, 2),
        neighbors=(4, 3), regions=(2, 2), centers=2, center_neighbors=8, window=window and (8, None),
    )  # fmt: skip


@pytest.mark.parametrize(("prune_norm", "prune_head"), [(False, False), (False, True), (True, False), (True, True)])
def test_pruning_of_norm_and_head_alone(prune_norm: bool, prune_head: bool) -> None:
    net, x = model(), images()
    features, logits = net.forward_intermediates(x, norm=not prune_norm, intermediates_only=True)[-1], net(x)
    assert net.prune_intermediate_layers(1, prune_norm, prune_head) == [3]
    assert torch.equal(net.forward_features(x), features)
    assert (net.norm is None) == prune_norm
    assert net.num_classes == (0 if prune_head else 5)
    if not (prune_norm or prune_head):
        assert torch.equal(net(x), logits)


def test_the_classifier_is_replaced() -> None:
    net, x = model().train(), images(64, 64)
    net.reset_classifier(7)
    assert net(x).shape == (2, 7)
    assert net.get_classifier() is net.head
    assert net.head.weight.dtype == torch.float64
    net.reset_classifier(0)
    assert net(x).shape == (2, 20)
    assert net.global_pool == "avg"
    net.reset_classifier(0, "")
    assert net(x).shape == (2, 20, 2, 2)
    assert torch.equal(net(x), net.forward_features(x))
    net.reset_classifier(3, "avg")
    assert net(x).shape == (2, 3)


def test_pooling_that_is_not_there() -> None:
    net = model()
    with pytest.raises(ValueError, match="unknown global_pool 'max'; choose from 'avg', ''"):
        net.reset_classifier(4, "max")
    with pytest.raises(ValueError, match="global_pool '' leaves the map to no classifier and needs num_classes=0"):
        net.reset_classifier(4, "")
    assert net.num_classes == 5
    with pytest.raises(ValueError, match="unknown global_pool 'max'"):
        model(global_pool="max")
    assert model(global_pool="", num_classes=0)(images()).shape == (2, 20, 1, 1)


def test_clouds_have_no_timm_model() -> None:
    with pytest.raises(ValueError, match=r"timm's models read images: .* got 'fps' and 3; use ContextClusterNet"):
        ContextClusterModel(SMALL.replace(anchors="fps", pos_dim=3))


def test_checkpointing_of_gradients_changes_nothing() -> None:
    net, x = model().train(), images()
    net(x).square().sum().backward()
    plain = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net.set_grad_checkpointing()
    net(x).square().sum().backward()
    for one, parameter in zip(plain, net.parameters(), strict=True):
        assert_equal(parameter.grad, one)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies(copied) -> None:
    net, x = model(), images()
    assert torch.equal(copied(net)(x), net(x))


def test_presets_make_the_subclass() -> None:
    net = ContextClusterModel.from_preset("coc_nano")
    assert isinstance(net, ContextClusterModel)
    assert net.forward_features(torch.rand(1, 3, 32, 32)).shape == (1, 192, 4, 4)
