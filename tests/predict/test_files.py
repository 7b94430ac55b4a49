"""The command `pointcoc predict`: from weights and files to a folder, and a sentence for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor, nn

from pointcoc import ContextClusterNet
from pointcoc.cli import main
from pointcoc.detection import MaskRCNNConfig, mask_rcnn
from pointcoc.models import StageMaps
from pointcoc.predict import Predictor, load_model, predict, read_points
from pointcoc.segmentation import point_segmentation, semantic_fpn
from pointcoc.train import save_weights

NARROW = {"dims": (8, 12, 16), "heads": 2, "head_dims": 4, "num_classes": 0, "dense": True}
PARTS = {"categories": ("bag", "cap"), "parts": ((0, 1), (2, 3, 4))}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of points and pixels, images and a cloud."""
    root = tmp_path_factory.mktemp("predict")
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_points_small", **NARROW)
    save_weights(
        root / "points" / "best.safetensors", point_segmentation(net, num_classes=5, num_categories=2), **PARTS
    )
    save_weights(root / "pixels.safetensors", semantic_fpn("coc_tiny", num_classes=3, centers=5), first_class=1)
    np.save(root / "cloud.npy", np.random.default_rng(0).normal(size=(40, 3)))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "image.png")
    Image.fromarray(pixels[..., 0]).save(root / "gray.png")
    return root


def run(place: Path, weights: str, *words: str) -> int:
    return main(["predict", "--weights", str(place / weights), "--out", str(place / "out"), *words])


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def test_classes_of_pixels(place: Path, capsys) -> None:
    assert run(place, "pixels.safetensors", str(place / "image.png"), str(place / "gray.png"), "--window", "32") == 0
    assert "wrote what semantic_fpn says about 2 inputs to" in capsys.readouterr().out
    for name in ("image", "gray"):
        mask = pixels_of(place / "out" / f"{name}.png")
        assert mask.shape == (40, 50)
        assert set(np.unique(mask)) <= {1, 2, 3}  # the first class has number 1
        assert pixels_of(place / "out" / f"{name}.drawn.png").shape == (40, 50, 3)


def test_classes_of_points(place: Path) -> None:
    assert run(place, "points", str(place / "cloud.npy"), "--category", "cap") == 0
    table = read_points(place / "out" / "cloud.ply")
    assert np.array_equal(table[:, :3], np.load(place / "cloud.npy"))


class Found(nn.Module):
    """A Mask R-CNN that finds the same two objects in every image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = MaskRCNNConfig(
            backbone="coc_tiny", num_classes=3, centers=None, min_size=32, max_size=64, box_score_thresh=0.05
        )

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        masks = torch.zeros(2, 1, *images[0].shape[1:])
        masks[:, :, 5:15, 10:30] = 1
        boxes = torch.tensor([[10.0, 5, 30, 15]] * 2)
        return [{"boxes": boxes, "labels": torch.tensor([1, 2]), "scores": torch.tensor([0.9, 0.4]), "masks": masks}]


@pytest.mark.parametrize(("threshold", "labels"), [(None, [1]), (0.3, [1, 2]), (1.0, [])])
def test_objects(place: Path, tmp_path: Path, threshold: float | None, labels: list[int]) -> None:
    predictor = Predictor(model=Found(), notes={"classes": {"1": "cat"}}, threshold=threshold)
    predictor.write([place / "image.png", place / "gray.png"], tmp_path)
    coco = COCO(str(tmp_path / "objects.json"))
    assert [coco.imgs[number]["file_name"] for number in (1, 2)] == [str(place / "image.png"), str(place / "gray.png")]
    assert sorted(one["category_id"] for one in coco.imgToAnns[1]) == labels
    assert coco.cats[1]["name"] == "cat"
    before, drawn = (pixels_of(path) for path in (place / "image.png", tmp_path / "image.png"))
    assert np.array_equal(before, drawn) == (not labels)


def test_a_detector_comes_back_from_its_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = mask_rcnn("coc_tiny", num_classes=3, min_size=32, max_size=40, centers=5).eval()
    save_weights(tmp_path / "best.safetensors", model, classes={1: "cat"})
    again, notes = load_model(tmp_path)
    assert notes["classes"] == {"1": "cat"}
    assert again.config == model.config
    assert again.transform.min_size == (32,)
    assert again.backbone.backbone.net.config == model.backbone.backbone.net.config
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())


def test_a_backbone_as_it_is_cannot_come_back(tmp_path: Path) -> None:
    net = ContextClusterNet.from_preset("coc_tiny", dense=True, num_classes=0)
    save_weights(tmp_path / "a.safetensors", semantic_fpn(StageMaps(net), num_classes=2))
    with pytest.raises(ValueError, match="got weights without settings"):
        load_model(tmp_path / "a.safetensors")


def test_mistakes_end_with_one_sentence(place: Path, tmp_path: Path, capsys) -> None:
    save_weights(place / "net.safetensors", ContextClusterNet.from_preset("coc_nano", depths=1))
    (place / "text.png").write_text("hello")
    (place / "broken.safetensors").write_text("hello")
    image, cloud = str(place / "image.png"), str(place / "cloud.npy")
    for weights, words, sentence in (
        ("none.safetensors", (image,), "weights must be a file, or a folder with best.safetensors"),
        ("out", (image,), "but nothing lies at"),
        ("broken.safetensors", (image,), "is truncated or not a checkpoint"),
        ("net.safetensors", (image,), "got those of a network for classification"),
        ("pixels.safetensors", ("no.png",), "no.png is not a file"),
        ("pixels.safetensors", (image, image), "image is there twice"),
        ("pixels.safetensors", (str(place / "text.png"),), "is not an image that can be read"),
        ("pixels.safetensors", (image, "--threshold", "0.3"), "threshold is an option of mask_rcnn, but the weights"),
        ("pixels.safetensors", (image, "--window", "0"), "window must be at least 1, got 0"),
        ("points", (cloud,), "category must be the kind of the objects, got None; choose from bag, cap"),
        ("points", (cloud, "--category", "cup"), "got 'cup'; choose from bag, cap"),
        ("points", (image, "--category", "cap"), "image.png is no cloud by its name"),
    ):
        (place / "out").mkdir(exist_ok=True)
        assert run(place, weights, *words) == 2, sentence
        shown = capsys.readouterr().err
        assert shown.startswith("pointcoc predict: error: ")
        assert sentence in shown
        assert shown.count("\n") == 1
    with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\], got 2"):
        Predictor(model=Found(), notes={}, threshold=2)
    with pytest.raises(ValueError, match="files must hold at least one image or cloud"):
        predict(place / "points", [], tmp_path)


def test_settings_that_are_not_known_are_refused(place: Path, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(place / "pixels.safetensors", framework="pt") as file:
        notes = file.metadata()
    config = json.loads(notes["config"]) | {"depth": 3}
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata={"config": json.dumps(config)})
    with pytest.raises(ValueError, match=r"settings of semantic_fpn that this version does not know: .*'depth'"):
        load_model(tmp_path / "a.safetensors")


def test_the_folder_of_a_run_of_fit_is_read(tmp_path: Path) -> None:
    model = semantic_fpn("resnet18", num_classes=2)
    save_weights(tmp_path / "best.safetensors", model, first_class=3, epoch=1, val=None)
    assert load_model(tmp_path)[1]["first_class"] == 3
