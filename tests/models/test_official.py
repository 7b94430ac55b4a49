"""The authors' checkpoints and the authors' numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from official_formula import official_state
from safetensors import safe_open
from torch import Tensor

from pointcoc import ContextClusterNet, NetworkConfig
from pointcoc.models import preset
from pointcoc.models.weights.official_weights import adapt_in_channels, find_dialect, rename_official

OFFICIAL = Path(__file__).parents[1] / "official"
CLASSIFIERS = ("toy_regions", "toy_uneven_centers", "toy_no_regions")
SHAPES = json.loads((OFFICIAL / "state_dict_shapes.json").read_text())
PARAMETERS = {
    "coc_tiny": 5_570_584,
    "coc_tiny2": 5_570_584,
    "coc_tiny_plain": 5_570_584,
    "coc_small": 14_657_024,
    "coc_medium": 29_290_520,
    "coc_base_dim64": 54_231_100,
    "coc_base_dim96": 53_054_904,
}


def read_toy(name: str) -> tuple[dict, dict[str, Tensor]]:
    """Settings and tensors of a file of the authors' outputs."""
    with safe_open(OFFICIAL / f"{name}.safetensors", "pt") as file:
        settings = json.loads(file.metadata()["config"])
        return settings, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)


def toy_config(settings: Mapping, **overrides) -> NetworkConfig:
    config = NetworkConfig(
        num_classes=settings.get("num_classes", 0),
        dense="num_classes" not in settings,
        depths=settings["layers"],
        dims=settings["dims"],
        heads=settings["heads"],
        head_dims=settings["hd"],
        mlp_ratios=settings["mlp"],
        regions=settings["fw"],
        centers=settings["pw"],
    )
    return config.replace(**overrides)


def toy_network(name: str) -> tuple[ContextClusterNet, dict[str, Tensor]]:
    settings, tensors = read_toy(name)
    return ContextClusterNet.from_official(official_state(settings), config=toy_config(settings)), tensors


def small_state(seed: int = 0) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Configuration and random official weights of a small classifier, float32."""
    settings, _ = read_toy("toy_no_regions")
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: value.shape for name, value in official_state(settings).items()}
    return toy_config(settings), {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def preset_state(name: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Zeros that take no memory, in the shapes of a preset."""
    return {key: torch.zeros((), dtype=dtype).expand(shape) for key, shape in SHAPES[name].items()}


