"""Exported networks: torch.export and ONNX give what the network gives."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from order_one import order_one_network
from torch import Tensor

from pointcoc import ContextClusterNet
from pointcoc.export import ExportForm, even_side, export_network, export_program, smallest_side
from pointcoc.models import PRESETS, PointMLPCoC, preset
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
    pytest.importorskip("onnxscript")
    net = image_net(torch.float32)
    path = export_network(net, tmp_path / "net.onnx", size=size, dynamic=dynamic, output="assignments")
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
    with pytest.raises(ValueError, match="net must be a ContextClusterNet, got PointMLPCoC, which cannot be exported"):
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
