"""Tables of images with several labels: both forms, splits, and what is wrong in them."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from pointcoc.checks import InputWarning
from pointcoc.data import LabeledImages

LISTED = "file,labels,split\n0.png,cat; dog,train\n1.png,,train\n2.png,dog,val\n3.png,eel,test\n"
MARKED = "image,cat,dog,eel,split\n0.png,1,1,0,train\n1.png,0,0,0,train\n2.png,0,1.0,,val\n3.png,false,No,TRUE,test\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(20):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / f"{number}.png")
    return tmp_path


def table(root: Path, text: str) -> Path:
    (root / "labels.csv").write_text(text, encoding="utf-8")
    return root / "labels.csv"


@pytest.mark.parametrize("text", [LISTED, MARKED, LISTED.replace(",", "\t"), "\ufeff" + LISTED.replace(";", "|")])
def test_both_forms_say_the_same(root: Path, text: str) -> None:
    train = LabeledImages(root, table(root, text))
    assert train.classes == ("cat", "dog", "eel")
    assert train.labels.tolist() == [[1, 1, 0], [0, 0, 0]]
    image, labels = train[0]
    assert image.shape == (3, 3, 4)
    assert labels.tolist() == [1, 1, 0]
    assert train.source(1) == str(root / "1.png")
    assert train.made_split is None
    val = LabeledImages(root, table(root, text), "val", transform=lambda image: image.size)
    assert (len(val), val[0][0], val.labels.tolist()) == (1, (4, 3), [[0, 1, 0]])


def test_names_between_spaces_and_test_in_place_of_val(root: Path) -> None:
    text = "name,tags,split\n0.png,clear primary,train\n1.png,clear,test\n"
    assert LabeledImages(root, table(root, text)).classes == ("clear", "primary")
    assert LabeledImages(root, table(root, text), "val").files == ["1.png"]


def test_without_a_split_the_names_decide_for_each_rarest_label(root: Path) -> None:
    rows = [f"{number}.png,{'common' if number < 10 else 'common;rare'}" for number in range(20)]
    path = table(root, "\n".join(["file,labels", *rows]))
    train = LabeledImages(root, path)
    with pytest.warns(InputWarning, match=r"has no column 'split': \d of 20 images are held out to measure on"):
        val = LabeledImages(root, path, "val")
    assert sorted(train.files + val.files) == sorted(f"{number}.png" for number in range(20))
    assert val.strata.unique().tolist() == [0, 1]
    assert train.made_split == {"train": train.files, "val": val.files}
    with pytest.warns(InputWarning):
        again = LabeledImages(root, table(root, "\n".join(["file,labels", *reversed(rows)])), "val")
    assert set(again.files) == set(val.files)
    assert torch.equal(val.labels.sum(0) > 0, torch.tensor([True, True]))


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("", ValueError, "must begin with the names of its columns"),
        ("file,labels\n", ValueError, "must have a row for each image, got none"),
        ("file,labels\n0.png\n", ValueError, "row 2 must have 2 cells, got 1"),
        ("file,labels\n0.png,a\n0.png,b\n", ValueError, "must name each image once, got 0.png"),
        ("file,labels\n0.png,a\nx.png,b\n", FileNotFoundError, r"1 of 2 images .* such as x.png \(row 3\)"),
        ("file,a,b\n0.png,1,2\n", ValueError, "row 2, column 'b' must hold 1 or 0, got '2'"),
        ("file,split\n0.png,train\n", ValueError, "must have a column of labels"),
        ("file,labels,split\n0.png,a,dev\n", ValueError, "row 2: split must be train, val or test, got 'dev'"),
        ("file,labels,split\n0.png,a,val\n", ValueError, "must have rows of the split 'train', got val"),
        ("file,labels\n0.png,a\n1.png,b\n", ValueError, "a label must have two images or more"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(root: Path, text: str, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        LabeledImages(root, table(root, text))
    with pytest.raises(FileNotFoundError, match="table of labels none does not exist"):
        LabeledImages(root, "none")