def as_points(maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) as rows (B * H * W, C)."""
    return maps.movedim(1, -1).flatten(0, -2)


def assert_equal(actual: Tensor, expected: Tensor, atol: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def assert_same_weights(net: ContextClusterNet, other: ContextClusterNet) -> None:
    for (name, one), (other_name, two) in zip(net.state_dict().items(), other.state_dict().items(), strict=True):
        assert name == other_name
        assert torch.equal(one, two), name


def reproduce(net: ContextClusterNet, images: Tensor) -> dict[str, Tensor]:
    """Compute every tensor that the files of the classifiers hold; features as rows."""
    plan = net.plan(images)
    stage, block = plan.stages[0], net.stages[0][0]
    order = stage.regions.order
    points = torch.cat([as_points(images), net._points(images).x[:, 3:]], dim=1)
    embedding = net.reducers[0](points, stage)
    entered = embedding if order is None else order.enter(embedding)
    clustered, _ = block.cluster(block.norm1(entered, stage.sets), stage.regions)
    output, _ = block(entered, stage.sets, stage.regions)
    found = {
        "embedding": embedding,
        "block0_cluster_output": clustered if order is None else order.leave(clustered),
        "block0_output": output if order is None else order.leave(output),
        "logits": net(images),
    }
    maps = net.forward_intermediates(images, plan=plan)
    return found | {f"stage{s + 1}": as_points(stage_maps) for s, stage_maps in enumerate(maps)}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_reproduce_every_tensor(name: str) -> None:
    net, tensors = toy_network(name)
    with torch.inference_mode():
        found = reproduce(net, tensors["input"])
    assert found.keys() == tensors.keys() - {"input"}
    for key, value in found.items():
        assert_equal(value, tensors[key] if key == "logits" else as_points(tensors[key]))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_stages_come_as_maps(name: str) -> None:
    net, tensors = toy_network(name)
    with torch.inference_mode():
        stages = net.forward_intermediates(tensors["input"])
    for s, maps in enumerate(stages):
        assert_equal(maps, tensors[f"stage{s + 1}"])


def test_dense_network_reproduces_every_feature() -> None:
    net, tensors = toy_network("toy_dense")
    assert net.config.dense
    assert net.norm is None
    with torch.inference_mode():
        features = net.forward_intermediates(tensors["input"])
    assert len(features) == len(tensors) - 1 == 4
    for s, maps in enumerate(features):
        assert_equal(maps, tensors[f"feature{s + 1}"])


def test_normalizer_count_gives_other_logits() -> None:
    settings, tensors = read_toy("toy_regions")
    net = ContextClusterNet.from_official(official_state(settings), config=toy_config(settings, normalizer="count"))
    with torch.inference_mode():
        assert (net(tensors["input"]) - tensors["logits"]).abs().max() > 1e-3


def test_normalizer_argument_reaches_the_preset() -> None:
    state = preset_state("coc_small")
    assert ContextClusterNet.from_official(state).config.normalizer == "similarity"
    assert ContextClusterNet.from_official(state, normalizer="count").config.normalizer == "count"
    with pytest.raises(ValueError, match="unknown normalizer 'mean'"):
        ContextClusterNet.from_official(state, normalizer="mean")


@pytest.mark.parametrize("name", PARAMETERS)
def test_presets_have_the_official_shapes(name: str) -> None:
    assert sum(torch.Size(shape).numel() for shape in SHAPES[name].values()) == PARAMETERS[name]
    net = ContextClusterNet.from_official(preset_state(name, torch.bfloat16), preset=name)
    assert net.config == preset(name)
    assert not net.training
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[name]
    assert {parameter.dtype for parameter in net.parameters()} == {torch.bfloat16}
    assert all(not bool(parameter.any()) for parameter in net.parameters())


def test_the_preset_is_found_where_the_shapes_tell() -> None:
    net = ContextClusterNet.from_official(preset_state("coc_small"))
    assert net.config == preset("coc_small")


def test_the_number_of_classes_is_read() -> None:
    state = preset_state("coc_tiny") | {"head.weight": torch.zeros(3, 320), "head.bias": torch.zeros(3)}
    assert ContextClusterNet.from_official(state, preset="coc_tiny").config.num_classes == 3


def test_dense_checkpoints_of_a_preset() -> None:
    state = {name: value for name, value in preset_state("coc_small").items() if not name.startswith(("norm", "head"))}
    for s, dim in enumerate((64, 128, 320, 512)):
        state |= {f"norm{2 * s}.weight": torch.zeros(dim), f"norm{2 * s}.bias": torch.zeros(dim)}
    config = ContextClusterNet.from_official(state).config
    assert config == preset("coc_small", dense=True, num_classes=0)


def old_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rewrite a state dict in the names and shapes of the 2023 submission."""
    old = {}
    for name, value in state.items():
        if ".token_mixer." in name:
            for new, former in ((".f.", ".fc1."), (".v.", ".fc_v."), (".proj.", ".fc2.")):
                name = name.replace(new, former)
        if ".mlp." in name and name.endswith("weight"):
            value = value[..., None, None]
        old[name] = value
    return old


def test_names_of_2023() -> None:
    config, state = small_state()
    config = config.replace(normalizer="count")
    assert "network.0.0.token_mixer.fc_v.weight" in old_names(state)
    assert old_names(state)["network.0.0.mlp.fc1.weight"].ndim == 4
    net = ContextClusterNet.from_official(old_names(state), config=config)
    assert_same_weights(net, ContextClusterNet.from_official(state, config=config))


