"""timm's own tests of models, run for every preset, and timm's tools on our models."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from official_formula import official_state
from order_one import order_one
from PIL import Image
from safetensors import safe_open
from timm.data import create_loader, create_transform, resolve_model_data_config
from timm.models import FeatureInfo, group_parameters, load_checkpoint, save_for_hf
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn

import pointcoc.timm
from pointcoc import PRESETS, ContextClusterNet
from pointcoc.timm import ContextClusterModel

IMAGE_PRESETS = sorted(name for name, config in PRESETS.items() if config.anchors == "lattice")
SMALL = {"depths": (1, 2, 1, 1), "dims": (8, 12, 16, 20), "heads": 2, "head_dims": 4, "mlp_ratios": 2}
OFFICIAL = Path(__file__).parent / "official"


def small(name: str = "coc_tiny", **options) -> nn.Module:
    """Make a narrow variant of a preset by timm."""
    return timm.create_model(name, **{**SMALL, **options})


def weights(**options) -> dict[str, Tensor]:
    """State dict of a narrow network with weights of order one."""
    return order_one(small(num_classes=1000, **options)).state_dict()


def official_small(**options) -> tuple[dict[str, Tensor], dict]:
    """Weights of a small official network in float64 under the authors' names, and the options that make it."""
    with safe_open(OFFICIAL / f"{options.pop('toy')}.safetensors", "pt") as file:
        toy = json.loads(file.metadata()["config"])
    names = {"layers": "depths", "dims": "dims", "heads": "heads", "hd": "head_dims", "mlp": "mlp_ratios"}
    settings = {name: toy[key] for key, name in {**names, "fw": "regions", "pw": "centers"}.items()}
    return official_state(toy), {**settings, "dtype": torch.float64, **options}


def rename_all(state: dict[str, Tensor], name: str) -> None:
    """Leave one tensor in a state dict, under this name."""
    state.clear()
    state[name] = torch.ones(1)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# The registry.


def test_every_image_preset_is_registered_and_no_other() -> None:
    assert sorted(timm.list_models("coc_*")) == IMAGE_PRESETS
    assert set(pointcoc.timm.__all__) == {"ContextClusterModel", "checkpoint_filter_fn", *IMAGE_PRESETS}
    assert all(hasattr(pointcoc.timm, name) for name in pointcoc.timm.__all__)
    assert timm.list_models("coc_*", pretrained=True) == []


def test_registering_is_quiet() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", "import pointcoc.timm"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# timm's tests of models, at sizes that one thread runs in seconds.


@pytest.fixture(scope="module", params=IMAGE_PRESETS)
def preset_model(request: pytest.FixtureRequest) -> Iterator[ContextClusterModel]:
    """A model of every preset as registered; tests leave it as it is."""
    yield timm.create_model(request.param, num_classes=42)


def test_model_forward(preset_model: ContextClusterModel) -> None:
    logits = preset_model.eval()(noise(1, 3, 64, 48))
    assert logits.shape == (1, 42)
    assert bool(logits.isfinite().all())


def test_model_backward(preset_model: ContextClusterModel) -> None:
    preset_model.train()(noise(2, 3, 32, 32)).mean().backward()
    without = [name for name, parameter in preset_model.named_parameters() if parameter.grad is None]
    preset_model.zero_grad()
    assert without == []


