"""Networks that read Fourier features of coordinates: the same on all paths, and weights that say so."""

import json
from dataclasses import asdict
from math import cos, pi, sin
from pathlib import Path

import pytest
import torch
from order_one import order_one_network
from safetensors.torch import save_file

from pointcoc import ContextClusterNet, NetworkConfig, concat, image_to_points
from pointcoc.models.presets import preset
from pointcoc.train import load_weights

FOURIER = {
    "coordinates": "fourier", "frequencies": 3, "depths": 1, "dims": (8, 12, 16), "head_dims": 4, "num_classes": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def net() -> ContextClusterNet:
    return order_one_network("coc_nano", **FOURIER)


def images(*size: int) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


def test_the_first_reducer_reads_them_in_place_of_the_numbers(net) -> None:
    """One pixel of an image of 3 x 2 alone in its window: a product by hand."""
    config = NetworkConfig(
        num_classes=0, depths=(1,), dims=(2,), heads=1, head_dims=1, mlp_ratios=1, strides=1, neighbors=1, regions=1,
        centers=1, coordinates="fourier", frequencies=2, in_channels=1,
    )  # fmt: skip
    one = order_one_network(config)
    image = images(1, 1, 3, 2)
    x, y = 1 - 0.5, 2 / 2 - 0.5  # row 2, column 1
    features = [float(image[0, 0, 2, 1])]
    for k in (1, 2):
        features += [sin(k * pi * x), sin(k * pi * y), cos(k * pi * x), cos(k * pi * y)]
    weight, bias = one.reducers[0].weight, one.reducers[0].bias
    expected = weight.flatten(1) @ torch.tensor(features, dtype=torch.float64) + bias
    seen = []
    handle = one.reducers[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    one(image)
    handle.remove()
    close(seen[0][5], expected)


@torch.no_grad()
def test_grid_shuffled_ragged_masked_and_fused_are_equal(net) -> None:
    batch = images(2, 3, 19, 22)
    points, logits = image_to_points(batch), net(batch)
    assert logits.std() > 0.05
    order = torch.randperm(points.num_points, generator=torch.Generator().manual_seed(1))
    close(net(points), logits)
    close(net(points.take(order)), logits)
    other = images(3, 30, 9)
    close(net([batch[1], other])[0], logits[1])
    several = concat([points, image_to_points([other])])
    mixed = torch.randperm(several.num_points, generator=torch.Generator().manual_seed(2))
    close(net(several.take(mixed))[:2], logits)
    fused = net.fuse()
    close(fused(batch), logits)
    close(fused(points.take(order)), logits)
    few = points.take(order[: len(order) // 2])
    close(fused(few), net(few))


@torch.no_grad()
def test_they_matter_and_gradients_flow(net) -> None:
    batch = images(1, 3, 16, 16)
    points = image_to_points(batch)
    moved = points.with_x(torch.cat([points.x[:, :3], points.x[:, 3:] * 0.9], dim=1))
    assert (net(moved) - net(batch)).abs().max() > 1e-3
    with torch.enable_grad():
        fresh = ContextClusterNet(net.config)
        fresh(batch.float()).sum().backward()
    assert fresh.reducers[0].weight.grad[:, 3:].abs().sum(dim=(0, 2, 3)).min() > 0


def test_exported_and_saved_networks_are_the_same(net, tmp_path: Path) -> None:
    batch = images(2, 3, 16, 16)
    program = torch.export.export(net, (batch,))
    close(program.module()(batch), net(batch))
    net.save_pretrained(tmp_path)
    loaded = ContextClusterNet.from_pretrained(tmp_path)
    assert loaded.config == net.config
    assert torch.equal(loaded(batch), net(batch))
    with pytest.raises(ValueError, match="coordinates='numbers' does not fit the parameters of the file"):
        ContextClusterNet.from_pretrained(tmp_path, coordinates="numbers")


def test_files_from_before_load(tmp_path: Path) -> None:
    plain = ContextClusterNet(preset("coc_nano", **{**FOURIER, "coordinates": "numbers", "frequencies": 4}))
    plain.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    for name in ("coordinates", "frequencies"):
        del content["config"][name]
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert ContextClusterNet.from_pretrained(tmp_path).config == plain.config


def test_training_files_from_before_load(tmp_path: Path) -> None:
    plain = ContextClusterNet(preset("coc_nano", **{**FOURIER, "coordinates": "numbers", "frequencies": 4}))
    older = {name: value for name, value in asdict(plain.config).items() if name not in ("coordinates", "frequencies")}
    save_file(plain.state_dict(), tmp_path / "old.safetensors", metadata={"config": json.dumps(older)})
    load_weights(plain, tmp_path / "old.safetensors")
    with pytest.raises(ValueError, match="coordinates is numbers, expected fourier"):
        load_weights(ContextClusterNet(preset("coc_nano", **FOURIER)), tmp_path / "old.safetensors")


def test_other_channels_keep_the_coordinates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pointcoc.models.weights.official_weights import adapt_in_channels

    weight = torch.randn(2, 3 + 12, 3, 3)
    gray = adapt_in_channels(weight, 1, coordinate_dim=12)
    assert torch.equal(gray[:, 1:], weight[:, 3:])
    torch.testing.assert_close(gray[:, 0], weight[:, :3].sum(1))
    with pytest.raises(ValueError, match=r"shape \(out, channels \+ 12, height, width\)"):
        adapt_in_channels(weight[:, :12], 1, coordinate_dim=12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"coordinates": "waves"}, "unknown coordinates 'waves'; choose from numbers, fourier"),
        ({"frequencies": 0}, "frequencies must be an integer of at least 1, got 0"),
        ({"anchors": "fps", "coordinates": "fourier"}, "coordinates has no effect on anchors 'fps'"),
    ],
)
def test_wrong_settings(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**fields)
