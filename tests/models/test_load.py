"""One function loads every model from every layout, those of earlier versions included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import pointcoc
from pointcoc import ContextClusterNet, PointMLPCoC
from pointcoc.detection import faster_rcnn, mask_rcnn
from pointcoc.models import StageMaps, WeightsInfo, open_network, save_model
from pointcoc.models.weights.folder import read_tensors
from pointcoc.models.weights.kinds import KINDS, find_kind
from pointcoc.models.weights.loading import read_info
from pointcoc.segmentation import PointSegmenter, point_segmentation, semantic_fpn

OLD = Path(__file__).parents[1] / "old_layouts"
CLOUD = {
    "depths": (1, 1), "dims": (8, 12), "heads": 2, "head_dims": 4, "mlp_ratios": 1, "strides": 2, "neighbors": 4,
    "regions": 1, "centers": 2, "center_neighbors": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "kind", "input"),
    [
        ("run", ContextClusterNet, "image"),
        ("classifier.safetensors", ContextClusterNet, "image"),
        ("pretrained", ContextClusterNet, "image"),
        ("pointmlp_coc.safetensors", PointMLPCoC, "cloud"),
        ("point_segmentation.safetensors", PointSegmenter, "cloud"),
    ],
)
def test_layouts_of_earlier_versions_give_the_logits_of_then(source: str, kind: type, input: str) -> None:
    held = load_file(OLD / "expected.safetensors")
    model = pointcoc.load(OLD / source)
    assert type(model) is kind
    assert not model.training
    more = (torch.tensor([1]),) if kind is PointSegmenter else ()
    found = model(held[input], *more)
    torch.testing.assert_close(found, held[source.split(".")[0]], rtol=1e-5, atol=1e-6)


def test_what_earlier_versions_noted_is_known() -> None:
    info = pointcoc.load(OLD / "classifier.safetensors").weights_info
    assert (info.license, info.source, info.transform.input_size) == ("mit", "noise", (16, 16))
    assert info.notes == {"epoch": 2, "val": {"accuracy": 0.5}}
    notes = pointcoc.load(OLD / "point_segmentation.safetensors").weights_info.notes
    assert notes == {"categories": ["bag", "cap"], "parts": [[0, 1], [2, 3, 4]]}
    config, info = read_info(OLD / "semantic_fpn.safetensors")
    assert (config.kind, config.backbone, config.centers) == ("semantic_fpn", "coc_tiny", 5)
    assert (info.class_names, info.notes) == ({0: "sky", 1: "sea", 2: "sand"}, {"first_class": 1, "short_side": 32})
    config, info = read_info(OLD / "mask_rcnn.safetensors")
    assert (config.kind, config.min_size, info.class_names) == ("mask_rcnn", 32, {1: "cat", 2: "dog"})


def make(kind: str) -> tuple[nn.Module, tuple]:
    """A small model of each kind, and an input."""
    cloud = torch.rand(2, 40, 3, generator=torch.Generator().manual_seed(0))
    if kind == "classifier":
        return ContextClusterNet.from_preset("coc_nano", depths=1, centers=3), (torch.rand(1, 3, 16, 16),)
    if kind == "pointmlp_coc":
        fields = {"dims": (8, 16), "depths": (1, 1), "group_depths": (1, 1), "strides": (2, 2), "neighbors": (4, 4)}
        return PointMLPCoC.from_preset("pointmlp_coc", embed_dim=4, **fields), (cloud,)
    if kind == "point_segmentation":
        net = ContextClusterNet.from_preset("coc_points_small", num_classes=0, dense=True, **CLOUD)
        return point_segmentation(net, num_classes=3), (cloud,)
    image = torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(0))
    if kind == "semantic_fpn":
        return semantic_fpn("coc_tiny", num_classes=3), (image[None],)
    detector = mask_rcnn if kind == "mask_rcnn" else faster_rcnn
    return detector("coc_tiny", num_classes=3, min_size=32, max_size=64, box_score_thresh=0.0), ([image],)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_saved_and_loaded_alike(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = make(kind)
    model.weights_info = WeightsInfo(license="mit", class_names=["a", "b"], notes={"epoch": 3})
    model.save_pretrained(tmp_path / "net")
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == [
        "README.md", "config.json", "model.safetensors",
    ]  # fmt: skip
    assert json.loads((tmp_path / "net" / "config.json").read_text())["kind"] == kind
    for loaded in (pointcoc.load(tmp_path / "net"), type(model).from_pretrained(tmp_path / "net")):
        assert type(loaded) is type(model)
        assert loaded.config == model.config
        assert loaded.weights_info == model.weights_info
        assert loaded.weights_info.class_names == {0: "a", 1: "b"}
        found, expected = loaded(*inputs), model.eval()(*inputs)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert find_kind(kind, "here").model.config_class is type(model.config)


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    net = ContextClusterNet.from_preset("coc_nano", depths=1)
    info = WeightsInfo(class_names={3: "ä", 1: 'a "b"'}, notes={"val": {"accuracy": 0.5}})
    for name in "ab":
        save_model(tmp_path / name, net, info)
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_model_of_another_kind_is_refused_by_name() -> None:
    for open_one in (open_network, ContextClusterNet.from_pretrained):
        with pytest.raises(ValueError, match=r"holds a PointMLPCoC, not a ContextClusterNet; pointcoc\.load loads"):
            open_one(OLD / "pointmlp_coc.safetensors")


def test_networks_that_ship_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert pointcoc.load("image").config.reads_images
    assert not pointcoc.load("cloud", centers=4).config.on_lattice


def test_settings_of_other_kinds_change_where_the_tensors_allow_it() -> None:
    model = pointcoc.load(OLD / "point_segmentation.safetensors", dropout=0.25)
    assert model.config.dropout == 0.25
    with pytest.raises(ValueError, match=r"do not belong together; .*head\.4\.weight"):
        pointcoc.load(OLD / "point_segmentation.safetensors", num_classes=4)
    with pytest.raises(ValueError, match="unknown setting 'classes'; choose from network, num_classes"):
        pointcoc.load(OLD / "point_segmentation.safetensors", classes=4)


def test_what_nothing_makes_again_is_not_saved(tmp_path: Path) -> None:
    net = ContextClusterNet.from_preset("coc_tiny", dense=True, num_classes=0)
    with pytest.raises(ValueError, match="made of a module that no name tells"):
        semantic_fpn(StageMaps(net), num_classes=2).save_pretrained(tmp_path)
    save_model(tmp_path, nn.Linear(2, 3))
    with pytest.raises(ValueError, match=r"does not say which kind of model it belongs to: classifier, .*; got None"):
        pointcoc.load(tmp_path)


def test_a_folder_that_is_being_replaced_is_still_read(tmp_path: Path) -> None:
    """A kill between the two renames leaves the model before under the other name."""
    save_model(tmp_path / "best.replaced", ContextClusterNet.from_preset("coc_nano", depths=1))
    assert pointcoc.load(tmp_path).config.depths == (1, 1, 1)


def test_files_that_cannot_be_loaded(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match=r"bare\.safetensors was not written by pointcoc: it must have a header"):
        pointcoc.load(tmp_path / "bare.safetensors")
    (tmp_path / "half.safetensors").write_bytes((OLD / "classifier.safetensors").read_bytes()[:999])
    with pytest.raises(ValueError, match=r"half\.safetensors is truncated or not a checkpoint: found 999 bytes"):
        pointcoc.load(tmp_path / "half.safetensors")
    header = {"config": json.dumps({"kind": "semantic_fpn", "backbone": "coc_tiny", "depth": 3})}
    save_file({"x": torch.ones(1)}, tmp_path / "later.safetensors", metadata=header)
    with pytest.raises(ValueError, match=r"has settings that pointcoc \S+ does not know: depth; pointcoc of another"):
        pointcoc.load(tmp_path / "later.safetensors")


BLOCKED = """
import sys
sys.modules["huggingface_hub"] = None
import torch, pointcoc
net = pointcoc.ContextClusterNet.from_preset("coc_nano", depths=1).eval()
image = torch.rand(1, 3, 16, 16)
net.save_pretrained(sys.argv[1])
assert torch.equal(pointcoc.ContextClusterNet.from_pretrained(sys.argv[1])(image), net(image))
for ask in (lambda: pointcoc.load("somebody/net"), lambda: net.push_to_hub("somebody/net")):
    try:
        ask()
    except ImportError as error:
        print(error)
