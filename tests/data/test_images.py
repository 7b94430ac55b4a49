"""image_folder: layout, labels, and each thing that can be missing."""

import pytest
import torch
from PIL import Image

from pointcoc.data import image_folder

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


def test_missing_val_and_test(root):
    (root / "val").rename(root / "validation")
    with pytest.raises(
        FileNotFoundError, match=r"must hold the folder val/ or test/ with .*; it holds train, validation"
    ):
        image_folder(root, "val")


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
    with pytest.raises(FileNotFoundError, match=r"must hold images; .*for the classes red\. Supported .* \.jpg,"):
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


def test_missing_torchvision_says_how_to_install(root, monkeypatch):
    def no_module(name):
        raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")

    monkeypatch.setattr("importlib.import_module", no_module)
    with pytest.raises(ImportError, match=r"needs torchvision; install it with: pip install 'pointcoc\[train\]'"):
        image_folder(root)


def test_a_broken_torchvision_is_not_called_missing(root, monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("No module named 'PIL'", name="PIL")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="No module named 'PIL'"):
        image_folder(root)
