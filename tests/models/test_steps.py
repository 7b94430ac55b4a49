"""Networks whose reducers go in small steps: the same on all paths, in training too, in files and as timm's models."""

from pathlib import Path

import pytest
import timm
import torch
from order_one import order_one, order_one_network
from torch import nn

import pointcoc.timm  # noqa: F401
from pointcoc import ContextClusterNet, concat, image_to_points
from pointcoc.export import export_network
from pointcoc.geometry import make_plan
from pointcoc.models import preset
from pointcoc.nn import BatchNorm
from pointcoc.train import load_weights

SMALL = {"depths": 1, "dims": (8, 12, 16, 20), "head_dims": 4, "window": (4, 4, 2, 2), "num_classes": 5}


@pytest.fixture(scope="module", params=[False, True])
def net(request) -> ContextClusterNet:
    return order_one_network("coc_mini", dense=request.param, **SMALL)


def images(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 64), (37, 50), (4, 3)])
def test_grid_shuffled_ragged_masked_and_fused_are_equal(net, size: tuple[int, int]) -> None:
    batch = images(2, 3, *size)
    points, logits = image_to_points(batch), net(batch)
    assert logits.std() > 0.05
    order = torch.randperm(points.num_points, generator=torch.Generator().manual_seed(1))
    close(net(points), logits)
    close(net(points.take(order)), logits)
    close(net([batch[0], images(3, 30, 41)])[:1], logits[:1])
    fused = net.fuse()
    close(fused(batch), logits)
    for actual, expected in zip(fused.forward_intermediates(batch), net.forward_intermediates(batch), strict=True):
        close(actual, expected)
    masked = points.take(torch.arange(0, points.num_points, 3))
    close(fused(masked), net(masked))
    close(net(concat([masked, points]))[:2], net(masked))


def test_training_does_not_see_the_order_of_the_pixels() -> None:
    batch = images(2, 3, 16, 20)
    points = image_to_points(batch)
    order = torch.randperm(points.num_points, generator=torch.Generator().manual_seed(1))
    gradients, statistics = [], []
    for given in (batch, points.take(order)):
        net = order_one_network("coc_mini", dense=True, **SMALL).train()
        net(given).square().sum().backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
        statistics.append([buffer for buffer in net.buffers() if buffer.is_floating_point()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
    for a, b in zip(*statistics, strict=True):
        close(a, b)


def test_plans_hold_the_steps_and_move() -> None:
    config = preset("coc_mini", **SMALL)
    points = image_to_points(images(1, 3, 16, 12))
    for plan in (make_plan(points, config.geometry), make_plan(points.take(torch.arange(20)), config.geometry)):
        assert [len(stage.before) for stage in plan.stages] == [2, 1, 1, 1]
        moved = plan.to("meta").stages[0]
        assert [step.anchors.pos.device.type for step in moved.steps] == ["meta"] * 3
        assert moved.regions.segments.ptr.device.type == "meta"
    whole = make_plan(points, config.geometry)
    whole.check(points)
    assert [step.source_grid for step in whole.stages[0].steps] == [(16, 12), (8, 6), (4, 3)]
    with pytest.raises(
        ValueError, match=r"for 1 complete lattices \(16, 12\) in 1 sets, got 1 complete lattices \(4, 3\)"
    ):
        whole.check(image_to_points(images(1, 3, 4, 3)))


def test_stages_have_batch_norms() -> None:
    net = ContextClusterNet.from_preset("coc_mini", dense=True)
    assert {type(norm) for norm in net.stage_norms} == {BatchNorm}
    assert {type(norm).__name__ for norm in ContextClusterNet.from_preset("coc_tiny", dense=True).stage_norms} == {
        "SetNorm"
    }
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 1000)
    assert net.stage_norms[0].num_batches_tracked == net.reducers[0].norms[0].num_batches_tracked == 1


def test_files_keep_the_steps(net, tmp_path: Path) -> None:
    net.save_pretrained(tmp_path)
    again = ContextClusterNet.from_pretrained(tmp_path)
    close(again(images(1, 3, 8, 8)), net(images(1, 3, 8, 8)))
    with pytest.raises(ValueError, match="reducer='window' does not fit the parameters of the file"):
        ContextClusterNet.from_pretrained(tmp_path, reducer="window")
    with pytest.raises(ValueError, match=r"strides=\(4, 2, 2, 1\) does not fit the parameters of the file"):
        ContextClusterNet.from_pretrained(tmp_path, strides=(4, 2, 2, 1))
    other = order_one(order_one_network(net.config), seed=2)
    load_weights(other, tmp_path)
    close(other(images(1, 3, 8, 8)), net(images(1, 3, 8, 8)))


def test_other_channels_adapt_the_first_step(tmp_path: Path, monkeypatch) -> None:
    net = order_one_network("coc_mini")
    net.save_pretrained(tmp_path / "coc_mini")
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path))
    gray = ContextClusterNet.from_preset("coc_mini", pretrained=True, in_channels=1)
    image = images(1, 1, 32, 32)
    close(gray(image), net(image.expand(-1, 3, -1, -1)))
    model = timm.create_model("coc_mini", pretrained=True, in_chans=1).double().eval()
    torch.testing.assert_close(model(image), gray(image), rtol=0, atol=1e-3)  # timm makes models in float32
    features = timm.create_model("coc_mini", features_only=True, in_chans=1)
    assert model.default_cfg["first_conv"] == features.default_cfg["first_conv"] == "reducers.0.steps.0"
    assert features.feature_info.reduction() == [4, 8, 16, 32]


def test_the_fused_form_runs_in_bfloat16() -> None:
    net = order_one_network("coc_mini", torch.float32, dense=True, num_classes=10)
    image = images(2, 3, 224, 224).float()
    with torch.no_grad():
        expected = net(image)
        low = net.fuse().to(torch.bfloat16)(image.bfloat16()).float()
    assert 0 < (low - expected).norm() < 0.1 * expected.norm()


@torch.no_grad()
@pytest.mark.parametrize("reducer", ["steps", "window"])
def test_batch_norms_of_several_processes_fuse_too(reducer: str) -> None:
    net = order_one_network("coc_mini", dense=True, reducer=reducer, **SMALL)
    logits = net(images(2, 3, 32, 64))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(net).eval()
    close(converted.fuse()(images(2, 3, 32, 64)), logits)


def test_a_plan_of_another_reducer_gets_a_sentence(net) -> None:
    window = ContextClusterNet(net.config.replace(reducer="window"))
    with pytest.raises(ValueError, match="plan reaches a stage in 1 steps, this network in 3: make the plan with"):
        net(images(1, 3, 16, 16), window.plan(images(1, 3, 16, 16)))


@torch.no_grad()
def test_exported_graphs_take_other_sizes(net, tmp_path: Path) -> None:
    output = "stages" if net.config.dense else "logits"
    loaded = torch.export.load(
        export_network(net, tmp_path / "net.pt2", size=(70, 96), dynamic=True, output=output)
    ).module()
    for num, *size in ((1, 65, 128), (3, 97, 80)):
        given = images(num, 3, *size)
        expected = net.forward_intermediates(given) if output == "stages" else [net(given)]
        for actual, one in zip(loaded(given), expected, strict=True):
            close(actual, one)


@torch.no_grad()
def test_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    net = order_one_network("coc_mini", torch.float32, **SMALL)
    path = export_network(net, tmp_path / "net.onnx", size=(40, 64))
    given = images(2, 3, 40, 64).float()
    (logits,) = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": given.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), net(given), rtol=0, atol=1e-3)
