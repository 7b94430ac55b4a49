"""A field that nothing reads has its default: other values are refused, inherited ones go back, networks are equal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from order_one import order_one_network
from torch import Tensor

from pointcoc import PRESETS, NetworkConfig
from pointcoc.models import preset

SMALL = {"depths": 1, "dims": (8, 12, 16), "heads": 2, "head_dims": 4, "mlp_ratios": 1}
UNREAD: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("coc_nano", {"window": 4}, {"regions": 1}, r"regions has no effect on window \(4, 4, 4\): leave it out,"),
    ("coc_nano", {}, {"frequencies": 8}, "frequencies has no effect on coordinates 'numbers': leave it out, or choose"),
    ("coc_nano", {}, {"pool": "concat"}, "pool has no effect on anchors 'lattice': .*choose anchors 'fps' or 'voxel'"),
    ("coc_nano", {}, {"stage_norm": "batch"}, "stage_norm has no effect on dense False: .* choose dense True"),
    ("coc_nano", {}, {"center_neighbors": 2}, "center_neighbors has no effect on proposals 'cells'"),
    ("coc_nano", {}, {"voxels": (1, 2, 3)}, r"voxels needs anchors 'voxel', got voxels \(1, 2, 3\)"),
    ("coc_points", {}, {"coordinates": "fourier"}, "coordinates has no effect on anchors 'fps'"),
    ("coc_points", {"anchors": "voxel", "voxels": (0.4, 0.8, 1.6)}, {"strides": 2}, "strides has no effect on"),
]  # fmt: skip


def output(config: NetworkConfig) -> Tensor:
    """Logits of a network of order one, for noise of its kind."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, 3, 16, 16) if config.reads_images else (1, 40, 3)
    return order_one_network(config)(torch.rand(shape, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize(("name", "base", "fields", "sentence"), UNREAD)
def test_a_value_without_effect_is_refused(name: str, base: dict, fields: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        preset(name, **base, **fields)
    with pytest.raises(ValueError, match=sentence):
        preset(name, **base).replace(**fields)


@pytest.mark.parametrize(("name", "base", "fields", "sentence"), UNREAD[:5])
def test_what_is_refused_would_change_nothing(name: str, base: dict, fields: dict, sentence: str) -> None:
    config, other = preset(name, **SMALL, **base), preset(name, **SMALL, **base)
    for field, value in fields.items():
        object.__setattr__(other, field, value if isinstance(value, str) or field == "frequencies" else (value,) * 3)
    assert config != other
    assert torch.equal(output(config), output(other))


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("coc_tiny_plain", {"window": 7}, {"regions": (8, 4, 2, 1)}),
        ("coc_points", {"window": 0.5}, {"regions": (8, 4, 2)}),
        ("coc_points", {"anchors": "voxel", "voxels": (1, 2, 3)}, {"strides": (4, 2, 2)}),
        ("coc_points", {"proposals": "cells"}, {"center_neighbors": (8, 8, 8)}),
        ("coc_scene", {"anchors": "fps"}, {"voxels": None, "strides": (4, 2, 2, 2)}),
    ],
)
def test_what_loses_its_effect_goes_back_to_its_default(name: str, fields: dict, expected: dict) -> None:
    config = preset(name, **fields)
    assert {field: getattr(config, field) for field in expected} == expected


def test_a_chain_of_fields_goes_back() -> None:
    images = preset("coc_nano", coordinates="fourier", frequencies=8)
    clouds = images.replace(anchors="fps", pos_dim=3, proposals="fps")
    assert (clouds.coordinates, clouds.frequencies) == ("numbers", 4)
    assert images.replace(coordinates="numbers") == preset("coc_nano")


def test_equal_networks_have_equal_configurations() -> None:
    assert preset("coc_nano", regions=1).replace(window=4) == preset("coc_nano", window=4)
    assert preset("coc_nano", regions=1, window=(4, None, 4)) != preset("coc_nano", window=(4, None, 4))
    assert preset("coc_nano", window=(None, None, None)) == preset("coc_nano")
    assert preset("coc_mini", dense=True).replace(dense=False) == preset("coc_mini")


def test_values_that_are_the_default_are_no_error() -> None:
    given = NetworkConfig(window=7, regions=(8, 4, 2, 1), strides=(4, 2, 2, 2), pool="max", frequencies=4)
    assert given == NetworkConfig(window=7)


def test_the_norms_of_a_dense_preset() -> None:
    assert PRESETS["coc_mini"].stage_norm == "set"
    assert preset("coc_mini", dense=True).stage_norm == "batch"
    assert preset("coc_mini", dense=True, stage_norm="set").stage_norm == "set"
    assert preset("coc_tiny", dense=True).stage_norm == "set"
