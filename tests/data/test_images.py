"""image_folder: layout, labels, and each thing that can be missing."""

from pathlib import Path

import pytest
import torch
from image_kinds import ORIENTATIONS, photo, write_turned
from PIL import Image

from pointcoc.checks import InputWarning
from pointcoc.data import image_folder
from pointcoc.data.image_files import read_image

COLORS = {"blue": (0, 0, 255), "red": (255, 0, 0)}


def write_images(folder, names=tuple(COLORS), count=2):
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (6, 4), COLORS.get(name, (0, 0, 0))).save(folder / name / f"{number}.png")


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path / "train", count=3)
    write_images(tmp_path / "val")
    return tmp_path


def test_items_and_labels(root):
    dataset = image_folder(root)
    assert list(dataset.classes) == ["blue", "red"]
    assert dataset.labels.dtype == torch.int64 and dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    image, label = dataset[5]
    assert image.shape == (3, 4, 6) and image.dtype == torch.float32
    assert label == 1 and image[0].min() == 1 and image[1:].max() == 0


def test_val_and_its_stand_in(root):
    assert len(image_folder(root, "val")) == 4
    (root / "val").rename(root / "test")
    assert len(image_folder(str(root), split="val")) == 4


def test_val_comes_before_test(root):
    write_images(root / "test", count=5)
    assert len(image_folder(root, "val")) == 4


def test_val_alone(root):
    (root / "train").rename(root / "elsewhere")
    assert len(image_folder(root, "val")) == 4


def test_transform(root):
    assert image_folder(root, transform=lambda image: image.size)[0] == ((6, 4), 0)


def test_unknown_split(root):
    with pytest.raises(ValueError, match="unknown split 'test'; choose from train, val"):
        image_folder(root, "test")


def test_missing_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path must be an existing folder, but nothing lies at .*nowhere"):
        image_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"path must be a folder, but .*file is a file"):
        image_folder(tmp_path / "file")


def test_missing_train(root):
    (root / "train").rename(root / "training")
    with pytest.raises(FileNotFoundError, match=r"must hold the folder train/ with .*; it holds training, val"):
        image_folder(root)


@pytest.mark.parametrize("name", ["valid", "validation", "test"])
def test_other_names_of_val(root, name):
    (root / "val").rename(root / name)
    assert image_folder(root, "val").source(0) == str(root / name / "blue" / "0.png")


@pytest.mark.parametrize("where", ["train", "."])
def test_a_split_is_made_once_and_by_names(tmp_path, where):
    folder = tmp_path / where
    write_images(folder, count=20)
    train = image_folder(tmp_path, "train")
    with pytest.warns(
        InputWarning, match=r"has no split to measure on: \d+ of 40 images are held out, chosen by their"
    ):
        val = image_folder(tmp_path, "val")
    assert len(train) + len(val) == 40
    files = {
        name: {str(path.relative_to(folder)) for path in map(Path, part)}
        for name, part in (("train", [path for path, _ in train.samples]), ("val", [path for path, _ in val.samples]))
    }
    assert {name: set(part) for name, part in train.made_split.items()} == files
    assert train.made_split == val.made_split
    assert {label for _, label in val} == {0, 1}
    assert 4 <= len(val) <= 14
    assert val.labels.tolist() == [label for _, label in val]
    for number in range(20, 40):  # new files move no other one
        Image.new("RGB", (6, 4)).save(folder / "red" / f"{number}.png")
    with pytest.warns(InputWarning, match="of 60 images"):
        assert {path for path, _ in val.samples} <= {path for path, _ in image_folder(tmp_path, "val").samples}


def test_one_image_a_class_cannot_be_split(tmp_path):
    write_images(tmp_path, count=1)
    with pytest.raises(ValueError, match=r"must hold a class with two images or more, to hold out one"):
        image_folder(tmp_path, "val")


def test_a_folder_with_a_split_has_none_of_ours(root):
    assert image_folder(root).made_split is None


def test_no_class_folders(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "stray.png").touch()
    with pytest.raises(
        FileNotFoundError, match=r"train must hold one folder per class with images in it, got no folders"
    ):
        image_folder(tmp_path)


def test_class_without_images(root):
    for number in range(3):
        (root / "train" / "red" / f"{number}.png").rename(root / "train" / "red" / f"{number}.txt")
    with pytest.raises(FileNotFoundError, match=r"must hold images \(\.jpg, .*\); none in red"):
        image_folder(root)


def test_other_classes_than_train(root):
    (root / "val" / "blue").rename(root / "val" / "azure")
    with pytest.raises(ValueError, match=r"same class folders as .*train; only there: blue; only here: azure"):
        image_folder(root, "val")


def test_many_names_are_shortened(root):
    write_images(root / "train", [f"class{number}" for number in range(9)], count=1)
    with pytest.raises(
        ValueError, match="only there: class0, class1, class2, class3, class4 and 4 more; only here: none"
    ):
        image_folder(root, "val")


def test_hidden_folders_and_files_are_no_classes_and_no_images(root):
    for name in (".ipynb_checkpoints", "__MACOSX", ".git"):
        (root / "train" / name).mkdir()
    (root / "train" / "red" / "._0.png").write_bytes(b"\0\5\x16\7")
    (root / "train" / "red" / ".ipynb_checkpoints").mkdir()
    Image.new("RGB", (6, 4)).save(root / "train" / "red" / ".ipynb_checkpoints" / "0-checkpoint.png")
    dataset = image_folder(root)
    assert dataset.classes == ["blue", "red"]
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_unread_endings_are_counted_and_others_are_read(root):
    Image.new("RGB", (6, 4)).save(root / "train" / "red" / "more.gif")
    Image.new("RGB", (6, 4)).save(root / "train" / "red" / "more.TIFF")
    (root / "train" / "red" / "raw.nef").write_text("")
    with pytest.warns(InputWarning, match=r"whose ending is not read: 1 \.nef"):
        dataset = image_folder(root)
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]


def test_classes_in_an_order_of_their_own(root):
    dataset = image_folder(root, classes=["red", "green", "blue"])
    assert dataset.classes == ["red", "green", "blue"]
    assert dataset.labels.tolist() == [0, 0, 0, 2, 2, 2]
    with pytest.raises(ValueError, match="must hold folders of the classes green, red; got blue"):
        image_folder(root, classes=["red", "green"])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_photos_are_upright(root, orientation):
    write_turned(root / "train" / "red" / "0.png", photo(), orientation)
    image, _ = image_folder(root)[3]
    assert torch.equal(image, read_image(write_turned(root / "upright.png", photo(), 1)))
