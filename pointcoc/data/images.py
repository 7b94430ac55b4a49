"""Image folders in the ImageNet layout: `train/` and `val/`, one folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from pointcoc.checks import check_choice, check_folder
from pointcoc.data.image_files import ENDINGS, is_hidden, open_image, read_image, say_unread


def image_folder(
    path: str | Path,
    split: str = "train",
    transform: Callable[[Any], Any] | None = None,
    classes: Sequence[str] | None = None,
) -> Any:
    """Open one split of an image folder: `path/train/CLASS/*.jpg` and `path/val/CLASS/*.jpg`.

    Where there is no `val/`, `test/` is taken for it. Hidden folders and files (.NAME, ._NAME, __MACOSX) are no classes
    and no images; a line tells how many files look like images that are not read. Nothing is read but names, so a
    broken image raises when it is asked for; see `pointcoc.data.image_files` for how images are read.

    Args:
        path: folder that holds `train/` and `val/` (or `test/`).
        split: "train" or "val".
        transform: maps a PIL image to a tensor (C, H, W); without it pixels become floats in [0, 1] at the size they
            have.
        classes: names of the classes in the order of their numbers, which may be more than there are folders; by
            default the folders, sorted by name.

    Returns:
        An `ImageFolder` of (image, label) with `classes` (names) and `labels` (int64, shape (N,)).

    Raises:
        ValueError: if the split is unknown, or has other classes than `train/` or `classes`.
        FileNotFoundError: if the folder, the split, its class folders or the images of a class are missing.
        ImportError: if Pillow is not installed.
    """
    check_choice("split", split, ("train", "val"))
    root = check_folder("path", path)
    folder = _split_folder(root, split)
    _check_classes(folder, root / "train")
    names = sorted(folder_names(folder)) if classes is None else list(classes)
    if unknown := folder_names(folder) - set(names):
        raise ValueError(f"{folder} must hold folders of the classes {_listing(set(names))}; got {_listing(unknown)}")
    return ImageFolder(folder, names, transform)


class ImageFolder(Dataset):
    """Images in one folder per class, with the attributes of `torchvision.datasets.ImageFolder`.

    Args:
        root: folder that holds a folder for each class.
        classes: names of the classes in the order of their numbers; one without a folder has no images.
        transform: maps a PIL image (RGB) to what an item holds; without it, floats in [0, 1], shape (3, H, W).

    Attributes:
        samples: file and label of each image, in the order of classes and names.
        labels: int64, shape (N,).
        targets: the labels as a list.
        class_to_idx: label of each class.

    Raises:
        FileNotFoundError: if a folder of a class holds no images.
    """

    def __init__(self, root: Path, classes: Sequence[str], transform: Callable[[Any], Any] | None = None) -> None:
        self.root = root
        self.classes = list(classes)
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}
        self.transform = transform
        found = {name: _images_below(root / name) for name in self.classes if (root / name).is_dir()}
        say_unread((path for paths in found.values() for path in paths), str(root))
        found = {name: [path for path in paths if path.suffix.lower() in ENDINGS] for name, paths in found.items()}
        if empty := {name for name, paths in found.items() if not paths}:
            raise FileNotFoundError(
                f"every class folder of {root} must hold images ({', '.join(ENDINGS)}); none in {_listing(empty)}"
            )
        self.samples = [(str(path), self.class_to_idx[name]) for name, paths in found.items() for path in paths]
        self.targets = [label for _, label in self.samples]
        self.labels = torch.tensor(self.targets)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        return (read_image(path) if self.transform is None else self.transform(open_image(path))), label

    def source(self, index: int) -> str:
        """Return the file of an image, for messages."""
        return self.samples[index][0]


def _images_below(folder: Path) -> list[Path]:
    """List the files in a folder and those in it, sorted; hidden ones and those in hidden folders are left out."""
    found = []
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(Path(name)))
        found += [Path(where, name) for name in sorted(names) if not is_hidden(Path(name))]
    return found


def _split_folder(root: Path, split: str) -> Path:
    """Find the folder of a split; `test/` stands in for a missing `val/`."""
    names = {"train": ("train",), "val": ("val", "test")}[split]
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(
        f"path {root} must hold the folder {' or '.join(name + '/' for name in names)} with one folder per class; "
        f"it holds {_listing(folder_names(root))}"
    )


def _check_classes(folder: Path, train_folder: Path) -> None:
    """Raise unless there are classes and, where `train/` exists, the same ones as there."""
    classes = folder_names(folder)
    if not classes:
        raise FileNotFoundError(f"{folder} must hold one folder per class with images in it, got no folders")
    expected = folder_names(train_folder) if train_folder.is_dir() else classes
    if classes != expected:  # labels are positions in this list: one folder more or less would silently shift them
        raise ValueError(
            f"{folder} must hold the same class folders as {train_folder}; only there: {_listing(expected - classes)}; "
            f"only here: {_listing(classes - expected)}"
        )


def folder_names(folder: Path) -> set[str]:
    """Name the folders in a folder; hidden ones are none."""
    return {entry.name for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry)}


def _listing(names: set[str], most: int = 5) -> str:
    """List names for a message, the first few of many."""
    shown = ", ".join(sorted(names)[:most]) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