def test_model_intermediates(preset_model: ContextClusterModel) -> None:
    preset_model.eval()
    info, x = FeatureInfo(preset_model.feature_info, len(preset_model.feature_info)), noise(1, 3, 64, 64)
    last, maps = preset_model.forward_intermediates(x)
    assert [one.shape[1] for one in maps] == info.channels()
    assert [64 // one.shape[2] for one in maps] == info.reduction()
    assert torch.equal(last, preset_model.forward_features(x))
    assert torch.equal(last, preset_model.forward_intermediates(x, norm=True, intermediates_only=True)[-1])


@pytest.mark.parametrize("name", IMAGE_PRESETS)
def test_model_default_cfg_and_classifier(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name).eval()
    cfg, x = net.default_cfg, torch.empty(1, *net.default_cfg["input_size"], device="meta")
    assert cfg is net.pretrained_cfg
    assert cfg["num_classes"] == net.num_classes == PRESETS[name].num_classes
    assert net.get_submodule(cfg["classifier"]) is net.get_classifier()
    assert {f"{cfg['classifier']}.weight", f"{cfg['first_conv']}.weight"} <= net.state_dict().keys()
    stride = net.feature_info[-1]["reduction"]
    assert cfg["pool_size"] == tuple(-(-side // stride) for side in x.shape[2:])
    assert (cfg["interpolation"], cfg["crop_pct"], cfg["paper_ids"]) == ("bicubic", 0.9, "arXiv:2303.01494")
    assert (cfg["mean"], cfg["std"]) == (timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)
    assert ("license" in cfg and "origin_url" in cfg) == (name not in ("coc_nano", "coc_pico", "coc_mini"))


@pytest.mark.parametrize("name", IMAGE_PRESETS)
def test_model_classifier_reset(name: str) -> None:
    net = timm.create_model(name, depths=1, num_classes=42).eval()
    cfg, x = net.default_cfg, noise(1, *net.default_cfg["input_size"])
    features = net.forward_features(x)
    assert tuple(features.shape) == (1, net.num_features, *cfg["pool_size"])
    assert net.forward_head(features).shape == (1, 42)
    assert net.forward_head(features, pre_logits=True).shape == (1, net.head_hidden_size)
    net.reset_classifier(0)
    assert net(x).shape == (1, net.num_features)
    net.reset_classifier(0, "")
    assert torch.equal(net(x), features)
    net.reset_classifier(3, "avg")
    assert net(x).shape == (1, 3)


@pytest.mark.parametrize("name", IMAGE_PRESETS)
def test_model_features(name: str) -> None:
    net = timm.create_model(name, depths=1, features_only=True, in_chans=1).eval()
    maps = net(noise(2, 1, 64, 64))
    assert [tuple(one.shape) for one in maps] == [
        (2, dim, 64 // reduction, 64 // reduction)
        for dim, reduction in zip(net.feature_info.channels(), net.feature_info.reduction(), strict=True)
    ]
    assert net.feature_info.channels() == list(PRESETS[name].dims)


# Options of create_model.


def test_options_reach_the_configuration() -> None:
    net = timm.create_model(
        "coc_tiny", num_classes=10, in_chans=1, drop_rate=0.2, drop_path_rate=0.1, centers=3, window=(7, 7, 7, None)
    )
    assert net.config == PRESETS["coc_tiny"].replace(
        num_classes=10, in_channels=1, dropout=0.2, drop_path=0.1, centers=3, window=(7, 7, 7, None)
    )
    assert net.reducers[0].weight.shape[1] == 1 + 2
    assert net(noise(1, 1, 32, 32)).shape == (1, 10)


def test_fields_by_their_own_name() -> None:
    net = small(in_channels=2, dropout=0.1, drop_path=0.2, dtype=torch.float64, device="cpu", global_pool="avg")
    assert (net.in_chans, net.config.dropout, net.config.drop_path) == (2, 0.1, 0.2)
    assert next(net.parameters()).dtype == torch.float64
    assert small(num_classes=0, global_pool="")(noise(1, 3, 32, 32)).shape == (1, 20, 1, 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"drop_paht_rate": 0.1},
            ValueError,
            "unknown setting 'drop_paht_rate'; choose from global_pool, in_",
        ),
        ({"out_indices": (1,)}, ValueError, "unknown setting 'out_indices'"),
        ({"img_size": 64}, TypeError, "coc_tiny takes no img_size: it reads images of any size"),
        ({"global_pool": "max"}, ValueError, "unknown global_pool 'max'"),
        ({"in_chans": 1, "in_channels": 1}, ValueError, "give in_chans or in_channels, not both"),
        ({"features_only": True, "feature_cls": "hook"}, ValueError, "feature_cls must be 'getter', got 'hook'"),
        (
            {"features_only": True, "out_indices": (4,)},
            ValueError,
            r"indices must be in \[-4, 3\], got 4",
        ),
        ({"anchors": "fps"}, ValueError, "timm's models read images"),
    ],
)
def test_options_that_cannot_be_obeyed(options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        timm.create_model("coc_tiny", **options)


@pytest.mark.parametrize(("indices", "stages"), [((0, 2), [0, 2]), ((-1,), [3]), (2, [2, 3]), ((1, -1), [1, 3])])
def test_features_of_some_stages(indices, stages: list[int]) -> None:
    net = small(features_only=True, out_indices=indices).eval()
    every = small(features_only=True).eval()
    every.model.load_state_dict(net.model.state_dict(), strict=False)
    x = noise(1, 3, 64, 64)
    assert net.feature_info.channels() == [SMALL["dims"][s] for s in stages]
    assert net.feature_info.reduction() == [4 * 2**s for s in stages]
    assert all(torch.equal(one, every(x)[s]) for one, s in zip(net(x), stages, strict=True))
    assert len(net.model.stages) == max(stages) + 1


# Weights.


def test_our_checkpoint_after_the_model_is_made(tmp_path: Path) -> None:
    state = weights()
    safetensors.torch.save_file(state, tmp_path / "ours.safetensors")
    net = small(checkpoint_path=str(tmp_path / "ours.safetensors"))
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    plain = ContextClusterNet(net.config)
    plain.load_state_dict(net.state_dict())
    x = noise(1, 3, 32, 32)
    torch.testing.assert_close(plain.eval()(x), net.eval()(x))


@pytest.mark.parametrize("toy", ["toy_regions", "toy_no_regions"])
def test_the_authors_checkpoints(tmp_path: Path, toy: str) -> None:
    state, options = official_small(toy=toy)
    path = tmp_path / "official.pth.tar"
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    classes = len(state["head.weight"])
    net = timm.create_model(
        "coc_tiny", pretrained=True, pretrained_cfg_overlay={"file": str(path), "num_classes": classes}, **options
    )
    with safe_open(OFFICIAL / f"{toy}.safetensors", "pt") as file:
        x, logits = file.get_tensor("input"), file.get_tensor("logits")
    torch.testing.assert_close(net.eval()(x), logits, rtol=0, atol=1e-10)
    filtered = timm.create_model("coc_tiny", num_classes=classes, **options)
    filtered.pretrained_cfg["num_classes"] = classes
    load_checkpoint(filtered, str(path), filter_fn=pointcoc.timm.checkpoint_filter_fn)
    assert torch.equal(filtered.eval()(x), net(x))


def test_features_of_the_authors_dense_network() -> None:
    state, options = official_small(toy="toy_dense", features_only=True, dense=True)
    net = timm.create_model("coc_tiny", pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **options)
    with safe_open(OFFICIAL / "toy_dense.safetensors", "pt") as file:
        maps = net.eval()(file.get_tensor("input"))
        for s, one in enumerate(maps):
            torch.testing.assert_close(one, file.get_tensor(f"feature{s + 1}"), rtol=0, atol=1e-10)


def test_other_channels_and_classes_of_pretrained_weights() -> None:
    state = weights()
    net = small(pretrained=True, pretrained_cfg_overlay={"state_dict": state}, in_chans=1, num_classes=7)
    first, mine = state["reducers.0.weight"], net.reducers[0].weight
    torch.testing.assert_close(mine[:, :1], first[:, :3].sum(1, keepdim=True))
    assert torch.equal(mine[:, 1:], first[:, 3:])
    assert net.head.weight.shape == (7, 20)
    x = noise(1, 1, 32, 32)
    plain = small(pretrained=True, pretrained_cfg_overlay={"state_dict": state})
    torch.testing.assert_close(net.forward_features(x), plain.forward_features(x.expand(-1, 3, -1, -1)))
    features = small(pretrained=True, pretrained_cfg_overlay={"state_dict": state}, in_chans=5, features_only=True)
    assert torch.equal(features.model.stages[0][0].mlp.fc1.weight, state["stages.0.0.mlp.fc1.weight"])
    assert torch.equal(features.model.reducers[0].weight[:, 5:], first[:, 3:])
    assert net.default_cfg["first_conv"] == features.default_cfg["first_conv"] == "reducers.0"


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda state: state.pop("norm.bias"), {}, "checkpoint does not fit coc_tiny .*; 1 missing: norm.bias"),
        (lambda state: state.update(neck=torch.ones(1)), {"num_classes": 3}, "1 left over: neck"),
        (lambda state: None, {"dims": 8, "num_classes": 3}, "of another shape: "),
        (lambda state: state.update({"head.bias": torch.ones(3)}), {}, "classifier for 3 classes and .* says 1000"),
        (lambda state: None, {"layer_scale": 0.1}, "layer_scale is where training starts"),
        (
            lambda state: rename_all(state, "network.0.0.token_mixer.fc_v.weight"),
            {},
            "names of 2023 .*normalizer='count'",
        ),
        (lambda state: rename_all(state, "layer1.0.conv1.weight"), {"num_classes": 3}, "speaks no official dialect"),
    ],
)
def test_weights_that_do_not_fit(change, options: dict, message: str) -> None:
    state = weights()
    change(state)
    with pytest.raises(ValueError, match=message):
        small(pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **options)