@pytest.mark.parametrize("wrapper", ["state_dict", "state_dict_ema", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_wrappers_and_prefixes(wrapper: str, prefix: str) -> None:
    config, state = small_state()
    wrapped = {"epoch": 3, wrapper: {prefix + name: value for name, value in state.items()}}
    net = ContextClusterNet.from_official(wrapped, config=config)
    assert_same_weights(net, ContextClusterNet.from_official(state, config=config))


def test_rows_and_columns_of_the_first_reducer_are_swapped() -> None:
    config, state = small_state()
    net = ContextClusterNet.from_official(state, config=config)
    assert torch.equal(net.reducers[0].weight, state["patch_embed.proj.weight"][:, [0, 1, 2, 4, 3]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_of_the_checkpoint_is_kept(dtype: torch.dtype) -> None:
    config, state = small_state()
    net = ContextClusterNet.from_official({name: value.to(dtype) for name, value in state.items()}, config=config)
    assert {parameter.dtype for parameter in net.parameters()} == {dtype}


@pytest.mark.parametrize("file_name", ["weights.safetensors", "weights.pth"])
@pytest.mark.parametrize("as_text", [False, True])
def test_files(tmp_path: Path, file_name: str, as_text: bool) -> None:
    config, state = small_state()
    path = tmp_path / file_name
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3}, path)
    net = ContextClusterNet.from_official(str(path) if as_text else path, config=config)
    assert_same_weights(net, ContextClusterNet.from_official(state, config=config))


def test_the_input_mapping_is_left_alone() -> None:
    config, state = small_state()
    before = {name: value.clone() for name, value in state.items()}
    net = ContextClusterNet.from_official(state, config=config)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert all(torch.equal(state[name], value) for name, value in before.items())


def test_checkpoint_of_another_preset() -> None:
    with pytest.raises(
        ValueError, match=r"does not fit coc_tiny \(best fit: coc_small\); .*missing.*left over"
    ) as error:
        ContextClusterNet.from_official(preset_state("coc_small"), preset="coc_tiny")
    assert "reducers.0.weight (64, 5, 4, 4) instead of (32, 5, 4, 4)" in str(error.value) or "more" in str(error.value)


def test_checkpoint_with_names_left_over_and_missing() -> None:
    config, state = small_state()
    del state["head.bias"]
    state["neck.weight"] = torch.zeros(2)
    message = "does not fit the config .*1 missing: head.bias; 1 left over: neck.weight"
    with pytest.raises(ValueError, match=message):
        ContextClusterNet.from_official(state, config=config)


def test_checkpoint_that_fits_no_preset() -> None:
    _, state = small_state()
    with pytest.raises(ValueError, match=r"fits no preset; closest is coc_.*: give preset= or config="):
        ContextClusterNet.from_official(state)


def test_checkpoint_that_fits_several_presets() -> None:
    with pytest.raises(ValueError, match="fits coc_tiny, coc_tiny2, coc_tiny_plain alike: give preset= or config="):
        ContextClusterNet.from_official(preset_state("coc_tiny"))


def test_preset_and_config_exclude_each_other() -> None:
    config, state = small_state()
    with pytest.raises(ValueError, match="give preset or config, not both"):
        ContextClusterNet.from_official(state, preset="coc_tiny", config=config)


def test_unknown_preset() -> None:
    _, state = small_state()
    with pytest.raises(ValueError, match="unknown preset 'coc_huge'; choose from coc_tiny, "):
        ContextClusterNet.from_official(state, preset="coc_huge")


def test_mapping_without_tensors() -> None:
    with pytest.raises(ValueError, match=r"checkpoint holds no tensors, only .'epoch'"):
        ContextClusterNet.from_official({"epoch": 3}, preset="coc_tiny")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"weights\.pth is not a file"):
        ContextClusterNet.from_official(tmp_path / "weights.pth", preset="coc_tiny")


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.99])
def test_truncated_file(tmp_path: Path, kind: str, kept: float) -> None:
    config, state = small_state()
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    if kind == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=rf"checkpoint {re.escape(str(path))} is truncated or not a checkpoint"):
        ContextClusterNet.from_official(path, config=config)


def test_pickle_that_could_run_code(tmp_path: Path) -> None:
    config, state = small_state()
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": state, "args": SimpleNamespace(lr=1)}, path)
    with pytest.raises(ValueError, match="is not readable as plain tensors, and loading more could run code"):
        ContextClusterNet.from_official(path, config=config)


def test_file_that_holds_no_dictionary(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="must hold a dictionary of tensors, got Tensor"):
        ContextClusterNet.from_official(tmp_path / "weights.pth", preset="coc_tiny")


