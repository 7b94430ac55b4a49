"""Stages move between images and clouds by value; a network opens from all that the library writes."""

from pathlib import Path

import pytest
import torch
from order_one import order_one
from safetensors.torch import save_file

from pointcoc import ContextClusterNet
from pointcoc.models import ImageTransform, WeightsInfo, copy_stages, open_network, save_model, with_stages_of
from pointcoc.models.presets import preset

SMALL = {
    "depths": (1, 2), "dims": (8, 12), "heads": 2, "head_dims": 4, "mlp_ratios": 2, "strides": 2,
    "centers": 2, "regions": 1,
}  # fmt: skip


def image_net(**fields) -> ContextClusterNet:
    return ContextClusterNet(preset("coc_nano", **{**SMALL, "neighbors": 3, "num_classes": 3, **fields}))


def cloud_net(**fields) -> ContextClusterNet:
    return ContextClusterNet(
        preset("coc_points", **{**SMALL, "neighbors": 4, "center_neighbors": 4, "num_classes": 5, **fields})
    )


@pytest.mark.parametrize(("make_net", "make_source"), [(cloud_net, image_net), (image_net, cloud_net)])
def test_stages_and_norm_go_to_the_other_domain_and_all_else_stays(make_net, make_source) -> None:
    net, source = make_net(layer_scale=0.1), order_one(make_source(layer_scale=1.0))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    done = copy_stages(net, source)
    assert done.copied == ("stages.0", "stages.1", "norm")
    assert done.kept == ("reducers.0", "reducers.1", "head")
    theirs = source.state_dict()
    for name, value in net.state_dict().items():
        is_copied = name.startswith(("stages.", "norm."))
        assert torch.equal(value, theirs[name].to(value) if is_copied else before[name]), name
    assert done.num_copied + done.num_kept == sum(parameter.numel() for parameter in net.parameters())
    assert str(done).startswith("copied stages.0, stages.1, norm (")
    assert "new are reducers.0, reducers.1, head (" in str(done)


def test_a_stage_computes_the_same_after_the_copy() -> None:
    """The blocks of a cloud network with copied stages do what those of the image network do."""
    net, source = cloud_net().eval(), image_net().eval()
    copy_stages(net, source)
    images = torch.rand(1, 3, 12, 12)
    plan = source.plan(images).stages[0]
    x = torch.rand(36, 8)
    assert torch.equal(net.stages[0](x, plan)[0], source.stages[0](x, plan)[0])


def test_within_a_domain_the_later_reducers_come_along() -> None:
    net, source = image_net(num_classes=7, in_channels=1), image_net()
    done = copy_stages(net, source)
    assert done.kept == ("reducers.0", "head")
    assert torch.equal(net.reducers[1].weight, source.reducers[1].weight)
    same = image_net()
    assert copy_stages(same, source).kept == ("reducers.0", "head")
    assert not torch.equal(same.head.weight, source.head.weight)


def test_batch_statistics_of_cloud_reducers_are_copied() -> None:
    net, source = cloud_net(), cloud_net()
    source.reducers[1].out_norm.running_mean.fill_(3.0)
    assert "reducers.1" in copy_stages(net, source).copied
    assert torch.equal(net.reducers[1].out_norm.running_mean, torch.full((12,), 3.0))


def test_other_norms_stay_for_dense_networks() -> None:
    assert copy_stages(image_net(dense=True), image_net()).kept == (
        "reducers.0", "stage_norms.0", "stage_norms.1", "head",
    )  # fmt: skip


def test_other_kinds_of_norms_stay() -> None:
    set_norms, batch_norms = image_net(dense=True), image_net(dense=True, stage_norm="batch")
    for net, source in ((set_norms, batch_norms), (batch_norms, set_norms)):
        assert copy_stages(net, source).kept == ("reducers.0", "stage_norms.0", "stage_norms.1", "head")


def test_the_dtype_of_the_receiver_stays_and_the_source_is_told() -> None:
    net, source = cloud_net().double(), image_net().half()
    source.weights_info = type(source.weights_info)(license="mit", source="photos")
    copy_stages(net, source)
    assert net.stages[0][0].scale1.dtype == torch.float64
    assert torch.equal(net.stages[0][0].mlp.fc1.weight, source.stages[0][0].mlp.fc1.weight.double())
    assert net.weights_info.license == "mit"
    assert net.weights_info.source == "started from, and changed since: photos"
    assert net.weights_info.transform is None


def test_stages_that_differ_are_named_and_nothing_is_copied() -> None:
    net, source = cloud_net(), image_net(dims=(8, 16), assignment="soft")
    before = net.state_dict()["norm.weight"].clone()
    sentence = r"assignment is soft there and hard here; dims is \(8, 16\) there and \(8, 12\) here"
    with pytest.raises(ValueError, match=sentence):
        copy_stages(net, source)
    assert torch.equal(net.norm.weight, before)


def test_a_configuration_takes_the_stages_of_another_one() -> None:
    config = with_stages_of(preset("coc_points"), preset("coc_nano", normalizer="count"))
    assert (config.depths, config.dims, config.mlp_ratios, config.normalizer) == (
        (1, 2, 2), (48, 96, 192), (4, 4, 4), "count",
    )  # fmt: skip
    assert (config.anchors, config.strides, config.centers) == ("fps", (4, 2, 4), (8, 8, 4))
    with pytest.raises(ValueError, match="one of 4 to copy from and one of 3: choose a preset with 4 stages"):
        with_stages_of(preset("coc_points"), preset("coc_tiny"))


def test_a_network_opens_from_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = image_net()
    net.weights_info = WeightsInfo(license="mit", transform=ImageTransform(input_size=(32, 32)))
    save_model(tmp_path / "run" / "best", net)
    net.save_pretrained(tmp_path / "folder")
    ContextClusterNet.from_preset("coc_nano").save_pretrained(tmp_path / "home" / "coc_nano")
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path / "home"))
    for source in ("run", "run/best/model.safetensors", "folder"):
        opened = open_network(tmp_path / source, drop_path=0.2)
        assert opened.config == net.config.replace(drop_path=0.2)
        assert opened.weights_info == net.weights_info
        assert not opened.training
        assert all(torch.equal(value, opened.state_dict()[name]) for name, value in net.state_dict().items())
    assert open_network("coc_nano").config == preset("coc_nano")


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*nowhere: give a folder with model.safetensors"):
        open_network(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no weights at"):
        open_network(tmp_path)
    (tmp_path / "official.pth").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"official.pth is no file that pointcoc wrote; .*pointcoc convert"):
        open_network(tmp_path / "official.pth")
    (tmp_path / "broken.safetensors").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"broken.safetensors is truncated or not a checkpoint"):
        open_network(tmp_path / "broken.safetensors")
    save_file({"x": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors was not written by pointcoc"):
        open_network(tmp_path / "other.safetensors")
    save_model(tmp_path / "good", image_net())
    with pytest.raises(ValueError, match="dims"):
        open_network(tmp_path / "good", dims=16)
