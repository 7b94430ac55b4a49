"""`pointcoc predict` on photos as people have them: names, tables, folders, bad files, nothing destroyed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from image_kinds import ALPHAS, DEPTHS, ORIENTATIONS, photo, write_alpha, write_depth, write_turned
from PIL import Image

import pointcoc
from pointcoc import ContextClusterNet
from pointcoc.checks import InputWarning
from pointcoc.cli import main
from pointcoc.data import image_transform
from pointcoc.detection import mask_rcnn
from pointcoc.models import ImageTransform, WeightsInfo, save_model
from pointcoc.predict import classify
from pointcoc.segmentation import semantic_fpn

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
SMALL = ImageTransform(input_size=(16, 24), crop_pct=1.0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, one of several labels, a segmenter and a detector, all of photos."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_nano", num_classes=6, in_channels=3)
    for name, notes in (("classes", {}), ("labels", {"multi_label": True})):
        net.weights_info = WeightsInfo(class_names=NAMES, transform=SMALL, notes=notes)
        net.save_pretrained(root / name)
    segmenter = semantic_fpn("coc_tiny", num_classes=3)
    save_model(root / "pixels", segmenter, WeightsInfo(class_names=("sky", "sea", "sand")))
    detector = mask_rcnn("coc_tiny", num_classes=4, min_size=32, max_size=64, box_score_thresh=0.0)
    save_model(root / "objects", detector, WeightsInfo(class_names={1: "cat", 2: "dog", 3: "eel"}))
    return root


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `photos/`: two photos of one name in folders, one beside them, and what is none."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a/x.png", "b/x.png", "y.png", "._y.png", ".ipynb_checkpoints/y.png")):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        photo(seed=number).save(tmp_path / "photos" / name)
    return tmp_path


def ask(weights: Path, *words: str) -> int:
    return main(["predict", "--weights", str(weights), *words])


def test_three_lines_of_python(weights: Path, photos: Path) -> None:
    model = pointcoc.load(weights / "classes")
    found = model.predict("photos/y.png")
    with torch.no_grad(), Image.open("photos/y.png") as image:
        expected = model(image_transform(model)(image)[None]).softmax(1)[0]
    assert torch.equal(found.scores, expected)
    assert found.name == NAMES[int(expected.argmax())]
    both = model.predict(["photos/y.png", "photos/a/x.png"])
    assert torch.equal(both[0].scores, expected)
    assert torch.equal(classify(weights / "classes", ["photos/a/x.png"])[0].scores, both[1].scores)
    assert not model.training
    assert model.train().predict("photos/y.png").name == found.name
    assert model.training


def test_the_table_and_the_files(weights: Path, photos: Path, capsys) -> None:
    found = classify(weights / "classes", ["photos/a/x.png", "photos/b/x.png", "photos/y.png"])
    assert ask(weights / "classes", "photos", "--out", "out", "--top", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    for line, one in zip(lines, found, strict=False):
        assert line == f"{one.path}  {', '.join(f'{name} {score:.1%}' for name, score in one.top(3))}"
    assert lines[3:] == ["wrote what classifier says to out"]
    rows = list(csv.DictReader(Path("out/classes.csv").read_text().splitlines()))
    assert [row["class_3"] for row in rows] == [one.top()[2][0] for one in found]
    written = json.loads(Path("out/classes.json").read_text())
    assert [len(one["top"]) for one in written] == [3, 3, 3]
    assert written[2]["confidence"] == found[2].confidence


@pytest.mark.parametrize("batch_size", ["1", "2"])
def test_what_is_printed_is_json_or_csv(weights: Path, photos: Path, capsys, batch_size: str) -> None:
    Path("photos/z.png").write_text("hello")
    words = ("photos", "--format", "json", "--batch-size", batch_size)
    assert ask(weights / "classes", *words) == 2
    shown = capsys.readouterr()
    assert [one["file"] for one in json.loads(shown.out)] == ["photos/a/x.png", "photos/b/x.png", "photos/y.png"]
    assert "1 of 4 files could not be read; the others are done" in shown.err
    assert ask(weights / "classes", "photos/y.png", "--format", "csv", "--out", "out") == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert rows == list(csv.reader(Path("out/classes.csv").read_text().splitlines()))
    assert ask(weights / "classes", "photos/y.png", "--format", "xml") == 2


def test_several_labels(weights: Path, photos: Path, capsys) -> None:
    (one,) = classify(weights / "labels", "photos/y.png", threshold=0.4)
    assert one.labels == tuple(name for name, score in one.top(6) if score >= 0.4)
    assert float(one.scores.sum()) != pytest.approx(1)
    assert ask(weights / "labels", "photos/y.png", "--threshold", "1") == 0
    assert "photos/y.png  no label  of " in capsys.readouterr().out


def test_bad_files_are_listed_at_the_end(weights: Path, photos: Path, capsys) -> None:
    Path("photos/bad.png").write_text("hello")
    assert ask(weights / "classes", "photos/bad.png", "none.png", "photos/y.png") == 2
    shown = capsys.readouterr()
    assert shown.out.startswith("photos/y.png  ")
    assert shown.err.splitlines() == [
        "pointcoc predict: error: 2 of 3 files could not be read; the others are done:",
        "  photos/bad.png cannot be read: it is text, not an image",
        "  none.png is not a file",
    ]


def test_folders_globs_and_nothing_to_read(weights: Path, photos: Path, capsys) -> None:
    Path("photos/raw.nef").write_text("")
    assert ask(weights / "classes", "photos/*/x.png", "photos/a/x.png", "photos/y.png") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "photos/a/x.png", "photos/b/x.png", "photos/y.png",
    ]  # fmt: skip
    assert ask(weights / "classes", "photos") == 0
    assert "note: photos: files left out, whose ending is not read: 1 .nef" in capsys.readouterr().err
    Path("empty").mkdir()
    for words, sentence in ((("empty",), "empty holds no images (.jpg, "), (("*.bmp",), "no file matches *.bmp")):
        assert ask(weights / "classes", *words) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "endings"), [("pixels", (".png", ".drawn.png")), ("objects", (".png",))])
def test_names_apart_and_nothing_is_replaced(
    weights: Path, photos: Path, capsys, kind: str, endings: tuple[str, ...]
) -> None:
    before = {path: path.read_bytes() for path in Path("photos").rglob("*.png")}
    assert ask(weights / kind, "photos/y.png", "--out", "photos") == 2
    shown = capsys.readouterr().err
    assert "photos/y.png would be replaced" in shown and "--overwrite" in shown
    assert {path: path.read_bytes() for path in Path("photos").rglob("*.png")} == before
    for _ in range(2):  # its own results may be replaced
        assert ask(weights / kind, "photos", "--out", "out") == 0
    names = sorted(f"{name}{ending}" for name in ("a/x", "b/x", "y") for ending in endings)
    assert sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*.png")) == names
    Path(f"out/y{endings[-1]}").write_bytes(b"drawn by hand")
    assert ask(weights / kind, "photos", "--out", "out") == 2
    assert Path(f"out/y{endings[-1]}").read_bytes() == b"drawn by hand"
    assert ask(weights / kind, "photos", "--out", "out", "--overwrite") == 0
    assert Path(f"out/y{endings[-1]}").read_bytes() != b"drawn by hand"


def test_pixels_and_objects_in_python(weights: Path, photos: Path) -> None:
    found = pointcoc.load(weights / "pixels").predict("photos/y.png")
    assert found.classes.shape == (24, 36)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert set(found.shares) <= {"sky", "sea", "sand"}
    objects = pointcoc.load(weights / "objects").predict("photos/y.png", threshold=0.0)
    assert set(objects.labels) <= {"cat", "dog", "eel"}
    assert len(objects.labels) == len(objects.found) > 0


def says(weights: Path, kind: str, path: Path, out: Path) -> bytes | list[float]:
    """What the command writes about a photo."""
    assert main(["predict", str(path), "--weights", str(weights / kind), "--out", str(out), "--overwrite"]) == 0
    if kind == "classes":
        return [float(word) for word in (out / "classes.csv").read_text().splitlines()[1].split(",")[2::2]]
    with Image.open(out / f"{path.stem}.png") as picture:
        return np.asarray(picture).tobytes()


@pytest.mark.parametrize("kind", ["classes", "pixels", "objects"])
def test_one_photo_has_one_answer_however_it_is_stored(weights: Path, tmp_path: Path, kind: str) -> None:
    gray = photo().convert("L").convert("RGB")
    groups = [
        [write_turned(tmp_path / f"turned{one}.png", photo(), one) for one in ORIENTATIONS],
        [write_depth(tmp_path, photo(), one) for one in DEPTHS],
        [write_alpha(tmp_path, photo(), one) for one in ALPHAS if one in ("RGBA", "RGB")],
        [write_alpha(tmp_path, gray, one) for one in ALPHAS if one in ("LA", "L", "I;16")],
    ]
    for group in groups:
        said = [says(weights, kind, path, tmp_path / "out") for path in group]
        assert all(one == said[0] for one in said)


def test_memory_of_classes_at_the_size_of_the_photo(weights: Path) -> None:
    """The classes of an enlarged map are the argmax of the enlarged logits, one class at a time."""
    from pointcoc.segmentation.prediction import enlarged_classes

    logits = torch.randn(7, 5, 6)
    logits[3] = logits[2]  # equal ones: the first
    expected = torch.nn.functional.interpolate(logits[None], (20, 31), mode="bilinear", align_corners=False)[0]
    assert torch.equal(enlarged_classes(logits, (20, 31)), expected.argmax(0))


def test_inputs_told_apart_by_their_ending_alone(tmp_path: Path) -> None:
    from pointcoc.data.input_files import find_inputs

    for name in ("a.png", "a.jpg", "b.png"):
        photo().save(tmp_path / name)
    assert [one.name for one in find_inputs([tmp_path])] == ["a.jpg", "a.png", "b"]
    with pytest.warns(InputWarning, match=r"1 \.svg"):
        (tmp_path / "c.svg").write_text("")
        find_inputs([tmp_path], is_cloud=False)
