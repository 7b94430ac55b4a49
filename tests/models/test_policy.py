"""One policy for weights that exist: what must agree, what an override changes, what a network may have otherwise."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pointcoc import ContextClusterNet, NetworkConfig
from pointcoc.models import open_network, preset, save_model
from pointcoc.models.weights.policy import RULES, fixed_fields, fixed_settings, read_settings
from pointcoc.segmentation.points import PointSegmenterConfig
from pointcoc.train import load_weights, save_weights

SMALL = {"depths": 1, "dims": (8, 12, 16), "heads": 2, "head_dims": 4, "mlp_ratios": 1, "num_classes": 4}
PARTS: list[tuple[dict[str, Any], str]] = [
    ({"num_classes": 5}, "head"), ({"dims": 8}, "stages"), ({"dense": True}, "norms"), ({"pool": "concat"}, "reducers"),
    ({"in_channels": 6}, "input"), ({"normalizer": "count"}, "equations"), ({"assignment": "soft"}, "equations"),
    ({"iterations": 2}, "equations"), ({"centers": 3}, "positions"), ({"neighbors": 8}, "positions"),
    ({"strides": 2}, "positions"), ({"window": 0.5}, "positions"), ({"center_neighbors": 3}, "positions"),
    ({"layer_scale": 0.3}, "start"), ({"drop_path": 0.1}, "training"), ({"dropout": 0.5}, "training"),
    ({"backend": "ragged"}, "nothing"),
]  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    save_model(path, ContextClusterNet.from_preset("coc_points", **SMALL))
    return path


@pytest.mark.parametrize(("fields", "part"), PARTS)
def test_the_part_that_a_field_changes_says_who_may_change_it(file: Path, fields: dict, part: str) -> None:
    (name,) = fields
    assert RULES[name]["changes"] == part
    config = preset("coc_points", **SMALL | fields)
    if part in ("equations", "positions", "training", "nothing"):
        assert open_network(file, **fields).config == config
    else:
        with pytest.raises(ValueError, match=f"{name}=.* does not fit the parameters of the file"):
            open_network(file, **fields)
    net = ContextClusterNet(config)
    if part in ("positions", "start", "training", "nothing"):
        load_weights(net, file)
        assert torch.equal(net.head.weight, open_network(file).head.weight)
    else:
        with pytest.raises(ValueError, match=f"weights of another preset or config: .*{name} is"):
            load_weights(net, file)


def test_sizes_of_reducers_are_fixed() -> None:
    sizes = {"strides", "neighbors"}
    assert sizes & {*fixed_fields(preset("coc_tiny"))} == {"neighbors"}
    assert sizes & {*fixed_fields(preset("coc_mini"))} == sizes
    assert sizes & {*fixed_fields(preset("coc_points"))} == set()
    assert sizes & {*fixed_fields(preset("coc_points", pool="concat"))} == {"neighbors"}


def test_the_network_inside_another_model_follows_the_same_rules() -> None:
    one = {"network": {"dims": [8], "drop_path": 0.1, "centers": [2], "later": 1}, "num_classes": 3, "dropout": 0.1}
    other = {"network": {"dims": [8], "drop_path": 0.2, "centers": [4], "later": 1}, "num_classes": 3, "dropout": 0.5}
    assert fixed_settings(PointSegmenterConfig, one) == fixed_settings(PointSegmenterConfig, other)
    found = fixed_settings(PointSegmenterConfig, one)
    assert (found["network"]["dims"], found["network"]["later"], found["network"]["heads"]) == ([8], 1, [4, 4, 8, 8])
    other["network"]["dims"] = [9]
    assert fixed_settings(PointSegmenterConfig, one) != fixed_settings(PointSegmenterConfig, other)


def test_saved_values_without_effect_go_back_with_one_line() -> None:
    saved = dataclasses.asdict(preset("coc_mini", window=7)) | {"stage_norm": "batch", "regions": [1, 1, 1, 1]}
    with pytest.warns(UserWarning, match=r"^net.json: regions, stage_norm had no effect and went back to the default$"):
        assert read_settings(NetworkConfig, saved, "net.json") == preset("coc_mini", window=7)
    unset = saved | {"regions": [8, 4, 2, 1], "stage_norm": "set"}
    assert read_settings(NetworkConfig, unset, "x") == preset("coc_mini", window=7)
    few = {"num_classes": 3, "window": [7, 7, 7, 7]}
    assert read_settings(NetworkConfig, few, "x") == NetworkConfig(num_classes=3, window=7)


@pytest.mark.parametrize("layout", ["folder", "file"])
def test_files_from_before_values_without_effect_were_refused(tmp_path: Path, layout: str) -> None:
    net = ContextClusterNet.from_preset("coc_points", window=0.5, **SMALL)
    path = tmp_path if layout == "folder" else tmp_path / "best.safetensors"
    if layout == "folder":
        net.save_pretrained(path)
        content = json.loads((path / "config.json").read_text())
        content["config"] |= {"regions": [1, 1, 1]}
        (path / "config.json").write_text(json.dumps(content))
    else:
        with pytest.warns(DeprecationWarning, match="save_weights goes with the next release"):
            save_weights(path, net)
        with safe_open(path, framework="pt") as opened:
            header = {name: json.loads(value) for name, value in opened.metadata().items() if name != "format"}
        header["config"] |= {"regions": [1, 1, 1], "stage_norm": "batch"}
        save_file(load_file(path), path, metadata={name: json.dumps(value) for name, value in header.items()})
        load_weights(net, path)
    with pytest.warns(UserWarning, match=r"(config\.json|best\.safetensors): regions.* had no effect"):
        assert open_network(path).config == net.config
