"""Image folders in the ImageNet layout: `train/` and `val/`, one folder per class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pointcoc.checks import check_choice, check_folder, import_extra


def image_folder(path: str | Path, split: str = "train", transform: Callable[[Any], Any] | None = None) -> Any:
    """Open one split of an image folder: `path/train/CLASS/*.jpg` and `path/val/CLASS/*.jpg`.

    Classes are numbered in the order of their names. Where there is no `val/`, `test/` is taken for it. Nothing is read
    but names, so a broken image raises when it is asked for.

    Args:
        path: folder that holds `train/` and `val/` (or `test/`).
        split: "train" or "val".
        transform: maps a PIL image to a tensor (C, H, W); without it pixels become floats in [0, 1] at the size they
            have.

    Returns:
        A `torchvision.datasets.ImageFolder` of (image, label) with `classes` (names) and `labels` (int64, shape (N,)).

    Raises:
        ValueError: if the split is unknown, or the split has other classes than `train/`.
        FileNotFoundError: if the folder, the split, its class folders or the images of a class are missing.
        ImportError: if torchvision is not installed.
    """
    check_choice("split", split, ("train", "val"))
    root = check_folder("path", path)
    folder = _split_folder(root, split)
    _check_classes(folder, root / "train")
    transform = transform or import_extra("torchvision.transforms").ToTensor()
    try:
        dataset = import_extra("torchvision.datasets").ImageFolder(folder, transform=transform)
    except FileNotFoundError as error:  # torchvision names the empty classes and the endings of images
        raise FileNotFoundError(f"every class folder of {folder} must hold images; {error}") from error
    dataset.labels = torch.tensor(dataset.targets)
    return dataset


def _split_folder(root: Path, split: str) -> Path:
    """Find the folder of a split; `test/` stands in for a missing `val/`."""
    names = {"train": ("train",), "val": ("val", "test")}[split]
    for name in names:
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(
        f"path {root} must hold the folder {' or '.join(name + '/' for name in names)} with one folder per class; "
        f"it holds {_listing(_folder_names(root))}"
    )


def _check_classes(folder: Path, train_folder: Path) -> None:
    """Raise unless there are classes and, where `train/` exists, the same ones as there."""
    classes = _folder_names(folder)
    if not classes:
        raise FileNotFoundError(f"{folder} must hold one folder per class with images in it, got no folders")
    expected = _folder_names(train_folder) if train_folder.is_dir() else classes
    if classes != expected:  # labels are positions in this list: one folder more or less would silently shift them
        raise ValueError(
            f"{folder} must hold the same class folders as {train_folder}; only there: {_listing(expected - classes)}; "
            f"only here: {_listing(classes - expected)}"
        )


def _folder_names(folder: Path) -> set[str]:
    """Name the folders in a folder."""
    return {entry.name for entry in folder.iterdir() if entry.is_dir()}


def _listing(names: set[str], most: int = 5) -> str:
    """List names for a message, the first few of many."""
    shown = ", ".join(sorted(names)[:most]) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
