"""Image folders: `train/` and `val/`, or one folder, with one folder per class."""

from __future__ import annotations

import copy
import hashlib
import os
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from pointcoc.checks import InputWarning, check_choice, check_folder
from pointcoc.data.image_files import ENDINGS, is_hidden, open_image, read_image, say_unread
from pointcoc.data.splits import hold_out

STAND_INS = ("val", "valid", "validation", "test")
"""Folders to measure on, the first that there is."""
MADE_SPLIT = "made_split"
"""Note of weights: `digest` of the files that trained them, where a folder was split here."""


def image_folder(
    path: str | Path,
    split: str = "train",
    transform: Callable[[Any], Any] | None = None,
    classes: Sequence[str] | None = None,
) -> ImageFolder:
    """Open one split of an image folder: `path/train/CLASS/*.jpg` and `path/val/CLASS/*.jpg`.

    Where there is no `val/`, `valid/`, `validation/` or `test/` is taken for it. Where there is none of them, or no
    split at all (`path/CLASS/*.jpg`), about a fifth of each class is held out for `val`: the name of a file decides, so
    the split is the same on every machine and a new file moves no other one. A line says so.

    Hidden folders and files (.NAME, ._NAME, __MACOSX) are no classes and no images; a line tells how many files look
    like images that are not read. Nothing is read but names, so a broken image raises when it is asked for; see
    `pointcoc.data.image_files` for how images are read.

    Args:
        path: folder that holds `train/` and `val/`, or a folder for each class.
        split: "train" or "val".
        transform: maps a PIL image to a tensor (C, H, W); without it pixels become floats in [0, 1] at the size they
            have.
        classes: names of the classes in the order of their numbers, which may be more than there are folders; by
            default the folders, sorted by name.

    Returns:
        Pairs (image, label) with `classes` (names) and `labels` (int64, shape (N,)).

    Raises:
        ValueError: if the split is unknown, has other classes than `train/` or `classes`, or no class has two images to
            split.
        FileNotFoundError: if the folder, the split, its class folders or the images of a class are missing.
        ImportError: if Pillow is not installed.
    """
    check_choice("split", split, ("train", "val"))
    root = check_folder("path", path)
    folder, is_whole = find_split(root, split)
    _check_classes(folder, root / "train")
    names = sorted(folder_names(folder)) if classes is None else list(classes)
    if unknown := folder_names(folder) - set(names):
        raise ValueError(f"{folder} must hold folders of the classes {_listing(set(names))}; got {_listing(unknown)}")
    images = ImageFolder(folder, names, transform)
    return _part(images, split) if is_whole else images


def find_split(root: Path, split: str) -> tuple[Path, bool]:
    """Find the folder of a split.

    Args:
        root: see `image_folder`.
        split: "train" or "val".

    Returns:
        The folder, and whether it holds both splits, to be split by `hold_out`.

    Raises:
        FileNotFoundError: if there is only the other split.
    """
    has_train, stand_ins = (root / "train").is_dir(), [name for name in STAND_INS if (root / name).is_dir()]
    if split == "train" and not has_train and stand_ins:
        raise FileNotFoundError(
            f"path {root} must hold the folder train/ with one folder per class; it holds "
            f"{_listing(folder_names(root))}"
        )
    if split == "val" and stand_ins:
        return root / stand_ins[0], False
    return (root / "train" if has_train else root), not stand_ins


def _part(images: ImageFolder, split: str) -> ImageFolder:
    """Return the images of one of the splits that are made of a folder."""
    held_out = images.held_out()
    if not held_out:
        raise ValueError(
            f"{images.root} must hold a class with two images or more, to hold out one to measure on; or put the "
            "images to measure on into val/CLASS/"
        )
    if split == "val":
        warnings.warn(
            f"{images.root} has no split to measure on: {len(held_out)} of {len(images)} images are held out, chosen "
            "by their names",
            InputWarning,
            stacklevel=3,
        )
    part = copy.copy(images)
    part.made_split = images.split_by(held_out)
    part.keep(set(part.made_split[split]))
    return part


def digest(names: Collection[str]) -> str:
    """Return what tells a set of names from others, as text: 16 hexadecimal digits."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]


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
        made_split: files of both parts, "train" and "val", relative to the root, if they were split here; else None.

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
        self.made_split: dict[str, list[str]] | None = None
        self.samples = [(str(path), self.class_to_idx[name]) for name, paths in found.items() for path in paths]
        self.keep(None)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        return (read_image(path) if self.transform is None else self.transform(open_image(path))), label

    def source(self, index: int) -> str:
        """Return the file of an image, for messages."""
        return self.samples[index][0]

    def held_out(self) -> set[str]:
        """Return the files that `hold_out` chooses, relative to the root."""
        classes: dict[str, list[str]] = {}
        for path, label in self.samples:
            classes.setdefault(self.classes[label], []).append(self._name(path))
        return hold_out(classes)

    def split_by(self, held_out: Collection[str]) -> dict[str, list[str]]:
        """Return the files of both parts, relative to the root."""
        names = [self._name(path) for path, _ in self.samples]
        return {
            "train": [name for name in names if name not in held_out],
            "val": [name for name in names if name in held_out],
        }

    def keep(self, names: Collection[str] | None) -> None:
        """Keep these files alone, relative to the root; None keeps all."""
        if names is not None:
            self.samples = [(path, label) for path, label in self.samples if self._name(path) in names]
        self.targets = [label for _, label in self.samples]
        self.labels = torch.tensor(self.targets, dtype=torch.int64)

    def _name(self, path: str) -> str:
        return Path(path).relative_to(self.root).as_posix()


def _images_below(folder: Path) -> list[Path]:
    """List the files in a folder and those in it, sorted; hidden ones and those in hidden folders are left out."""
    found = []
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(Path(name)))
        found += [Path(where, name) for name in sorted(names) if not is_hidden(Path(name))]
    return found


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