def test_weights_of_2023_need_the_normalizer_count() -> None:
    config, state = small_state()
    message = "names of 2023 .* belong to normalizer 'count', got 'similarity': give normalizer='count'"
    with pytest.raises(ValueError, match=message):
        ContextClusterNet.from_official(old_names(state), config=config)
    with pytest.raises(ValueError, match=message):
        ContextClusterNet.from_official(old_names(preset_state("coc_small")))
    net = ContextClusterNet.from_official(old_names(preset_state("coc_small")), normalizer="count")
    assert net.config == preset("coc_small", normalizer="count")


def test_dialects_are_told_by_names() -> None:
    _, state = small_state()
    assert find_dialect(state) == "2024"
    assert find_dialect(old_names(state)) == "2023"
    assert find_dialect(rename_official(state)) == "pointcoc"
    assert find_dialect({"conv1.weight": 0}) is None


def test_unknown_dialect() -> None:
    state = {f"layer{i}.0.conv1.weight": torch.zeros(1) for i in range(9)}
    message = (
        r"speaks no official dialect: expected names such as patch_embed\.proj\.weight and "
        r"network\.0\.0\.token_mixer\.f\.weight \(fc1\.weight in 2023\), got layer0\.0\.conv1\.weight, .*, \.\.\.; only"
    )
    with pytest.raises(ValueError, match=message):
        ContextClusterNet.from_official(state, preset="coc_tiny")


def test_our_own_names_are_not_swapped_twice() -> None:
    config, state = small_state()
    with pytest.raises(ValueError, match=r"has pointcoc's own names .*: load its folder with from_pretrained"):
        ContextClusterNet.from_official(rename_official(state), config=config)


@pytest.mark.parametrize("given", [None, "coc_small"])
def test_one_wrong_shape_is_named(given: str | None) -> None:
    state = preset_state("coc_small") | {"network.2.0.norm1.weight": torch.zeros(7)}
    message = r"coc_small.*; 1 of another shape: stages\.1\.0\.norm1\.weight \(7,\) instead of \(128,\)"
    with pytest.raises(ValueError, match=message if given else message.replace("; ", r" \(")):
        ContextClusterNet.from_official(state, preset=given)


def test_networks_know_where_their_weights_come_from() -> None:
    info = ContextClusterNet.from_official(preset_state("coc_small")).weights_info
    assert info.license == "apache-2.0"
    assert "https://github.com/ma-xu/Context-Cluster" in info.source
    assert info.transform.input_size == (224, 224)


@pytest.mark.parametrize("in_channels", [1, 2, 4, 7])
def test_channels_are_adapted_as_timm_does(in_channels: int) -> None:
    timm_models = pytest.importorskip("timm.models")
    weight = torch.randn(6, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    adapted = adapt_in_channels(weight, in_channels)
    torch.testing.assert_close(adapted[:, :-2], timm_models.adapt_input_conv(in_channels, weight[:, :3]))
    assert torch.equal(adapted[:, -2:], weight[:, -2:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_gray_images_see_the_sum_of_the_channels(dtype: torch.dtype) -> None:
    weight = torch.randn(2, 5, 2, 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    exact = torch.cat([weight[:, :3].double().sum(1, keepdim=True), weight[:, 3:].double()], 1)
    assert adapt_in_channels(weight, 1).dtype == dtype
    torch.testing.assert_close(adapt_in_channels(weight, 1), exact.to(dtype))


def test_the_same_number_of_channels_changes_nothing() -> None:
    weight = torch.zeros(2, 6, 2, 2)
    assert adapt_in_channels(weight, 4) is weight


@pytest.mark.parametrize(("shape", "in_channels"), [((2, 5), 1), ((2, 2, 4, 4), 1), ((2, 5, 4, 4), 0)])
def test_channels_that_cannot_be_adapted(shape: tuple[int, ...], in_channels: int) -> None:
    with pytest.raises(ValueError, match=r"weight must have shape \(out, channels \+ 2, height, width\)"):
        adapt_in_channels(torch.zeros(shape), in_channels)


def test_the_networks_of_the_authors_point_to_each_other() -> None:
    with pytest.raises(ValueError, match=r"load it with PointMLPCoC\.from_official"):
        ContextClusterNet.from_official({"embedding.net.0.weight": torch.zeros(64, 3, 1)}, preset="coc_tiny")
    with pytest.raises(ValueError, match=r"PointMLPCoC\.from_preset\('pointmlp_coc'\)"):
        ContextClusterNet.from_preset("pointmlp_coc")
