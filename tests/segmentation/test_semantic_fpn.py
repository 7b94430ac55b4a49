"""Semantic FPN: sizes of the paper's models, any image, images that do not see each other."""

from __future__ import annotations

import pytest
import torch
from order_one import order_one_network

from pointcoc.models import StageMaps
from pointcoc.segmentation import SemanticFPN, semantic_fpn

MEBI = 2**20


def narrow(**overrides) -> SemanticFPN:
    dims = {"depths": 1, "dims": (8, 12, 16, 20), "heads": 2, "head_dims": 4, "mlp_ratios": 2, "num_classes": 0}
    backbone = StageMaps(order_one_network("coc_small", **dims, dense=True, **overrides))
    torch.manual_seed(0)
    return semantic_fpn(backbone, num_classes=5).double().eval()


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("centers", [2, 5, 7])
@pytest.mark.parametrize(("name", "count"), [("coc_small", 18_411_694), ("coc_medium", 33_045_190)])
def test_parameters_of_the_models_of_the_paper(name: str, count: int, centers: int) -> None:
    """Tables 5 and 7: 17.7 for small, in units of 2^20; centers have no parameters."""
    model = semantic_fpn(name, num_classes=150, centers=centers)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    if name == "coc_small":
        assert count / MEBI == pytest.approx(17.7, rel=0.01)


def test_resnet18_has_the_parameters_of_the_baseline() -> None:
    model = semantic_fpn("resnet18", num_classes=150)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(15.5e6, rel=0.01)


@pytest.mark.parametrize("size", [(1, 1), (3, 70), (37, 50), (64, 64)])
def test_logits_have_the_size_of_the_image(size: tuple[int, int]) -> None:
    assert narrow()(random(2, 3, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("overrides", [{"centers": 5}, {"reducer": "steps", "stage_norm": "batch"}])
def test_images_of_several_sizes_are_what_they_are_alone(overrides: dict) -> None:
    model, images = narrow(**overrides), [random(3, 37, 50), random(3, 20, 33)]
    for logits, image in zip(model(images), images, strict=True):
        torch.testing.assert_close(logits, model(image[None])[0], rtol=0, atol=1e-9)


def test_the_head_is_the_one_of_the_paper() -> None:
    """Levels 4 to 32: one, one, two and three convolutions; a pyramid of zeros gives the classifier's bias."""
    model = narrow()
    assert [len(level) for level in model.levels] == [1, 1, 2, 3]
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.arange(5))
    assert torch.equal(model(random(1, 3, 32, 32))[0, :, 7, 9], torch.arange(5).double())


def test_every_parameter_gets_a_gradient() -> None:
    model = narrow().train()
    model(random(2, 3, 64, 64)).square().sum().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        semantic_fpn("coc_small", num_classes=1)
    with pytest.raises(ValueError, match=r"dropout must be at least 0 and below 1, got 1"):
        semantic_fpn("coc_small", num_classes=2, dropout=1)
    with pytest.raises(ValueError, match="leave them out where it is a module"):
        semantic_fpn(narrow().backbone, num_classes=2, centers=5)
