"""Exported networks: torch.export and ONNX give what the network gives."""

from __future__ import annotations

import copy
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from order_one import order_one_network
from torch import Tensor

from pointcoc import ContextClusterNet
from pointcoc.export import ExportForm, even_side, export_network, export_program, smallest_side
from pointcoc.export.onnx_file import metadata
from pointcoc.models import PRESETS, CloudTransform, ImageTransform, PointMLPCoC, WeightsInfo, preset
from pointcoc.models.dense import StageMaps
from pointcoc.models.timm_adapter import ContextClusterModel

TWO = {"depths": (1, 1), "dims": (16, 24), "heads": 2, "head_dims": 8, "mlp_ratios": 2.0, "num_classes": 5}
SMALL = TWO | {"strides": 2, "neighbors": 3, "regions": (4, 2), "centers": 2, "center_neighbors": 8}
CLOUD = TWO | {"strides": 4, "neighbors": 6, "regions": 1, "centers": 3, "center_neighbors": 4}


@pytest.fixture(autouse=True)
def _fresh_graphs():
    torch._dynamo.reset()


def image_net(dtype: torch.dtype = torch.float64, **overrides) -> ContextClusterNet:
    return order_one_network(preset("coc_nano", **SMALL).replace(**overrides), dtype)


def cloud_net(dtype: torch.dtype = torch.float64, **overrides) -> ContextClusterNet:
    return order_one_network(preset("coc_points_small", **CLOUD).replace(**overrides), dtype)


