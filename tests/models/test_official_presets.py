"""Every official preset with its full state dict gives the logits of an independent official forward."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from official_formula import official_state, official_weight
from official_forward import official_features, official_logits
from safetensors import safe_open
from torch import Tensor

from pointcoc import ContextClusterNet

OFFICIAL = Path(__file__).parents[1] / "official"
SHAPES = json.loads((OFFICIAL / "state_dict_shapes.json").read_text())
FEW, SOME, MANY = (4, 4, 8, 8), (6, 6, 12, 12), (8, 8, 16, 16)
SETTINGS = {  # heads, regions and centers of the four stages
    "coc_tiny": (FEW, (8, 4, 2, 1), (2, 2, 2, 2)),
    "coc_tiny2": (FEW, (7, 7, 1, 1), (4, 2, 7, 4)),
    "coc_tiny_plain": (FEW, (1, 1, 1, 1), (4, 4, 2, 2)),
    "coc_small": (FEW, (8, 4, 2, 1), (2, 2, 2, 2)),
    "coc_medium": (SOME, (8, 4, 2, 1), (2, 2, 2, 2)),
    "coc_base_dim64": (MANY, (8, 4, 2, 1), (2, 2, 2, 2)),
    "coc_base_dim96": (MANY, (8, 4, 2, 1), (2, 2, 2, 2)),
}


def read_toy(name: str) -> tuple[dict, dict[str, Tensor]]:
    with safe_open(OFFICIAL / f"{name}.safetensors", "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)
        return json.loads(file.metadata()["config"]), tensors


def preset_state(name: str) -> dict[str, Tensor]:
    return {key: official_weight(key, tuple(shape)) for key, shape in SHAPES[name].items()}


def image(size: int = 224) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, size, size, generator=generator, dtype=torch.float64)


def assert_same(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    assert actual.shape == expected.shape
    difference = (actual - expected).abs().max() / expected.abs().max()
    assert difference < tolerance, f"logits differ by {difference:.1e} of their largest"


@pytest.mark.parametrize("name", ["toy_regions", "toy_uneven_centers", "toy_no_regions"])
def test_the_independent_forward_is_the_authors(name: str) -> None:
    settings, tensors = read_toy(name)
    logits = official_logits(
        tensors["input"], official_state(settings), settings["heads"], settings["fw"], settings["pw"]
    )
    assert_same(logits, tensors["logits"], 1e-10)


def test_the_independent_forward_gives_the_dense_features() -> None:
    settings, tensors = read_toy("toy_dense")
    features = official_features(
        tensors["input"], official_state(settings), settings["heads"], settings["fw"], settings["pw"]
    )
    for s, maps in enumerate(features):
        assert_same(maps, tensors[f"feature{s + 1}"], 1e-10)


@pytest.mark.parametrize("name", SETTINGS)
@torch.inference_mode()
def test_presets_give_the_official_logits(name: str) -> None:
    state, images = preset_state(name), image()
    net = ContextClusterNet.from_official(state, preset=name)
    assert_same(net(images), official_logits(images, state, *SETTINGS[name]), 1e-9)


@torch.inference_mode()
def test_the_weights_of_2023_give_the_official_logits() -> None:
    state, images = preset_state("coc_tiny"), image()
    old = {
        name.replace(".f.", ".fc1.").replace(".v.", ".fc_v.").replace("mixer.proj.", "mixer.fc2."): value[
            (...,) + (None,) * 2 * (".mlp." in name and value.ndim == 2)
        ]
        for name, value in state.items()
    }
    net = ContextClusterNet.from_official({"state_dict": old}, preset="coc_tiny", normalizer="count")
    expected = official_logits(images, state, *SETTINGS["coc_tiny"], normalizer="count")
    assert_same(net(images), expected, 1e-9)
    assert (official_logits(images, state, *SETTINGS["coc_tiny"]) - expected).abs().max() > 1e-3
