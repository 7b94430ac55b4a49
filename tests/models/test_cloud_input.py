"""What networks for clouds read: any dtype and container, or an error of one sentence; and a warning about scale."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

from pointcoc import ContextClusterNet, PointMLPCoC, PointSet
from pointcoc.models import PointMLPConfig, cloud_input
from pointcoc.pointset import concat
from pointcoc.segmentation import point_segmentation

SMALL = {"dims": (8, 12, 16), "heads": 2, "head_dims": 4, "num_classes": 3}


def make_network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "pointmlp":
        config = PointMLPConfig(
            num_classes=3, embed_dim=4, dims=(8, 8), strides=(2, 2), neighbors=(4, 3), group_depths=(1, 1),
            depths=(1, 1), hidden_dims=(8,),
        )  # fmt: skip
        return PointMLPCoC(config)
    if kind == "segmenter":
        return point_segmentation(
            ContextClusterNet.from_preset("coc_points_small", **SMALL | {"num_classes": 0, "dense": True}),
            num_classes=3,
        )
    if kind == "scene":
        dims = {"dims": (8, 8, 8, 8), "voxels": (0.1, 0.2, 0.4, 0.8), "window": 16}
        return ContextClusterNet.from_preset("coc_scene", **SMALL | dims)
    return ContextClusterNet.from_preset("coc_points_small", **SMALL)


@pytest.fixture(params=["points", "scene", "segmenter", "pointmlp"])
def net(request: pytest.FixtureRequest) -> nn.Module:
    return make_network(request.param).eval()


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_input, "_said", set())


def cloud(num: int, seed: int = 0) -> Tensor:
    return torch.randn(num, 3, generator=torch.Generator().manual_seed(seed))


def as_set(pos: Tensor, x: Tensor | None = None) -> PointSet:
    return PointSet(pos if x is None else x, pos, torch.tensor([0, len(pos)]))


FORMS = {
    "tensor": lambda pos: pos[None],
    "one cloud": lambda pos: pos,
    "float64 tensor": lambda pos: pos[None].double(),
    "array": lambda pos: pos[None].numpy(),
    "one array": lambda pos: pos.numpy(),
    "float64 array": lambda pos: pos.double().numpy(),
    "reversed array": lambda pos: pos.flip(0).numpy()[::-1],
    "swapped array": lambda pos: pos.numpy().astype(">f4"),
    "list": lambda pos: [pos],
    "tuple of arrays": lambda pos: (pos.double().numpy(),),
    "float64 data": lambda pos: Data(pos=pos.double()),
    "float64 features": lambda pos: Data(x=pos.double(), pos=pos),
    "list of data": lambda pos: [Data(pos=pos)],
    "float64 points": lambda pos: as_set(pos.double()),
    "list of points": lambda pos: [as_set(pos)],
}


@torch.inference_mode()
@pytest.mark.parametrize("form", FORMS)
def test_forms_of_one_cloud_give_the_same(net: nn.Module, form: str) -> None:
    pos = cloud(50)
    y = net(FORMS[form](pos))
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, net(as_set(pos)), rtol=0, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8])
def test_integers_are_numbers(net: nn.Module, dtype: torch.dtype) -> None:
    pos = (cloud(50) * 20 + 100).round()
    y = net(as_set(pos))
    whole = pos.to(dtype)
    for given in (whole, whole.numpy(), [whole], Data(pos=whole)):
        torch.testing.assert_close(net(given), y, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_clouds_of_different_lengths_follow_one_another(net: nn.Module) -> None:
    clouds = [cloud(n, n) for n in (20, 33, 50)]
    y = net(concat([as_set(pos) for pos in clouds]))
    for given in (clouds, tuple(clouds), [pos.double().numpy() for pos in clouds], [Data(pos=pos) for pos in clouds]):
        torch.testing.assert_close(net(given), y, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_features_follow_the_network_and_coordinates_do_not() -> None:
    net = make_network("points").bfloat16().eval()
    points = net._points(Data(pos=cloud(40).double()))
    assert (points.x.dtype, points.pos.dtype) == (torch.bfloat16, torch.float64)
    assert net(cloud(40)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "clouds is empty; give at least one cloud"),
        (
            [torch.zeros(2, 9, 3)],
            r"a sequence of clouds must hold clouds of shape \(N, C\), got one of shape \(2, 9, 3\)",
        ),
        ([torch.zeros(9, 3), torch.zeros(9, 2)], r"\(B, N, 3\) or \(N, 3\), got \(1, 9, 2\)|got \(9, 2\)"),
        ([[0.0, 0.0, 0.0]], "data has no tensor `pos`; it has type float"),
        (np.array([["a", "b", "c"]]), "clouds must be arrays of real numbers, got dtype <U1"),
        (torch.zeros(1, 9, 3, dtype=torch.complex64), "clouds must hold real numbers, got torch.complex64"),
        (torch.zeros(0, 3), r"clouds must have shape \(B, N, C\), C at least 3, got \(1, 0, 3\)"),
        (Data(x=torch.zeros(9, 2), pos=torch.zeros(9, 3)), r"must have 3 features \(x\)"),
        (Data(x=torch.zeros(9, 3)), "data has no tensor `pos`"),
        ("cloud.ply", "data has no tensor `pos`; it has type str"),
        (None, "data has no tensor `pos`; it has type NoneType"),
    ],
)
def test_what_does_not_fit_is_one_sentence(net: nn.Module, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        net(given)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_features_that_are_not_finite_are_named(net: nn.Module, value: float) -> None:
    pos, x = cloud(60), cloud(60, 1)
    x[33, 2] = value
    points = PointSet(x, pos, torch.tensor([0, 30, 60]))
    message = rf"x must be finite, got {value} in row 33, column 2 \(set 1\)"
    for given in (points, points.to_pyg()):
        with torch.inference_mode(), pytest.raises(ValueError, match=message):
            net(given)
    net.train()
    with pytest.raises(ValueError, match=message):
        net(points)


def test_coordinates_that_are_features_are_named_as_coordinates(net: nn.Module) -> None:
    pos = cloud(40)
    pos[7, 1] = torch.nan
    for given in (pos, [pos], Data(pos=pos), as_set(pos)):
        with pytest.raises(ValueError, match=r"pos must be finite, got \[.*nan.*\] in row 7 \(set 0\)"):
            net(given)


def test_large_features_are_finite() -> None:
    pos = cloud(60)
    make_network("points").eval()(as_set(pos, torch.full_like(pos, 3e38)))


@pytest.mark.parametrize(
    ("kind", "num"),
    [("points", 1), ("points", 2), ("points", 64), ("segmenter", 5), ("scene", 1), ("pointmlp", 12)],
)
def test_training_on_one_small_cloud_is_one_sentence(kind: str, num: int) -> None:
    with pytest.raises(ValueError, match="training needs more than one row at every batch norm, got 1: one small set"):
        make_network(kind).train()(as_set(cloud(num)))


@pytest.mark.parametrize("kind", ["points", "scene", "segmenter"])
@pytest.mark.parametrize("num", [1, 2, 5])
def test_evaluation_takes_one_small_cloud(kind: str, num: int) -> None:
    assert torch.isfinite(make_network(kind).eval()(as_set(cloud(num)))).all()


def test_training_takes_small_clouds_together(net: nn.Module) -> None:
    least = 12 if isinstance(net, PointMLPCoC) else 1
    y = net.train()(concat([as_set(cloud(num, num)) for num in (least, least + 1, 30)]))
    y.square().sum().backward()
    assert all(torch.isfinite(one.grad).all() for one in net.parameters() if one.grad is not None)


# ---------------------------------------------------------------------------------------------------------------------
# Coordinates as features whose numbers are out of proportion
# ---------------------------------------------------------------------------------------------------------------------

UTM = torch.tensor([5e5, 4e6, 100.0], dtype=torch.float64)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("pos", "numbers"),
    [
        (cloud(40).double() * 10 + UTM, r"center \(\d+, [\d.]+e\+06, .*extent \d\d\.\d"),
        (cloud(40).double() * 1e4, r"extent [\d.]+e\+04"),
        (cloud(40).double() * 1e-5, r"extent [\d.]+e-05"),
    ],
)
@pytest.mark.parametrize("form", [lambda pos: pos[None], lambda pos: [pos], lambda pos: Data(pos=pos), as_set])
def test_coordinates_out_of_proportion_warn_once(pos: Tensor, numbers: str, form: Any) -> None:
    net = make_network("points").eval()
    with pytest.warns(UserWarning, match=numbers):
        net(form(pos))
    net(form(pos))


@torch.inference_mode()
@pytest.mark.parametrize(
    "pos",
    [
        cloud(40),
        cloud(40) * 30 + 50,
        cloud(1) + 10,
        torch.zeros(5, 3),
        torch.rand(40, 3) * 0.01,
        torch.rand(40, 3) * torch.tensor([100.0, 80.0, 3.0]) + 900,
    ],
)
def test_usual_coordinates_do_not_warn(pos: Tensor) -> None:
    net = make_network("points").eval()
    for form in (pos[None], Data(pos=pos), [pos]):
        net(form)


@torch.inference_mode()
def test_positions_that_are_no_features_do_not_warn() -> None:
    pos = cloud(40).double() + UTM
    make_network("points").eval()(Data(x=cloud(40), pos=pos))


def test_a_batch_of_data_warns_too() -> None:
    batch = Batch.from_data_list([Data(pos=cloud(40).double() + UTM)] * 2)
    with pytest.warns(UserWarning, match="out of proportion"), torch.inference_mode():
        make_network("points").eval()(batch)


def test_export_neither_warns_nor_checks() -> None:
    net = make_network("points").eval()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="coordinates are the features")
        torch.export.export(net, (cloud(64)[None] + 1e6,))
    assert not cloud_input._said
