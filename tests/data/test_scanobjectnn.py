"""ScanObjectNN: the files of its three variants, and what is said where one is missing."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from pointcoc.data import ScanObjectNN

FILES = {
    "OBJ_ONLY": "main_split_nobg/{}_objectdataset.h5",
    "OBJ_BG": "main_split/{}_objectdataset.h5",
    "PB_T50_RS": "main_split/{}_objectdataset_augmentedrot_scale75.h5",
}


def write_release(folder: Path, num_points: int = 8) -> dict[tuple[str, str], np.ndarray]:
    """Write all files of the release with other points in each, and return the points."""
    random, written = np.random.default_rng(0), {}
    for variant, name in FILES.items():
        for split, word, count in (("train", "training", 4), ("test", "test", 3)):
            path = folder / name.format(word)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = random.random((count, num_points, 3)).astype(np.float32)
            with h5py.File(path, "w") as file:
                file["data"], file["label"] = data, np.arange(count, dtype=np.int32)[::-1] + 11
                file["mask"] = np.full((count, num_points), -1)
            written[variant, split] = data
    return written


def test_each_variant_and_split_is_its_own_file(tmp_path: Path) -> None:
    for (variant, split), data in write_release(tmp_path).items():
        clouds = ScanObjectNN(tmp_path, split, variant, num_points=None)
        assert np.array_equal(clouds.points, data)
        assert clouds.labels.tolist() == [14, 13, 12, 11][-len(data) :]
        assert clouds.classes[clouds[len(data) - 1].y] == "pillow"
        assert len(clouds.classes) == 15


def test_first_points_rows_and_transform(tmp_path: Path) -> None:
    data = write_release(tmp_path)["PB_T50_RS", "test"]
    clouds = ScanObjectNN(tmp_path, "test", num_points=5, transform=lambda item: item.update({"pos": -item.pos}))
    assert np.array_equal(clouds[1].pos, -data[1, :5])
    assert clouds.source(2).endswith("test_objectdataset_augmentedrot_scale75.h5 row 2")


def test_a_missing_file_and_a_wrong_argument_are_named(tmp_path: Path) -> None:
    write_release(tmp_path)
    (tmp_path / "main_split" / "training_objectdataset.h5").unlink()
    sentence = r"must hold main_split/training_objectdataset.h5 for the train split of OBJ_BG, as in h5_files.zip"
    with pytest.raises(FileNotFoundError, match=sentence):
        ScanObjectNN(tmp_path, "train", "OBJ_BG")
    with pytest.raises(ValueError, match="unknown variant 'PB_T25'; choose from OBJ_ONLY, OBJ_BG, PB_T50_RS"):
        ScanObjectNN(tmp_path, "train", "PB_T25")
    with pytest.raises(ValueError, match=r"num_points must be in \[1, 8\], .*scale75.h5, got 1024"):
        ScanObjectNN(tmp_path)
    with h5py.File(tmp_path / FILES["PB_T50_RS"].format("training"), "a") as file:
        file["label"][1] = 15
    with pytest.raises(ValueError, match=r"must be in \[0, 14\], the 15 classes of the data set; row 1 holds 15"):
        ScanObjectNN(tmp_path, num_points=8)
    assert len(ScanObjectNN(tmp_path, num_points=8, max_bad=1)) == 3
