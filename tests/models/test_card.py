"""What config.json and the model card say."""

from __future__ import annotations

import json

import pytest
import yaml

from pointcoc import PRESETS
from pointcoc.models import ImageTransform, WeightsInfo, preset
from pointcoc.models.weights.card import model_card
from pointcoc.models.weights.config_file import config_from_json, config_to_json
from pointcoc.models.weights.info import OFFICIAL_PRESETS, OFFICIAL_WEIGHTS, preset_name
from pointcoc.version import __version__


def front_matter(card: str) -> dict:
    _, matter, _ = card.split("---\n", 2)
    return yaml.safe_load(matter)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_recognized_and_come_back_from_json(name: str) -> None:
    config = preset(name, num_classes=7, in_channels=1, normalizer="count", drop_path=0.1)
    assert preset_name(config) == name
    content = json.loads(json.dumps(config_to_json(config, OFFICIAL_WEIGHTS)))
    assert (content["preset"], content["pointcoc_version"]) == (name, __version__)
    assert config_from_json(content, "config.json") == (config, OFFICIAL_WEIGHTS)


def test_other_settings_are_no_preset() -> None:
    assert preset_name(preset("coc_tiny", centers=5)) is None
    assert preset_name(preset("coc_tiny", dense=True, num_classes=0)) is None


@pytest.mark.parametrize("name", OFFICIAL_PRESETS)
def test_official_presets_have_the_transform_of_the_paper(name: str) -> None:
    transform = config_to_json(preset(name), WeightsInfo())["transform"]
    assert transform == {
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "input_size": (224, 224),
    }


@pytest.mark.parametrize("overrides", [{"in_channels": 1}, {"centers": 5}])
def test_no_transform_is_invented(overrides: dict) -> None:
    assert config_to_json(preset("coc_tiny", **overrides), WeightsInfo())["transform"] is None
    stated = ImageTransform(mean=(0.5,), std=(0.5,), input_size=(28, 28))
    content = config_to_json(preset("coc_tiny", **overrides), WeightsInfo(transform=stated))
    assert content["transform"]["input_size"] == (28, 28)


def test_the_card_of_official_weights() -> None:
    card = model_card(preset("coc_tiny"), OFFICIAL_WEIGHTS, 5_570_584)
    matter = front_matter(card)
    assert matter == {
        "library_name": "pointcoc",
        "license": "apache-2.0",
        "pipeline_tag": "image-classification",
        "tags": ["context-clusters"],
    }
    for text in (
        "# coc_tiny",
        "| normalizer | similarity |",
        "| parameters | 5,570,584 |",
        "resize (bicubic), center crop 224 x 224 of 0.9 of the side, mean [0.485, 0.456, 0.406]",
        "| license | apache-2.0 |",
        "https://github.com/ma-xu/Context-Cluster",
        'pointcoc.load("',
    ):
        assert text in card


def test_the_card_states_nothing_that_is_not_known() -> None:
    card = model_card(preset("coc_points"), WeightsInfo(), 1)
    assert front_matter(card) == {"library_name": "pointcoc", "tags": ["context-clusters"]}
    assert card.count("not stated") == 3
    assert "clouds of 3 features a point" in card
    features = model_card(preset("coc_tiny", num_classes=0, dense=True), WeightsInfo(), 1)
    assert front_matter(features)["pipeline_tag"] == "image-feature-extraction"
    assert "# Context Clusters" in features