def images(num: int, *size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(num, 3, *size, generator=torch.Generator().manual_seed(num), dtype=dtype)


def load(path: Path):
    return torch.export.load(path).module()


def assert_same(found, expected) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("overrides", [{}, {"assignment": "soft", "iterations": 2, "window": (5, 4)}])
def test_a_fixed_size_with_any_batch(overrides: dict, tmp_path: Path) -> None:
    net = image_net(**overrides)
    loaded = load(export_network(net, tmp_path / "net.pt2", size=(20, 13)))
    with torch.no_grad():
        for num in (1, 2, 5):
            assert_same(loaded(images(num, 20, 13)), [net(images(num, 20, 13))])


@pytest.mark.parametrize("output", ["stages", "assignments"])
def test_any_size(output: str, tmp_path: Path) -> None:
    net = image_net()
    loaded = load(export_network(net, tmp_path / "net.pt2", size=(40, 24), dynamic=True, output=output))
    with torch.no_grad():
        for num, *size in ((1, 32, 32), (2, 17, 45), (3, 9, 9), (1, 11, 64)):
            assert_same(loaded(images(num, *size)), ExportForm(net, output)(images(num, *size)))


def test_the_folder_of_the_user_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert export_network(image_net(), "~/net.pt2", size=(20, 13)) == tmp_path / "net.pt2"
    assert (tmp_path / "net.pt2").is_file()


def test_clouds_of_a_fixed_number_of_points(tmp_path: Path) -> None:
    net = cloud_net()
    loaded = load(export_network(net, tmp_path / "net.pt2", num_points=40))
    for num in (1, 3):
        clouds = torch.rand(num, 40, 3, generator=torch.Generator().manual_seed(num), dtype=torch.float64)
        with torch.no_grad():
            assert_same(loaded(clouds), [net(clouds)])
            assert_same(loaded(clouds.flip(1)), [net(clouds)])


@pytest.mark.parametrize("output", ["logits", "stages"])
def test_the_timm_form_of_a_network(output: str) -> None:
    adapter = ContextClusterModel(image_net().config).double().eval()
    form = ExportForm(adapter, output)
    with torch.no_grad():
        found = form(images(2, 12, 12))
        expected = adapter(images(2, 12, 12))
    if output == "logits":
        assert_same(found, [expected])
    else:
        assert [one.shape for one in found] == [(2, 16, 6, 6), (2, 24, 3, 3)]


def test_names_of_outputs() -> None:
    net = image_net(depths=(1, 2))
    assert ExportForm(net).output_names == ["logits"]
    assert ExportForm(net, "stages").output_names == ["stage1", "stage2"]
    blocks = ["center_stage1_block1", "center_stage2_block1", "center_stage2_block2"]
    assert ExportForm(net, "assignments").output_names == ["logits", *blocks]


def test_sides_that_split_evenly() -> None:
    sides = {name: even_side(config) for name, config in PRESETS.items() if config.anchors == "lattice"}
    assert sides.pop("coc_tiny2") == sides.pop("coc_mini") == 224
    assert sides.pop("coc_nano") == 8
    assert sides.pop("coc_pico") == 8
    assert set(sides.values()) == {32}
    assert even_side(preset("coc_nano", window=(3, 2, 1))) == 24
    assert (smallest_side(preset("coc_nano")), smallest_side(preset("coc_tiny"))) == (9, 33)


def run_onnx(path: Path, input: Tensor) -> list[np.ndarray]:
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": input.numpy()})


def assert_close_where_equal(found: list[np.ndarray], expected: tuple[Tensor, ...], num: int) -> None:
    """Logits agree to 1e-4 for the sets all of whose points chose the same centers; few points may differ."""
    logits, *centers = (torch.from_numpy(one) for one in found)
    differ = [(one != other).view(num, -1) for one, other in zip(centers, expected[1:], strict=True)]
    flips = torch.cat(differ, dim=1)
    assert flips.double().mean() < 1e-3
    same = ~flips.any(1)
    assert same.double().mean() > 0.5
    torch.testing.assert_close(logits[same], expected[0][same], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("size", "dynamic"), [((20, 13), False), ((32, 24), True)])
def test_onnx_of_images(size: tuple[int, int], dynamic: bool, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    net = image_net(torch.float32)
    path = export_network(net, tmp_path / "net.onnx", size=size, dynamic=dynamic, output="assignments")
    sides = ["height", "width"] if dynamic else list(size)
    assert axes(onnx.load(path))["input"] == ["batch", 3, *sides]
    for num, given in ((1, size), (6, (16, 40) if dynamic else size)):
        with torch.no_grad():
            expected = ExportForm(net, "assignments")(images(num, *given, dtype=torch.float32))
        assert_close_where_equal(run_onnx(path, images(num, *given, dtype=torch.float32)), expected, num)


def test_onnx_of_clouds(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    net = cloud_net(torch.float32)
    path = export_network(net, tmp_path / "net.onnx", num_points=40, output="assignments")
    for num in (1, 6):
        clouds = torch.rand(num, 40, 3, generator=torch.Generator().manual_seed(num))
        with torch.no_grad():
            expected = ExportForm(net, "assignments")(clouds)
        assert_close_where_equal(run_onnx(path, clouds), expected, num)


@pytest.mark.parametrize(
    ("overrides", "arguments", "sentence"),
    [
        ({}, {"size": (8, 8), "path": "net.tflite"}, r"path must end with \.pt2 or \.onnx, got 'net\.tflite'"),
        ({}, {"size": (8, 8), "output": "maps"}, "unknown output 'maps'; choose from logits, stages, assignments"),
        ({}, {}, r"this network reads images: give size=\(height, width\)"),
        ({}, {"num_points": 9}, r"this network reads images: give size=\(height, width\)"),
        ({"backend": "ragged"}, {"size": (8, 8)}, "backend 'ragged' cannot be exported"),
        (
            {"backend": "triton"},
            {"size": (8, 8)},
            "backend 'triton' cannot be exported: its kernels need Triton and a GPU",
        ),
        ({}, {"size": (20, 8), "dynamic": True}, r"sides of at least 9 for this network, also for size, got \(20, 8\)"),
    ],
)
def test_what_images_cannot_export(overrides: dict, arguments: dict, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / arguments.pop("path", "net.pt2")
    with pytest.raises(ValueError, match=sentence):
        export_network(image_net(**overrides), path, **arguments)
    assert not path.exists()


@pytest.mark.parametrize(
    ("overrides", "arguments", "sentence"),
    [
        ({}, {"size": (8, 8)}, "this network reads clouds: give num_points=1024"),
        ({}, {"num_points": 40, "dynamic": True}, "clouds are exported with a fixed number of points"),
        ({}, {"num_points": 40, "output": "stages"}, "clouds are exported with a fixed number of points"),
        ({"regions": 2}, {"num_points": 40}, "only with the whole set as one region.*use regions=1"),
        ({"window": 0.5}, {"num_points": 40}, "only with the whole set as one region.*use regions=1"),
        ({"partition": "curve", "window": 9}, {"num_points": 40}, "only with the whole set as one region"),
        ({"anchors": "voxel", "voxels": (1, 2)}, {"num_points": 40}, "anchors 'voxel' cannot be exported: how many"),
    ],
)
def test_what_clouds_cannot_export(overrides: dict, arguments: dict, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        export_network(cloud_net(**overrides), tmp_path / "net.pt2", **arguments)


def test_training_networks_and_missing_packages_are_named(monkeypatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training mode.*call net\.eval\(\) first"):
        export_program(image_net().train(), images(2, 8, 8))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"needs onnxscript; install it with: pip install 'pointcoc\[onnx\]'"):
        export_network(image_net(), tmp_path / "net.onnx", size=(8, 8))


def test_kinds_and_folders_that_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"or a SemanticFPN on one, got PointMLPCoC, which cannot"):
        export_network(PointMLPCoC.from_preset("pointmlp_coc"), tmp_path / "net.pt2", num_points=256)
    with pytest.raises(FileNotFoundError, match=r"the folder of path must be an existing folder.*nowhere"):
        export_network(image_net(), tmp_path / "nowhere" / "net.pt2", size=(8, 8))
    pytest.importorskip("onnxscript")
    with pytest.raises(ValueError, match=r"read float32 and float16, got torch\.float64; call net\.float\(\) first"):
        export_network(image_net(), tmp_path / "net.onnx", size=(8, 8))


def test_onnx_of_other_sizes_needs_even_sides(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    with pytest.raises(ValueError, match=r"multiples of 8, also for size, got \(20, 13\)"):
        export_network(image_net(torch.float32), tmp_path / "net.onnx", size=(20, 13), dynamic=True)


# What files state.


def axes(model) -> dict[str, list]:
    """Axes of the inputs and outputs of an ONNX model: names and sizes."""
    return {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }


def test_onnx_names_axes_and_states_what_the_weights_do(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    net = image_net(torch.float32, num_classes=2)
    transform = ImageTransform(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    net.weights_info = WeightsInfo(class_names=["cat", "dög"], transform=transform)
    model = onnx.load(export_network(net, tmp_path / "net.onnx", size=(16, 24)))
    assert axes(model) == {"input": ["batch", 3, 16, 24], "logits": ["batch", 2]}
    stated = {one.key: json.loads(one.value) for one in model.metadata_props}
    assert stated["class_names"] == {"0": "cat", "1": "dög"}
    assert (stated["mean"], stated["std"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


def test_onnx_of_clouds_states_the_transform(tmp_path: Path) -> None:
    net = cloud_net(torch.float32)
    net.weights_info = WeightsInfo(transform=CloudTransform(num_points=40))
    stated = metadata(ExportForm(net))
    assert json.loads(stated["num_points"]) == 40
    assert "class_names" not in stated


# Quantized weights.


def test_onnxruntime_quantizes_every_product_with_weights(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    quantization = pytest.importorskip("onnxruntime.quantization")
    # Large enough that the exporter would not fold norms by itself.
    net = image_net(torch.float32, dims=(64, 96), mlp_ratios=8.0, num_classes=5)
    path = export_network(net, tmp_path / "net.onnx", size=(16, 16))
    initial = {one.name for one in onnx.load(path).graph.initializer}
    products = [node for node in onnx.load(path).graph.node if node.op_type in ("MatMul", "Gemm", "Conv", "Einsum")]
    assert sum(node.input[1] in initial for node in products) == 2 * 4 + 2 + 1  # blocks, reducers, classifier
    quantization.quantize_dynamic(path, tmp_path / "int8.onnx")
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node)
    assert (kinds["MatMulInteger"], kinds["ConvInteger"]) == (2 * 4 + 1, 2)
    x = images(4, 16, 16, dtype=torch.float32)
    (found,) = run_onnx(tmp_path / "int8.onnx", x)
    assert np.isfinite(found).all()


class LinearOnly(Tensor):
    """Weights that know nothing but linear layers, like those of quantization packages."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ not in ("linear", "__get__", "requires_grad_", "dim", "type"):
            raise NotImplementedError(f"a quantized weight was asked for {func.__name__}")
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


def pack(net: torch.nn.Module) -> torch.nn.Module:
    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):
            weight = layer.weight.detach().as_subclass(LinearOnly)
            weight.requires_grad_(False)
            layer._parameters["weight"] = weight
    return net


@pytest.mark.parametrize("kind", ["image", "folded image", "cloud"])
def test_packed_weights_are_only_multiplied(kind: str) -> None:
    net = cloud_net() if kind == "cloud" else image_net()
    x = torch.rand(2, 40, 3, dtype=torch.float64) if kind == "cloud" else images(2, 20, 13)
    with torch.no_grad():
        expected = net(x)
        packed = pack(net.fuse() if kind == "folded image" else net)
        torch.testing.assert_close(packed(x), expected, rtol=0, atol=1e-9)


def test_weights_of_torchao() -> None:
    torchao = pytest.importorskip("torchao.quantization")
    net = image_net(torch.float32)
    quantized = copy.deepcopy(net)
    torchao.quantize_(quantized, torchao.Int8WeightOnlyConfig())
    assert type(quantized.stages[0][0].cluster.f.weight) is not torch.nn.Parameter
    x = images(4, 20, 13, dtype=torch.float32)
    with torch.no_grad():
        rounded = [one.mean((2, 3)) for one in quantized.forward_intermediates(x)]
        torch.testing.assert_close(rounded[0], net.forward_intermediates(x)[0].mean((2, 3)), rtol=0.1, atol=0.1)
        compiled = torch.compile(quantized, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), quantized(x))


# Dense models, and other ways to record.


def dense_net() -> ContextClusterNet:
    narrow = {"depths": 1, "dims": (8, 12, 16, 20), "heads": 2, "head_dims": 4, "mlp_ratios": 2.0}
    return order_one_network(preset("coc_tiny", num_classes=0, dense=True, **narrow), torch.float32)


def test_semantic_fpn(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    segmentation = pytest.importorskip("pointcoc.segmentation")
    torch.manual_seed(0)
    model = segmentation.SemanticFPN(StageMaps(dense_net()), num_classes=5).eval()
    x = images(3, 32, 64, dtype=torch.float32)
    path = export_network(model, tmp_path / "net.onnx", size=(32, 64))
    with torch.no_grad():
        found, expected = torch.from_numpy(run_onnx(path, x)[0]), model(x)
    assert found.shape == (3, 5, 32, 64)
    # A point that chooses another of two equal centers changes the pixels around it alone.
    assert ((found - expected).abs() < 1e-3).double().mean() > 0.95
    with pytest.raises(ValueError, match="SemanticFPN is exported with its logits alone, got output='stages'"):
        export_network(model, path, size=(32, 64), output="stages")


def test_detectors_name_the_part_that_can_be_exported(tmp_path: Path) -> None:
    detection = pytest.importorskip("pointcoc.detection")
    model = detection.TrueSizeMaskRCNN(StageMaps(dense_net()), num_classes=3).eval()
    with pytest.raises(ValueError, match=r"TrueSizeMaskRCNN cannot be exported.*model\.backbone\.backbone\.net, path"):
        export_network(model, tmp_path / "net.pt2", size=(32, 64))
    path = export_network(model.backbone.backbone.net, tmp_path / "net.pt2", size=(32, 64), output="stages")
    assert [tuple(one.shape) for one in load(path)(images(1, 32, 64, dtype=torch.float32))][-1] == (1, 20, 1, 2)


@pytest.mark.parametrize("kind", ["image", "folded image", "cloud", "pointmlp"])
def test_tracing_names_torch_export(kind: str, tmp_path: Path) -> None:
    if kind == "pointmlp":
        net = PointMLPCoC.from_preset("pointmlp_coc", num_classes=2).eval()
    else:
        net = cloud_net(torch.float32) if kind == "cloud" else image_net(torch.float32)
    net = net.fuse() if kind == "folded image" else net
    x = images(1, 8, 8, dtype=torch.float32) if "image" in kind else torch.rand(1, 40, 3)
    with pytest.raises(RuntimeError, match=r"dynamo=False\) cannot record point sets: use .*torch\.export\.export"):
        torch.jit.trace(net, x)
    if kind == "image":
        with pytest.warns(DeprecationWarning), pytest.raises(RuntimeError, match=r"torch\.export\.export"):
            torch.onnx.export(net, (x,), tmp_path / "net.onnx", dynamo=False)