def test_pretrained_is_never_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"github.com/ma-xu/Context-Cluster.*pointcoc convert .*--preset"):
        timm.create_model("coc_tiny", pretrained=True)


def test_converted_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path))
    config = PRESETS["coc_nano"].replace(normalizer="count", num_classes=3)
    plain = order_one(ContextClusterNet(config)).eval()
    plain.save_pretrained(tmp_path / "coc_nano")
    net, x = timm.create_model("coc_nano", pretrained=True).eval(), noise(1, 3, 32, 32)
    assert isinstance(net, ContextClusterModel)
    assert (net.config, net.pretrained_cfg["num_classes"]) == (config, 3)
    torch.testing.assert_close(net(x), plain(x))
    other = timm.create_model("coc_nano", pretrained=True, num_classes=10, in_chans=1, normalizer="similarity")
    assert other.config == config.replace(num_classes=10, in_channels=1, normalizer="similarity")
    assert torch.equal(other.stages[0][0].mlp.fc1.weight, plain.stages[0][0].mlp.fc1.weight)
    mine = ContextClusterModel.from_pretrained(tmp_path / "coc_nano")
    assert torch.equal(mine(x), net(x))


def test_folders_of_timm(tmp_path: Path) -> None:
    net = order_one(small(in_chans=1, num_classes=6, regions=(2, 2, 1, 1))).eval()
    save_for_hf(net, tmp_path, safe_serialization=True)
    again, x = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval(), noise(1, 1, 40, 40)
    assert again.config == net.config
    assert torch.equal(again(x), net(x))


