"""Folders of weights: saved, loaded, changed while loading, and refused by a sentence."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import safetensors.torch
import torch
from huggingface_hub import ModelCard
from order_one import order_one_network

from pointcoc import ContextClusterNet, NetworkConfig
from pointcoc.models import ImageTransform, WeightsInfo

SMALL = NetworkConfig(
    num_classes=3, depths=(1, 1), dims=(8, 16), heads=2, head_dims=4, mlp_ratios=2, strides=2, neighbors=3,
    regions=(2, 1), centers=2, center_neighbors=8,
)  # fmt: skip


def small(dtype: torch.dtype = torch.float64, **overrides) -> ContextClusterNet:
    return order_one_network(SMALL, dtype, **overrides)


def images(channels: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(2, channels, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def edit(folder: Path, **values) -> None:
    """Change or, by None, take out entries of config.json and of the settings in it."""
    content = json.loads((folder / "config.json").read_text())
    for name, value in values.items():
        place = content if name in content else content["config"]
        place[name] = value
        if value is None:
            del place[name]
    (folder / "config.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of a small network."""
    small().save_pretrained(tmp_path / "net")
    return tmp_path / "net"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_saved_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    net = small(dtype, window=(4, 3), drop_path=0.1).train()
    net.save_pretrained(tmp_path / "a" / "net")
    loaded = ContextClusterNet.from_pretrained(tmp_path / "a" / "net")
    assert sorted(file.name for file in (tmp_path / "a" / "net").iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    assert loaded.config == net.config
    assert not loaded.training
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert torch.equal(loaded(images(dtype=dtype)), net.eval()(images(dtype=dtype)))


def test_networks_of_clouds_keep_their_statistics(tmp_path: Path) -> None:
    net = order_one_network("coc_points_small")
    net.save_pretrained(tmp_path)
    loaded = ContextClusterNet.from_pretrained(str(tmp_path))
    assert loaded.state_dict().keys() == net.state_dict().keys()
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert json.loads((tmp_path / "config.json").read_text())["transform"] is None


def test_a_folder_can_be_overwritten_while_its_tensors_are_in_use(folder: Path) -> None:
    held = safetensors.torch.load_file(folder / "model.safetensors")
    before = {name: value.clone() for name, value in held.items()}
    loaded = ContextClusterNet.from_pretrained(folder)
    torch.nn.init.zeros_(loaded.head.weight)
    loaded.save_pretrained(folder)
    assert all(torch.equal(held[name], value) for name, value in before.items())
    assert not ContextClusterNet.from_pretrained(folder).head.weight.any()


@pytest.mark.parametrize(
    "overrides",
    [
        {"centers": 3}, {"centers": (3, 1)}, {"regions": 1}, {"window": (2, 2)}, {"normalizer": "count"},
        {"assignment": "soft"}, {"iterations": 2}, {"backend": "reference"}, {"drop_path": 0.2}, {"dropout": 0.5},
        {"strides": (3, 2)}, {"num_classes": 3},
    ],
)  # fmt: skip
def test_settings_without_parameters_change_while_loading(folder: Path, overrides: dict) -> None:
    loaded = ContextClusterNet.from_pretrained(folder, **overrides)
    expected = ContextClusterNet(SMALL.replace(**overrides)).double()
    expected.load_state_dict(small().state_dict())
    assert loaded.config == expected.config
    assert torch.equal(loaded(images()), expected.eval()(images()))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"num_classes": 10},
            r"num_classes=10 does not fit .*: load without it, then call reset_classifier\(10\)",
        ),
        ({"dims": 4}, r"dims=4 does not fit the parameters of the file, where dims is \(8, 16\): make a new network"),
        ({"heads": 4, "head_dims": 2}, r"heads=4 does not fit"),
        ({"centers": 3, "neighbors": 4}, r"neighbors=4 does not fit .* neighbors is \(3, 3\)"),
        ({"in_channels": 1}, r"in_channels=1 does not fit .*pretrained=True, in_channels=1\) adapts"),
        ({"layer_scale": 0.1}, "layer_scale=0.1 does not fit .* only where training starts"),
        ({"dense": True}, "dense=True does not fit"),
        ({"centres": 3}, "unknown setting 'centres'; choose from normalizer, "),
        ({"centers": 0}, "centers must hold integers of at least 1"),
        ({"map_location": "cuda"}, "unknown setting 'map_location'"),
    ],
)
def test_settings_that_need_other_parameters(folder: Path, overrides: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ContextClusterNet.from_pretrained(folder, **overrides)


def test_config_json_holds_every_field(tmp_path: Path) -> None:
    net = ContextClusterNet.from_preset("coc_tiny", dims=(8, 16, 32, 64), depths=1)
    net.weights_info = WeightsInfo(license="mit", source="my photos", transform=ImageTransform(input_size=(32, 48)))
    net.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    assert content["config"]["dims"] == [8, 16, 32, 64]
    assert {field.name for field in fields(NetworkConfig)} == content["config"].keys()
    assert (content["preset"], content["license"], content["source"]) == (None, "mit", "my photos")
    assert content["transform"]["input_size"] == [32, 48]
    assert ContextClusterNet.from_pretrained(tmp_path).weights_info == net.weights_info


def test_files_are_as_readable_as_others(folder: Path) -> None:
    modes = {file.stat().st_mode for file in folder.iterdir()}
    assert len(modes) == 1


def test_the_card_says_what_the_network_is(folder: Path) -> None:
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "pointcoc"
    assert card.data.tags == ["context-clusters"]
    assert "| normalizer | similarity |" in card.text


def test_a_card_that_was_edited_is_kept(folder: Path) -> None:
    (folder / "README.md").write_text("Mine.")
    small().save_pretrained(folder)
    assert (folder / "README.md").read_text() == "Mine."


def test_folder_without_a_file(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors was not written by pointcoc: it must have a header, or"):
        ContextClusterNet.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no weights at .*net: give a folder with model\.safetensors and config"
    ):
        ContextClusterNet.from_pretrained(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
def test_truncated_file(folder: Path, file: str, kept: float) -> None:
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=rf"{file} is truncated or not"):
        ContextClusterNet.from_pretrained(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "cluster"}, r"config\.json does not say which kind of model .*: classifier, .*; got 'cluster'"),
        ({"rotary": 1, "pointcoc_version": "9.1"}, "does not know: rotary; pointcoc 9.1 wrote it: install that"),
        ({"dims": [8, -1]}, r"config\.json holds a value that is not allowed: dims must hold integers"),
        ({"mlp_ratios": "ab"}, r"config\.json holds a value that is not allowed"),
        ({"transform": {"crop": 1}}, r"config\.json holds a value that is not allowed: .*crop"),
        ({"transform": 3}, r"config\.json holds a value that is not allowed"),
        ({"dims": [8, 24]}, r"the weights and config\.json do not belong together; .*\(16, 8, 3, 3\) instead of"),
    ],
)  # fmt: skip
def test_config_that_cannot_be_used(folder: Path, values: dict, message: str) -> None:
    edit(folder, **values)
    with pytest.raises(ValueError, match=message):
        ContextClusterNet.from_pretrained(folder)


