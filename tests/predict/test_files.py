"""The command `pointcoc predict`: from weights and files to a folder, and a sentence for each mistake."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor, nn

import pointcoc.predict
from pointcoc import ContextClusterNet
from pointcoc.cli import main
from pointcoc.detection import MaskRCNNConfig
from pointcoc.models import CloudTransform, WeightsInfo, save_model
from pointcoc.models.weights import HubMixin, Kind
from pointcoc.models.weights.kinds import KINDS
from pointcoc.outputs import OutFolder
from pointcoc.predict import Input, Prediction, Predictor, predict, prediction, read_points
from pointcoc.predict.base import Write
from pointcoc.segmentation import point_segmentation, semantic_fpn

NARROW = {"dims": (8, 12, 16), "heads": 2, "head_dims": 4, "num_classes": 0, "dense": True}
PARTS = {"categories": ("bag", "cap"), "parts": ((0, 1), (2, 3, 4))}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights of points and pixels, images and a cloud."""
    root = tmp_path_factory.mktemp("predict")
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_points_small", **NARROW)
    save_model(
        root / "points" / "best",
        point_segmentation(net, num_classes=5, num_categories=2),
        WeightsInfo(notes=PARTS, transform=CloudTransform(center="mean", scale="unit_ball")),
    )
    save_model(
        root / "pixels", semantic_fpn("coc_tiny", num_classes=3, centers=5), WeightsInfo(notes={"first_class": 1})
    )
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
    assert run(place, "pixels", str(place / "image.png"), str(place / "gray.png"), "--window", "32") == 0
    assert "wrote what semantic_fpn says to" in capsys.readouterr().out
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
    model = Found()
    model.weights_info = WeightsInfo(class_names={1: "cat"})
    prediction(model, threshold=threshold).write([place / "image.png", place / "gray.png"], tmp_path)
    coco = COCO(str(tmp_path / "objects.json"))
    assert [coco.imgs[number]["file_name"] for number in (1, 2)] == [str(place / "image.png"), str(place / "gray.png")]
    assert sorted(one["category_id"] for one in coco.imgToAnns[1]) == labels
    assert coco.cats[1]["name"] == "cat"
    before, drawn = (pixels_of(path) for path in (place / "image.png", tmp_path / "image.png"))
    assert np.array_equal(before, drawn) == (not labels)


def test_the_old_way_to_ask_a_model_warns(place: Path, tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match=r"Predictor goes .* use pointcoc\.predict\.prediction"):
        old = Predictor(model=Found(), notes={"classes": {"1": "cat"}}, threshold=0.3)
    old.write([place / "image.png"], tmp_path)
    assert COCO(str(tmp_path / "objects.json")).cats[1]["name"] == "cat"


def test_mistakes_end_with_one_sentence(place: Path, tmp_path: Path, capsys) -> None:
    ContextClusterNet.from_preset("coc_nano", depths=1).save_pretrained(place / "net")
    (place / "text.png").write_text("hello")
    (place / "broken.safetensors").write_text("hello")
    image, cloud = str(place / "image.png"), str(place / "cloud.npy")
    for weights, words, sentence in (
        ("none.safetensors", (image,), "no weights at"),
        ("out", (image,), "no weights at"),
        ("broken.safetensors", (image,), "is truncated or not a checkpoint"),
        ("net", (image, "--columns", "x", "y", "z"), "columns and decimal are for clouds"),
        ("net", (cloud,), "cloud.npy is a cloud, and the network takes images"),
        ("pixels", ("no.png",), "no.png is not a file"),
        ("pixels", (str(place / "text.png"),), "text.png cannot be read: it is text, not an image"),
        ("pixels", (str(place / "*.jpg"),), "*.jpg"),
        ("pixels", (image, "--threshold", "0.3"), "threshold is no option of semantic_fpn, which has window"),
        ("pixels", (image, "--window", "0"), "window must be an integer of at least 1, got 0"),
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
        prediction(Found(), threshold=2)
    with pytest.raises(ValueError, match="files must hold at least one image or cloud"):
        predict(place / "points", [], tmp_path, category="cap")


@dataclass(frozen=True, kw_only=True)
class SumConfig:
    kind: ClassVar[str] = "sum"
    scale: float = 1.0


class Sum(HubMixin):
    config_class = SumConfig

    def __init__(self, config: SumConfig) -> None:
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.full((1,), config.scale))


@dataclass(frozen=True, kw_only=True)
class SumPrediction(Prediction):
    category: str = "all"

    def answer(self, file: Path) -> float:
        return float(self.model.weight.detach() * self.read_image(file).sum())

    def outputs(self, one: Input) -> tuple[str, ...]:
        return (f"{one.name}.txt",)

    @contextmanager
    def writing(self, out: OutFolder | None, shown: bool = False) -> Iterator[Write]:
        def write(one: Input, value: float) -> str:
            with out.file(f"{one.name}.txt") as path:
                path.write_text(f"{self.category} {value:.3f}")
            return f"{one.path} {value:.1f}"

        yield write


def test_a_new_kind_needs_one_row(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with a `KIND` and a row of the table: it is saved, loaded, and predicts."""
    module = ModuleType("new_kind")
    module.KIND = Kind(model=Sum, predict=SumPrediction)
    monkeypatch.setitem(sys.modules, "new_kind", module)
    monkeypatch.setitem(KINDS, "sum", "new_kind")
    Sum(SumConfig(scale=2.0)).save_pretrained(tmp_path / "net")
    assert pointcoc.load(tmp_path / "net").config == SumConfig(scale=2.0)
    predict(tmp_path / "net", [place / "image.png"], tmp_path / "out", category="red")
    expected = 2 * pixels_of(place / "image.png").astype(np.float64).sum() / 255
    kind, value = (tmp_path / "out" / "image.txt").read_text().split()
    assert kind == "red"
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_what_moved_out_of_predict_is_still_found_there() -> None:
    for name, home in (("coco_dataset", "detection"), ("label_cloud", "segmentation")):
        with pytest.warns(DeprecationWarning, match=rf"predict\.{name} goes .*: use pointcoc\.{home}\.{name}"):
            getattr(pointcoc.predict, name)
