"""shapes: layout on disk, determinism, balance, and classes that can be told apart."""

import h5py
import numpy as np
import pytest
import torch

from pointcoc.data import HDF5Clouds, generated, shapes, write_shapes
from pointcoc.data.solids import SOLIDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_shapes(
        tmp_path_factory.mktemp("shapes") / "new" / "shapes", num_train=200, num_test=105, num_points=256
    )


def test_layout_is_that_of_modelnet40(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "ply_data_test0.h5", "ply_data_train0.h5", "shape_names.txt", "test_files.txt", "train_files.txt",
    ]  # fmt: skip
    assert (folder / "shape_names.txt").read_text().split() == list(SOLIDS)
    with h5py.File(folder / "ply_data_train0.h5") as file:
        assert file["data"].shape == (200, 256, 3) and file["data"].dtype == np.float32
        assert file["label"].shape == (200, 1) and file["label"].dtype == np.uint8


def test_nothing_but_the_folder_is_left(folder):
    assert [path.name for path in folder.parent.iterdir()] == ["shapes"]


def test_classes_are_balanced_and_mixed(folder):
    train, test = HDF5Clouds(folder, "train", 256), HDF5Clouds(folder, "test", 256)
    assert len(SOLIDS) == 10 and train.classes == tuple(SOLIDS)
    assert train.labels.bincount().tolist() == [20] * 10
    assert test.labels.bincount().tolist() == [11] * 5 + [10] * 5
    assert not train.labels.equal(train.labels.sort().values)


def test_same_arguments_give_the_same_clouds(folder, tmp_path):
    again = HDF5Clouds(write_shapes(tmp_path / "again", 200, 105, 256), "train", 256)
    first = HDF5Clouds(folder, "train", 256)
    assert again.points.equal(first.points) and again.labels.equal(first.labels)


def test_test_clouds_do_not_depend_on_the_number_of_training_clouds(folder, tmp_path):
    other = HDF5Clouds(write_shapes(tmp_path / "other", 10, 105, 256), "test", 256)
    assert other.points.equal(HDF5Clouds(folder, "test", 256).points)


def test_seed_changes_the_clouds_and_splits_differ(tmp_path):
    zero, one = (HDF5Clouds(write_shapes(tmp_path / str(s), 10, 10, 8, seed=s), "train", 8) for s in (0, 1))
    test = HDF5Clouds(tmp_path / "0", "test", 8)
    assert not zero.points.equal(one.points)
    assert not torch.isin(test.points, zero.points).any()


def describe(points):
    """Describe clouds by numbers that no rotation, shift or scale changes: distances and moments of inertia."""
    centered = points - points.mean(1, keepdim=True)
    centered = centered / centered.square().sum(-1).mean(1).sqrt()[:, None, None]
    distance, radius = torch.cdist(centered, centered).flatten(1), centered.norm(dim=-1)
    inertia = torch.linalg.eigvalsh(centered.mT @ centered / points.shape[1])
    rows = [
        torch.cat([torch.histc(d, 16, 0, 4) / len(d), torch.histc(r, 16, 0, 2) / len(r)])
        for d, r in zip(distance, radius, strict=True)
    ]
    return torch.cat([torch.stack(rows), inertia], dim=1)


def test_classes_can_be_told_apart(folder):
    """Even crude numbers and the nearest of 20 clouds per class are right far more often than the 10 % of chance."""
    train, test = HDF5Clouds(folder, "train", 256), HDF5Clouds(folder, "test", 256)
    nearest = torch.cdist(describe(test.points), describe(train.points)).argmin(1)
    assert (train.labels[nearest] == test.labels).float().mean() > 0.6


def test_cache_is_written_once(tmp_path):
    first = shapes("train", 20, 10, 16, seed=3, cache=tmp_path / "cache")
    assert len(first) == 20 and first[0].pos.shape == (16, 3)
    (made,) = (tmp_path / "cache").iterdir()
    before = made.stat().st_mtime_ns
    assert len(shapes("test", 20, 10, 16, seed=3, cache=tmp_path / "cache")) == 10
    assert list((tmp_path / "cache").iterdir()) == [made] and made.stat().st_mtime_ns == before


def test_default_cache_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shapes("test", 10, 10, 4)
    assert [path.name for path in (tmp_path / "pointcoc").iterdir()] == ["shapes-v1-10-10-4-seed0"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shapes("test", 10, 10, 4)
    assert (tmp_path / "home" / ".cache" / "pointcoc").is_dir()


def test_transform(tmp_path):
    data = shapes("test", 10, 10, 4, cache=tmp_path, transform=lambda data: data.pos.shape)[0]
    assert data == (4, 3)


def test_another_process_may_be_faster(tmp_path, monkeypatch):
    """While this process writes, the other one finishes: its folder is used."""
    write_split = generated.write_split

    def slow(folder, listing, split, **arrays):
        write_split(folder, listing, split, **arrays)
        if split == "test":
            monkeypatch.setattr(generated, "write_split", write_split)
            write_shapes(folder.with_name("shapes-v1-10-10-4-seed0"), 10, 10, 4)

    monkeypatch.setattr(generated, "write_split", slow)
    assert len(shapes("train", 10, 10, 4, cache=tmp_path)) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["shapes-v1-10-10-4-seed0"]


def test_after_an_error_nothing_is_left(tmp_path, monkeypatch):
    def full(*arguments, **arrays):
        raise OSError("No space left on device")

    monkeypatch.setattr(generated, "write_split", full)
    with pytest.raises(OSError, match="No space left"):
        write_shapes(tmp_path / "shapes", 10, 10, 4)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path):
    write_shapes(tmp_path / "shapes", 10, 10, 4)
    with pytest.raises(FileExistsError, match=r"folder must be new or empty, but .*shapes exists and holds something"):
        write_shapes(tmp_path / "shapes", 10, 10, 4)
    (tmp_path / "empty").mkdir()
    assert len(HDF5Clouds(write_shapes(tmp_path / "empty", 10, 10, 4), "test", 4)) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((9,), "num_train must be an integer of at least 10, got 9"),
        ((10, 0), "num_test must be an integer of at least 10, got 0"),
        ((10, 10, 0), "num_points must be an integer of at least 1, got 0"),
        ((10, 10, 4, -1), "seed must be an integer of at least 0, got -1"),
        ((10.0, 10), "num_train must be an integer of at least 10, got 10.0"),
    ],
)
def test_argument_errors(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_shapes(tmp_path / "shapes", *arguments)
    with pytest.raises(ValueError, match=message):
        shapes("train", *arguments, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_unknown_split(tmp_path):
    with pytest.raises(ValueError, match="unknown split 'val'; choose from train, test"):
        shapes("val", cache=tmp_path)