def test_fields_a_file_lacks_have_their_defaults(folder: Path) -> None:
    edit(folder, iterations=None, backend=None)
    assert ContextClusterNet.from_pretrained(folder).config == SMALL


def test_weights_with_other_names(folder: Path) -> None:
    state = safetensors.torch.load_file(folder / "model.safetensors")
    state["neck.weight"] = state.pop("head.bias").clone()
    safetensors.torch.save_file(state, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"1 missing: head\.bias; 1 left over: neck\.weight"):
        ContextClusterNet.from_pretrained(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "somebody/nothing",
            r"somebody/nothing is neither a folder nor could it be fetched from the hub \(.+\): check",
        ),
        ("no such folder/at/all", "no weights at no such folder/at/all: give a folder with"),
        ("/nowhere", "no weights at /nowhere: give a folder with"),
    ],
)
def test_name_that_cannot_be_fetched(monkeypatch, tmp_path: Path, name: str, message: str) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=message):
        ContextClusterNet.from_pretrained(name, cache_dir=tmp_path)


def test_names_on_the_hub_are_fetched(monkeypatch, folder: Path) -> None:
    calls = []

    def fetch(repo_id: str, filename: str, **options) -> str:
        calls.append((repo_id, filename, options["revision"], options["token"]))
        return str(folder / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    loaded = ContextClusterNet.from_pretrained("somebody/net", revision="v1", token="secret", centers=1)
    assert loaded.config == SMALL.replace(centers=1)
    assert calls == [("somebody/net", file, "v1", "secret") for file in ("config.json", "model.safetensors")]


def test_push_to_hub_uploads_the_folder(monkeypatch) -> None:
    uploaded = {}

    class Api:
        def __init__(self, token=None):
            uploaded["token"] = token

        def create_repo(self, repo_id: str, **options):
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, repo_id: str, folder_path: Path, **options) -> str:
            uploaded[repo_id] = ContextClusterNet.from_pretrained(folder_path)
            return "https://hub/commit"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    net = small()
    assert net.push_to_hub("somebody/net", token="secret") == "https://hub/commit"
    assert torch.equal(uploaded["somebody/net"](images()), net(images()))
    assert uploaded["token"] == "secret"


