"""Folders of images and masks: what is read, and what is refused by a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pointcoc.data import IGNORE, MaskFolder

MASK = np.array([[0, 1, 2], [2, 1, 255]], dtype=np.uint8)


def draw(root: Path, mask: Image.Image | None = None, image: Image.Image | None = None, name: str = "a") -> Path:
    for folder in ("images", "annotations"):
        (root / folder / "train").mkdir(parents=True, exist_ok=True)
    (image or Image.new("RGB", (3, 2), (255, 0, 0))).save(root / "images" / "train" / f"{name}.png")
    if mask is not None:
        mask.save(root / "annotations" / "train" / f"{name}.png")
    return root


def test_numbers_of_the_mask_are_the_classes(tmp_path: Path) -> None:
    draw(tmp_path, Image.fromarray(MASK))
    image, mask = MaskFolder(tmp_path, "train", num_classes=3)[0]
    assert image.shape == (3, 2, 3)
    assert image[:, 0, 0].tolist() == [1, 0, 0]
    assert mask.tolist() == [[0, 1, 2], [2, 1, IGNORE]]
    _, shifted = MaskFolder(tmp_path, "train", num_classes=2, first_class=1, ignore=(0, 255))[0]
    assert shifted.tolist() == [[IGNORE, 0, 1], [1, 0, IGNORE]]


def test_a_palette_mask_is_read_by_number_and_wide_ones_too(tmp_path: Path) -> None:
    palette = Image.fromarray(MASK % 3).convert("L").copy()
    palette.putpalette([value for color in range(256) for value in (255 - color, color, 7)])
    assert palette.mode == "P"
    draw(tmp_path, palette)
    draw(tmp_path, Image.fromarray(MASK.astype(np.uint16) + 300), name="b")
    _, mask = MaskFolder(tmp_path, "train", num_classes=600)[0]
    assert mask.tolist() == (MASK % 3).tolist()
    _, wide = MaskFolder(tmp_path, "train", num_classes=600)[1]
    assert wide.tolist() == (MASK.astype(int) + 300).tolist()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "LA"])
def test_images_of_all_kinds_have_three_channels(tmp_path: Path, mode: str) -> None:
    draw(tmp_path, Image.fromarray(MASK), Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode))
    image, _ = MaskFolder(tmp_path, "train", num_classes=3)[0]
    assert torch.equal(image, torch.ones(3, 2, 3))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    draw(tmp_path / "size", Image.new("L", (2, 3)))
    with pytest.raises(ValueError, match=r"the size of its image: .*a.png has \(3, 2\) and a.png has \(2, 3\)"):
        MaskFolder(tmp_path / "size", "train", num_classes=3)[0]
    draw(tmp_path / "class", Image.fromarray(MASK))
    with pytest.raises(ValueError, match=r"must hold classes 0 to 1, or 255 for pixels to ignore, got 2"):
        MaskFolder(tmp_path / "class", "train", num_classes=2)[0]
    with pytest.raises(ValueError, match=r"must hold classes 1 to 3, or none for pixels to ignore, got 0, 255"):
        MaskFolder(tmp_path / "class", "train", num_classes=3, first_class=1, ignore=())[0]
    draw(tmp_path / "color", Image.new("RGB", (3, 2)))
    with pytest.raises(ValueError, match="got mode RGB: colors are not classes"):
        MaskFolder(tmp_path / "color", "train", num_classes=3)[0]


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="path/images/SPLIT must be an existing folder"):
        MaskFolder(tmp_path, "train", num_classes=3)
    draw(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"a mask for every image; 1 of 1 are missing: a.png"):
        MaskFolder(tmp_path, "train", num_classes=3)
    (tmp_path / "images" / "train" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold images .* got none"):
        MaskFolder(tmp_path, "train", num_classes=3)
    with pytest.raises(ValueError, match="num_classes must be an integer of at least 1, got 0"):
        MaskFolder(tmp_path, "train", num_classes=0)
