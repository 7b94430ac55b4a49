"""ScanObjectNN: real objects cut out of indoor scans, in the HDF5 files of its authors and the three usual variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_file, check_folder
from pointcoc.data.clouds import HDF5Clouds

CLASSES = (
    "bag", "bin", "box", "cabinet", "chair", "desk", "display", "door", "shelf", "table", "bed", "pillow", "sink",
    "sofa", "toilet",
)  # fmt: skip
SPLITS = {"train": "training", "test": "test"}
# Variant: the folder of h5_files, and what follows the split in the names of its two files.
VARIANTS = {
    "OBJ_ONLY": ("main_split_nobg", "_objectdataset.h5"),
    "OBJ_BG": ("main_split", "_objectdataset.h5"),
    "PB_T50_RS": ("main_split", "_objectdataset_augmentedrot_scale75.h5"),
}


class ScanObjectNN(HDF5Clouds):
    """A split of ScanObjectNN, held in memory: item i is a `Data` with `pos` (P, 3) float32 and `y` (1,).

    Uy et al., Revisiting Point Cloud Classification (ICCV 2019). Coordinates are as stored, neither centered nor
    scaled. The dataset `mask` of the files, which tells object from background, is not read. The attributes are those
    of `HDF5Clouds`.

    Args:
        folder: h5_files as unzipped: it holds main_split and main_split_nobg, or the one that the variant needs.
        split: "train" or "test".
        variant: "OBJ_ONLY", the objects alone; "OBJ_BG", with what lies around them; "PB_T50_RS", the hardest: boxes
            moved by up to half of their size, turned and scaled.
        num_points: P, the first of the 2,048 points of each cloud; None takes all.
        transform: a torch_geometric transform of an item.
        max_bad: rows that may be left out because their coordinates are not finite or their label is no class.
        features: further features to read; the published files hold none.
        columns: names of the columns of data.

    Raises:
        FileNotFoundError: if the folder or the file of the variant is missing.
        ValueError: if an argument is not allowed, or a file is not complete or holds other than it should; the message
            names file and row.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        variant: str = "PB_T50_RS",
        num_points: int | None = 1024,
        transform: Callable[[Data], Data] | None = None,
        max_bad: int = 0,
        features: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> None:
        check_choice("split", split, tuple(SPLITS))
        check_choice("variant", variant, tuple(VARIANTS))
        part, ending = VARIANTS[variant]
        file = check_folder("folder", folder) / part / f"{SPLITS[split]}{ending}"
        check_file(
            file,
            f"folder {folder} must hold {part}/{file.name} for the {split} split of {variant}, as in h5_files.zip of "
            "ScanObjectNN; it is missing",
        )
        self._read([file], CLASSES, num_points, transform, max_bad, features, columns)