def test_the_mixin_leaves_the_network_as_it_is() -> None:
    net = small()
    names = {name.split(".")[0] for name in net.state_dict()}
    assert names == {"reducers", "stages", "norm", "head"}
    assert not [name for name in vars(net) if "hub" in name]
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.config == net.config
        assert torch.equal(other(images()), net(images()))


@pytest.fixture
def home(monkeypatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path))
    return tmp_path


def nano(**overrides) -> ContextClusterNet:
    return order_one_network("coc_nano", **overrides)


def test_pretrained_loads_what_is_in_the_weights_folder(home: Path) -> None:
    net = nano(normalizer="count")
    net.save_pretrained(home / "coc_nano")
    loaded = ContextClusterNet.from_preset("coc_nano", pretrained=True, centers=1)
    assert loaded.config == net.config.replace(centers=1)
    assert torch.equal(loaded.reducers[0].weight, net.reducers[0].weight)


@pytest.mark.parametrize("num_classes", [0, 7])
def test_pretrained_with_other_classes_has_a_new_classifier_only(home: Path, num_classes: int) -> None:
    net = nano()
    net.save_pretrained(home / "coc_nano")
    loaded = ContextClusterNet.from_preset("coc_nano", True, num_classes=num_classes)
    assert loaded.config.num_classes == num_classes
    assert torch.equal(loaded.forward_features(images()).x, net.forward_features(images()).x)
    assert loaded(images()).shape == (2, num_classes or net.config.dims[-1])


def test_pretrained_with_one_channel_sees_gray_images_as_before(home: Path) -> None:
    net = nano()
    net.weights_info = WeightsInfo(license="mit", transform=ImageTransform())
    net.save_pretrained(home / "coc_nano")
    loaded = ContextClusterNet.from_preset("coc_nano", pretrained=True, in_channels=1)
    gray = images(1)
    torch.testing.assert_close(loaded(gray), net(gray.expand(-1, 3, -1, -1)), rtol=0, atol=1e-12)
    assert loaded.weights_info == WeightsInfo(license="mit")


def test_pretrained_never_is_random(home: Path) -> None:
    message = (
        r"no converted weights of preset coc_small in .*coc_small: download its checkpoint \(listed at "
        r"https://github\.com/ma-xu/Context-Cluster\) and run `pointcoc convert coc_small\.pth\.tar --preset coc_small"
    )
    with pytest.raises(FileNotFoundError, match=message):
        ContextClusterNet.from_preset("coc_small", pretrained=True)
    with pytest.raises(FileNotFoundError, match=r"no weights of preset coc_points in .* none are published"):
        ContextClusterNet.from_preset("coc_points", pretrained=True)
    with pytest.raises(ValueError, match="unknown preset 'coc_huge'"):
        ContextClusterNet.from_preset("coc_huge", pretrained=True)
    with pytest.raises(ValueError, match="unknown setting 'classes'"):
        ContextClusterNet.from_preset("coc_small", pretrained=True, classes=3)


def test_pretrained_checks_what_the_folder_holds(home: Path) -> None:
    nano().save_pretrained(home / "coc_tiny")
    with pytest.raises(ValueError, match=r"folder .*coc_tiny holds weights of coc_nano, not of coc_tiny"):
        ContextClusterNet.from_preset("coc_tiny", pretrained=True)
    nano().save_pretrained(home / "coc_nano")
    with pytest.raises(ValueError, match=r"dims=4 does not fit the parameters of the file"):
        ContextClusterNet.from_preset("coc_nano", pretrained=True, dims=4)


def test_help_shows_the_arguments_of_the_network() -> None:
    assert list(inspect.signature(ContextClusterNet).parameters) == ["config"]


def test_a_card_does_not_pass_changed_weights_off_as_those_of_the_source(tmp_path: Path) -> None:
    net = ContextClusterNet.from_preset("coc_nano", depths=1)
    net.weights_info = WeightsInfo(source="somebody's weights")
    for num_classes in (3, 4):
        net.reset_classifier(num_classes)
    assert net.weights_info.source == "started from, and changed since: somebody's weights"


def test_a_network_with_other_tensors_is_not_saved(tmp_path: Path) -> None:
    net = ContextClusterNet.from_preset("coc_nano", depths=1)
    net.head = torch.nn.Identity()
    with pytest.raises(ValueError, match="its tensors are not those of its config"):
        net.save_pretrained(tmp_path / "net")
    assert not list(tmp_path.rglob("*.*"))
