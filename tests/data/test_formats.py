"""The table of data sets: a folder opens as what it looks like, and a row is all that a new data set needs."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from pointcoc.data import HDF5Clouds, ScanObjectNN, write_part_shapes, write_shapes
from pointcoc.data.formats import CLOUD_FORMATS, IMAGE_FORMATS, PART_FORMATS, Format, format_of, open_split


def write_scans(folder: Path, points: np.ndarray, name: str = "main_split/test_objectdataset.h5") -> None:
    (folder / name).parent.mkdir(parents=True)
    with h5py.File(folder / name, "w") as file:
        file.update({"data": points, "label": np.arange(len(points))})


def test_a_folder_opens_as_what_it_looks_like(tmp_path: Path) -> None:
    write_shapes(tmp_path / "solids", 10, 10, 8)
    write_part_shapes(tmp_path / "parts", 6, 6, 6, 8)
    points = np.random.default_rng(0).random((3, 8, 3), dtype=np.float32)
    write_scans(tmp_path / "scans", points)
    solids = open_split(tmp_path / "solids", "test", CLOUD_FORMATS, num_points=4)
    assert (type(solids), solids.points.shape) == (HDF5Clouds, (10, 4, 3))
    scans = open_split(tmp_path / "scans", "test", CLOUD_FORMATS, variant="OBJ_BG", num_points=4)
    assert (type(scans), scans.points.tolist()) == (ScanObjectNN, points[:, :4].tolist())
    assert format_of(tmp_path / "scans", CLOUD_FORMATS).open is ScanObjectNN
    assert len(open_split(tmp_path / "parts", "trainval", PART_FORMATS)) == 12
    assert not any(one.fits(tmp_path / "solids") for one in (*IMAGE_FORMATS.values(), *PART_FORMATS.values()))


def test_a_row_is_all_that_recipes_and_robustness_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.txt").touch()
    row = Format(open=lambda folder, split, **options: (folder, split, options), marks=("mine.txt",), variants=("A",))
    monkeypatch.setitem(CLOUD_FORMATS, "mine", row)
    assert open_split(tmp_path, "test", CLOUD_FORMATS, num_points=3) == (tmp_path, "test", {"num_points": 3})
    assert open_split("anywhere", "train", CLOUD_FORMATS, variant="A") == ("anywhere", "train", {"variant": "A"})


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold shape_names\.txt"):
        open_split(tmp_path, "test", CLOUD_FORMATS)
    with pytest.raises(FileNotFoundError, match="nothing lies at"):
        open_split(tmp_path / "nothing", "test", CLOUD_FORMATS)
    with pytest.raises(ValueError, match="unknown variant 'OBJ'; choose from OBJ_ONLY, OBJ_BG, PB_T50_RS"):
        open_split(tmp_path, "test", CLOUD_FORMATS, variant="OBJ")