# timm's tools.


def test_transforms_and_loaders() -> None:
    net = small(num_classes=4).eval()
    settings = resolve_model_data_config(net)
    assert settings == {
        "input_size": (3, 224, 224), "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
        "mean": timm.data.IMAGENET_DEFAULT_MEAN, "std": timm.data.IMAGENET_DEFAULT_STD,
    }  # fmt: skip
    assert create_transform(**settings)(_picture(0)).shape == (3, 224, 224)
    data = [(_picture(i), i) for i in range(4)]
    loader = create_loader(
        _Pictures(data), (3, 64, 64), batch_size=2, use_prefetcher=False, num_workers=0, persistent_workers=False
    )
    for x, labels in loader:
        assert net(x).shape == (len(labels), 4)


class _Pictures(torch.utils.data.Dataset):
    """Four images; timm's loader sets the transform."""

    transform = None

    def __init__(self, data: list):
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        assert self.transform is not None
        image, label = self.data[index]
        return self.transform(image), label


def _picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (80, 90, 3), dtype=np.uint8))


def test_layers_of_layer_decay() -> None:
    net = small()
    fine = group_parameters(net, net.group_matcher(), reverse=True)
    coarse = group_parameters(net, net.group_matcher(coarse=True), reverse=True)
    expected = {
        "reducers.0.weight": (0, 0), "stages.0.0.scale1": (1, 1), "reducers.1.bias": (2, 2),
        "stages.1.0.scale1": (2, 2), "stages.1.1.cluster.alpha": (3, 2), "reducers.2.weight": (4, 3),
        "stages.3.0.scale2": (5, 4), "norm.weight": (5, 4), "head.bias": (6, 5),
    }  # fmt: skip
    assert {name: (fine[name], coarse[name]) for name in expected} == expected
    dense = small(dense=True)
    fine = group_parameters(dense, dense.group_matcher(), reverse=True)
    assert [fine[f"stage_norms.{s}.weight"] for s in range(4)] == [1, 3, 4, 5]


