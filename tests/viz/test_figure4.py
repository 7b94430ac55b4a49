"""The comparison of networks: maps of each family, by oracles that do without the packages."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from matplotlib import colormaps
from torch import nn
from torch.nn import functional as F

from pointcoc import ContextClusterNet, image_to_points
from pointcoc.viz import activation_maps, attention_maps, figure4, overlay, trace
from pointcoc.viz.inputs import image_input

pytest.importorskip("pytorch_grad_cam", reason="class activation maps need the extra viz")


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=(32, 48), patch_size=8, embed_dim=24, num_heads=3, num_classes=5
    ).eval()


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet18", num_classes=5).eval()


def test_attention_is_the_cosine_with_the_class_token(vit: nn.Module) -> None:
    images = torch.rand(1, 3, 32, 48)
    maps = attention_maps(vit, images, (2, 11))
    tokens = vit._pos_embed(vit.patch_embed(images))
    for b, block in enumerate(vit.blocks):
        tokens = block(tokens)
        if b in (2, 11):
            expected = F.cosine_similarity(tokens[0, 0], tokens[0, 1:], dim=1).view(4, 6)
            torch.testing.assert_close(maps[(2, 11).index(b)], expected)


def test_activation_maps_of_a_cluster_network_by_hand(color_net: ContextClusterNet) -> None:
    images = torch.rand(1, 3, 32, 48)
    maps = activation_maps(color_net, images, target=1)
    points = color_net.forward_intermediates(image_to_points(images), norm=True)
    logit = color_net.forward_head(points[-1])[0, 1]
    gradients = torch.autograd.grad(logit, [one.x for one in points])
    for found, one, gradient in zip(maps, points, gradients, strict=True):
        assert found.shape == (32, 48)
        weighted = (one.x * gradient.mean(0)).sum(1).clamp(min=0).view(1, 1, *one.lattice)
        small = weighted - weighted.min()
        expected = F.interpolate(small / (1e-7 + small.max()), (32, 48), mode="bilinear")[0, 0].detach()
        expected = (expected - expected.min()) / (expected.max() - expected.min())
        assert float((found - expected).abs().max()) < 0.02  # OpenCV interpolates in fixed point


def test_one_row_a_network_and_two_for_clusters(color_net, vit: nn.Module, resnet: nn.Module) -> None:
    picture = torch.rand(32, 48, 3, dtype=torch.float64)
    figure = figure4(picture, {"ViT": vit, "ResNet": resnet, "CoC": color_net})
    titles = [axes.get_title() for axes in figure.axes]
    (one,) = trace(color_net, image_input(picture, color_net), picture)
    counts = [len(one.cluster(s).unique()) for s in range(3)]
    assert titles == [
        "ViT, attention", "block 3", "block 6", "block 9", "block 12",
        "ResNet, activation", "stage 1", "stage 2", "stage 3", "stage 4",
        "CoC, activation", "stage 1", "stage 2", "stage 3",
        "CoC, clusters", *(f"stage {s + 1}: {count} clusters" for s, count in enumerate(counts)),
    ]  # fmt: skip
    assert np.array_equal(figure.axes[16].images[0].get_array(), overlay(one, 1).numpy().clip(0, 1))
    images = ((picture - 0.5) / 0.5).permute(2, 0, 1)[None].float()  # as timm says of this network
    heat = F.interpolate(attention_maps(vit, images)[0][None, None] / 2 + 0.5, (32, 48), mode="bilinear")[0, 0]
    low, high = (attention_maps(vit, images)[0] / 2 + 0.5).aminmax()
    expected = 0.55 * colormaps["inferno"](((heat - low) / (high - low)).numpy())[..., :3] + 0.45 * picture.numpy()
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), expected, atol=0.02)
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in color_net.parameters())


def test_mistakes() -> None:
    picture = torch.rand(32, 32, 3)
    with pytest.raises(ValueError, match="models is empty"):
        figure4(picture, {})
    with pytest.raises(ValueError, match="net is a Linear; figure4 knows ContextClusterNet, timm's VisionTransformer"):
        figure4(picture, {"net": nn.Linear(3, 3)})