"""


def test_nothing_but_names_on_the_hub_needs_huggingface_hub(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BLOCKED, str(tmp_path / "net")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    sentence = "'somebody/net' is a name on the hub, which needs huggingface_hub; install it with: pip install hugg"
    assert [line.startswith(sentence) for line in done.stdout.splitlines()] == [True, True]


def test_old_names_of_the_files_of_weights_warn(tmp_path: Path) -> None:
    from pointcoc.models import card
    from pointcoc.predict import load_model
    from pointcoc.train import save_weights

    with pytest.warns(DeprecationWarning, match=r"models\.card\.WeightsInfo goes .*use pointcoc\.models\.WeightsInfo"):
        assert card.WeightsInfo is WeightsInfo
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = card.nothing
    with pytest.warns(DeprecationWarning, match=r"load_model goes with the next release: use pointcoc\.load"):
        model, notes = load_model(OLD / "point_segmentation.safetensors")
    assert notes["categories"] == ["bag", "cap"]
    with pytest.warns(
        DeprecationWarning, match=r"save_weights goes with the next release: use pointcoc\.models\.save_m"
    ):
        save_weights(tmp_path / "best.safetensors", model, epoch=4, classes={1: "cat"})
    again = pointcoc.load(tmp_path)
    assert again.config == model.config
    assert (again.weights_info.notes["epoch"], again.weights_info.class_names) == (4, {1: "cat"})
    assert read_tensors(tmp_path / "best.safetensors").keys() == model.state_dict().keys()


def test_a_setting_that_is_missing_is_named(tmp_path: Path) -> None:
    pointcoc.load(OLD / "point_segmentation.safetensors").save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    del content["config"]["network"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"config\.json holds a value that is not allowed: .*missing.*'network'"):
        pointcoc.load(tmp_path)