def test_optimizers() -> None:
    net = small(num_classes=3)
    optimizer = create_optimizer_v2(net, "adamw", lr=1.0, weight_decay=0.1, layer_decay=0.5)
    scale = {
        id(p): (group["lr_scale"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]
    }
    assert len(scale) == len(list(net.parameters()))
    assert scale[id(net.head.weight)] == (1.0, 0.1)
    assert scale[id(net.stages[1][1].cluster.alpha)] == (0.5**3, 0.0)
    assert scale[id(net.reducers[0].weight)] == (0.5**6, 0.1)
    plain = create_optimizer_v2(net, "sgd", lr=0.1, weight_decay=0.1)
    no_decay, decay = (group["params"] for group in plain.param_groups)
    assert {parameter.ndim for parameter in no_decay} == {1}
    assert all(parameter.ndim > 1 for parameter in decay)


def test_training_with_moving_average() -> None:
    torch.manual_seed(0)
    net = small(num_classes=2, layer_scale=0.1).train()
    average = ModelEmaV3(net, decay=0.5)
    optimizer = create_optimizer_v2(net, "adamw", lr=3e-3, layer_decay=0.9)
    x, labels = noise(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(net)
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert average.module.eval()(x).shape == (4, 2)
    assert not torch.equal(average.module.head.weight, net.head.weight)


# Tools that look inside.


def visible() -> tuple[nn.Module, Tensor, Tensor]:
    """A narrow model whose blocks matter, two images of a size that splits unevenly, and their labels."""
    torch.manual_seed(0)
    net = small(num_classes=3, layer_scale=1.0).eval()
    return net, noise(2, 3, 50, 37), torch.tensor([0, 2])


def test_gradients_of_each_sample() -> None:
    net, x, labels = visible()
    parameters = {name: value.detach() for name, value in net.named_parameters()}

    def loss(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = torch.func.functional_call(net, parameters, (image[None],))
        return nn.functional.cross_entropy(logits, label[None])

    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, x, labels)
    for i in range(2):
        alone = nn.functional.cross_entropy(net(x[i : i + 1]), labels[i : i + 1])
        for (name, _), one in zip(
            net.named_parameters(), torch.autograd.grad(alone, list(net.parameters())), strict=True
        ):
            torch.testing.assert_close(found[name][i], one, rtol=1e-4, atol=1e-6)


def test_maps_of_stages_are_modules() -> None:
    net, x, _ = visible()
    seen = []
    handles = [one.register_forward_hook(lambda module, inputs, output: seen.append(output)) for one in net.stage_maps]
    _, maps = net.forward_intermediates(x)
    assert all(torch.equal(one, other) for one, other in zip(seen, maps, strict=True))
    for handle in handles:
        handle.remove()
    assert not any(name.startswith("stage_maps") for name in net.state_dict())
    net.prune_intermediate_layers((1,))
    assert len(net.stage_maps) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")  # of others
def test_grad_cam_of_a_stage() -> None:
    grad_cam = pytest.importorskip("pytorch_grad_cam")
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")
    net, x, labels = visible()
    with grad_cam.GradCAM(net, [net.stage_maps[2]]) as cam:
        heat = torch.from_numpy(cam(x, [targets.ClassifierOutputTarget(int(label)) for label in labels]))
    kept: list[Tensor] = []
    net.stage_maps[2].register_forward_hook(lambda module, inputs, output: kept.append(output))
    (slope,) = torch.autograd.grad(net(x)[range(2), labels].sum(), kept)
    expected = (slope.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).relu()
    expected = nn.functional.interpolate(scale(expected), (50, 37), mode="bilinear")
    torch.testing.assert_close(heat, scale(expected)[:, 0].detach(), rtol=0, atol=1e-3)


def scale(maps: Tensor) -> Tensor:
    """Scale maps (B, 1, H, W) to 0 to 1 each."""
    maps = maps - maps.amin((2, 3), keepdim=True)
    return maps / (1e-7 + maps.amax((2, 3), keepdim=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")  # of others
def test_captum_on_stages_and_blocks() -> None:
    attr = pytest.importorskip("captum.attr")
    net, x, labels = visible()
    assert attr.LayerGradCam(net, net.stage_maps[2]).attribute(x, labels).shape == (2, 1, 4, 3)
    # A layer inside a block sees one row a point, in the order of regions.
    assert attr.LayerActivation(net, net.stages[2][0].mlp).attribute(x).shape == (2 * 4 * 3, 16)
    change = attr.IntegratedGradients(net).attribute(x, target=labels, n_steps=32).sum((1, 2, 3))
    difference = (net(x) - net(torch.zeros_like(x)))[range(2), labels]
    torch.testing.assert_close(change, difference, rtol=0.3, atol=0.05)
