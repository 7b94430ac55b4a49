"""The data sets that recipes and commands open: each is a file of its own and a row here, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointcoc.checks import check_choice, check_folder
from pointcoc.data.cloud_folder import CloudFolder
from pointcoc.data.cloud_tree import ENDINGS, is_cloud_folder
from pointcoc.data.clouds import HDF5Clouds
from pointcoc.data.images import image_folder
from pointcoc.data.part_clouds import CATEGORIES, TEXT_CATEGORIES, HDF5Parts
from pointcoc.data.scanobjectnn import VARIANTS, ScanObjectNN
from pointcoc.data.sources import HubImages, ShardImages

MOST_NAMES = 5
"""Names of a folder that a message lists."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way in which data lies on the disk.

    Args:
        open: opens a split: takes the folder, the split and, by keyword, `transform` and whatever its recipe sets.
        marks: names in a folder, one of which tells that it has this format.
        variants: what `open` takes as `variant`; empty if it takes none.
        splits: names of the part to train on and of the part to test on; empty where each data set has its own.
        is_stream: whether a split can only be read from its beginning, and tells no classes.
        looks: tells that a folder has this format, for one without marks.
        needs: what a folder of this format holds, for messages.
        options: what `open` takes besides, which other formats do not.
    """

    open: Callable[..., Any]
    marks: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    is_stream: bool = False
    looks: Callable[[Path], bool] | None = None
    needs: str = ""
    options: tuple[str, ...] = ()

    def fits(self, folder: Path) -> bool:
        """Whether a folder looks like this format."""
        return any((folder / name).exists() for name in self.marks) or (self.looks is not None and self.looks(folder))


# Clouds with a class: `classes`, `labels`, `counts`, `remarks`, `left_out` and, for each, `pos`, `y` and features. They
# also take `num_points`, `max_bad`, `features` and `columns`.
CLOUD_FORMATS = {
    "ModelNet40": Format(
        open=HDF5Clouds,
        marks=("shape_names.txt",),
        splits=("train", "test"),
        needs="shape_names.txt and ply_data_*.h5, as the HDF5 files of ModelNet40",
    ),
    "ScanObjectNN": Format(
        open=ScanObjectNN,
        marks=("main_split", "main_split_nobg"),
        variants=tuple(VARIANTS),
        splits=("train", "test"),
        needs="main_split or main_split_nobg, as ScanObjectNN",
    ),
    "folder": Format(
        open=CloudFolder,
        looks=is_cloud_folder,
        splits=("train", "test"),
        needs=f"a folder per class with clouds (train/CLASS/FILE or CLASS/FILE, ending with {', '.join(ENDINGS)})",
        options=("decimal", "cache", "workers"),
    ),
}
# Clouds with a part for each point: `categories`, `parts` and `num_classes`. They also take `num_points`.
PART_FORMATS = {
    "ShapeNetPart": Format(open=HDF5Parts, marks=(CATEGORIES, TEXT_CATEGORIES), splits=("trainval", "test")),
}
# Images with a class, by the name of their source: (image, label), `classes` and `labels`. They also take `image_key`
# and `label_key` unless their splits have fixed names; a stream takes `is_training`, `seed` and `limit`.
IMAGE_FORMATS = {
    "folder": Format(open=image_folder, marks=("train", "val", "test"), splits=("train", "val")),
    "wds": Format(open=ShardImages, is_stream=True),
    "hfds": Format(open=HubImages),
}


def format_of(folder: str | Path, formats: Mapping[str, Format], variant: str | None = None) -> Format:
    """Return the format of a folder: the first that has the variant or, without one, that the folder looks like.

    Args:
        folder: the folder.
        formats: what it may be; where it looks like none, the first says what is missing, or all of them if they can.
        variant: name of a variant.

    Raises:
        FileNotFoundError: if there is no such folder, or it looks like none of several formats.
        ValueError: if no format has the variant.
    """
    if variant is not None:
        check_choice("variant", variant, variants_of(formats))
        return next(one for one in formats.values() if variant in one.variants)
    root = check_folder("folder", folder)
    fitting = [one for one in formats.values() if one.fits(root)]
    needs = [one.needs for one in formats.values() if one.needs]
    if not fitting and needs:
        held = sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())
        more = f" and {len(held) - MOST_NAMES} more" if len(held) > MOST_NAMES else ""
        raise FileNotFoundError(
            f"folder {root} must hold {', or '.join(needs)}; it holds {', '.join(held[:MOST_NAMES]) or 'nothing'}{more}"
        )
    return fitting[0] if fitting else next(iter(formats.values()))


def open_split(
    folder: str | Path, split: str, formats: Mapping[str, Format], variant: str | None = None, **options: Any
) -> Any:
    """Open a split of a folder in the format that it has, see `format_of`.

    Args:
        folder: the folder.
        split: name of the split.
        formats: what it may be.
        variant: name of a variant, for a format that has some.
        **options: what the data set takes: `transform`, `num_points` and the like.
    """
    chosen = format_of(folder, formats, variant)
    return chosen.open(folder, split, **options, **({} if variant is None else {"variant": variant}))


def variants_of(formats: Mapping[str, Format]) -> tuple[str, ...]:
    """Return the variants of all formats."""
    return tuple(name for one in formats.values() for name in one.variants)
