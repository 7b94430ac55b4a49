"""Tables and pictures of an evaluation."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from image_kinds import photo
from PIL import Image
from torch.utils.data import Subset

from pointcoc.data import image_folder
from pointcoc.outputs import OutFolder
from pointcoc.train.evaluation import FILES, write_evaluation
from pointcoc.train.findings import Findings, Panel
from pointcoc.train.pages import draw_confusion
from pointcoc.train.task import Classification

NAMES = {0: "cat", 1: "dog, or wolf", 2: "eel"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("val/cat/a.png", "val/cat/b.png", "val/dog/c.png", "val/eel/d.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        photo(seed=number).save(tmp_path / name)
    return tmp_path


def found() -> Findings:
    """Item 0 of class 0 is right, 1 is taken for class 1; there is nothing of class 2."""
    findings = Findings()
    findings.begin([0, 1], 2)
    findings.add(0, 0.0, true=0, predicted=0, confidence=0.75)
    findings.add(1, 2.5, lambda: [Panel(pixels=torch.zeros(3, 4, 4, dtype=torch.uint8))], true=0, predicted=1)
    findings.join(Accelerator(cpu=True))
    findings.confusion = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 0]])
    findings.counts = [2, 0, 0]
    findings.classes = {"accuracy": [0.5, math.nan, math.nan]}
    return findings


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="") as text:
        return list(csv.reader(text))


def test_all_files(folder: Path, tmp_path: Path) -> None:
    data = image_folder(folder, "val")
    out = tmp_path / "out"
    written = write_evaluation(OutFolder(out), found(), data, {"accuracy": 0.5, "loss": math.nan}, NAMES, {"a": "b"})
    assert set(written) == set(FILES)
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == set(FILES)
    report = json.loads((out / "evaluation.json").read_text())
    assert report["scores"] == {"accuracy": 0.5, "loss": None}
    assert (report["a"], report["items"]) == ("b", 2)
    assert report["classes"][:2] == [
        {"name": "cat", "count": 2, "accuracy": 0.5},
        {"name": "dog, or wolf", "count": 0, "accuracy": None},
    ]
    assert report["confused"] == [{"true": "cat", "predicted": "dog, or wolf", "count": 1}]
    source = str(folder / "val/cat/b.png")
    assert report["worst"] == [{"index": 1, "source": source, "true": "cat", "predicted": "dog, or wolf"}]
    header = ["name", "count", "accuracy"]
    assert rows(out / "classes.csv") == [header, ["cat", "2", "0.5"], ["dog, or wolf", "0", ""], ["eel", "0", ""]]
    assert rows(out / "confusion.csv")[:2] == [["true \\ predicted", *NAMES.values()], ["cat", "1", "1", "0"]]
    assert rows(out / "confused.csv")[1:] == [["cat", "dog, or wolf", "1"]]
    assert rows(out / "worst.csv")[1:] == [["1", source, "cat", "dog, or wolf"]]


def test_pages_show_the_files(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (300, 200), (255, 0, 0)).save(folder / "val/cat/b.png")
    data = Subset(image_folder(folder, "val"), [0, 1])
    out = tmp_path / "out"
    write_evaluation(OutFolder(out), found(), data, {}, NAMES)
    for page in ("worst.png", "confused.png"):
        with Image.open(out / page) as picture:
            colors = {color[:3]: count for count, color in picture.getcolors(1_000_000)}
        assert colors[(255, 0, 0)] > 10_000


def test_foreign_files_stay(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text("mine")
    with pytest.raises(FileExistsError, match=r"classes\.csv would be replaced"):
        write_evaluation(OutFolder(tmp_path), found(), image_folder(folder, "val"), {}, NAMES)
    assert (tmp_path / "classes.csv").read_text() == "mine"


def test_where_all_is_right_there_is_no_page(tmp_path: Path) -> None:
    findings = Findings()
    findings.begin([0], 1)
    findings.add(0, 0.0, true=0, predicted=0)
    findings.confusion, findings.classes = torch.eye(2, dtype=torch.int64), {"accuracy": [1.0, 1.0]}
    written = write_evaluation(OutFolder(tmp_path), findings, [0], {"accuracy": 1.0}, {})
    assert set(written) == set(FILES) - {"worst.png", "confused.png"}
    assert rows(tmp_path / "classes.csv") == [["name", "accuracy"], ["0", "1.0"], ["1", "1.0"]]
    assert rows(tmp_path / "worst.csv") == [["index", "source"]]


@pytest.mark.parametrize(("num_classes", "numbers", "names"), [(3, 3, True), (40, 0, True), (100, 0, False)])
def test_a_confusion_matrix_holds_what_can_be_read(num_classes: int, numbers: int, names: bool) -> None:
    figure = draw_confusion(torch.eye(num_classes, dtype=torch.int64), [f"class {i}" for i in range(num_classes)])
    axes = figure.axes[0]
    assert len(axes.texts) == numbers
    assert ("class 1" in [label.get_text() for label in axes.get_yticklabels()]) == names


def test_names_that_the_task_notes_come_first() -> None:
    from pointcoc.train.evaluation import names_of

    task, model = Classification(2), torch.nn.Linear(1, 1)
    assert names_of(task, model) == {}
    task.notes = {"classes": ["a", "b"]}
    assert names_of(task, model) == {0: "a", 1: "b"}
