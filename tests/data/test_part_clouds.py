"""Clouds with parts: what is read, batched and refused; the objects that are sampled."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from pointcoc.data import (
    HDF5Parts,
    collate_parts,
    collate_points,
    convert_part_text,
    part_shapes,
    write_part_shapes,
)
from pointcoc.data.part_solids import OBJECTS, PARTS, part_clouds

POINTS = np.arange(2 * 4 * 3, dtype=np.float32).reshape(2, 4, 3)
PID = np.array([[2, 3, 3, 2], [0, 0, 1, 1]], dtype=np.uint8)


def write(root: Path, **changed: object) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "all_object_categories.txt").write_text("Bag\t01\nCap\t02\n")
    (root / "object2setofoids.json").write_text(json.dumps({"02": [2, 3], "01": [0, 1]}))
    for split in ("train", "val", "test"):
        (root / f"{split}_hdf5_file_list.txt").write_text(f"{split}0.h5\n")
        with h5py.File(root / f"{split}0.h5", "w") as file:
            for name, value in ({"data": POINTS, "label": [[1], [0]], "pid": PID} | changed).items():
                if value is not None:
                    file[name] = value
    return root


def test_the_layout_of_shapenetpart(tmp_path: Path) -> None:
    data = HDF5Parts(write(tmp_path), "trainval", num_points=3)
    assert (len(data), data.num_classes) == (4, 4)
    assert data.categories == ("Bag", "Cap")
    assert data.parts == ((0, 1), (2, 3))
    cap = data[0]
    assert cap.pos.tolist() == POINTS[0, :3].tolist()
    assert cap.y.tolist() == [2, 3, 3]
    assert cap.category.tolist() == [1]
    (points, categories), parts = collate_parts([data[0], data[1]])
    assert points.ptr.tolist() == [0, 3, 6]
    assert parts.tolist() == [2, 3, 3, 0, 0, 1]
    assert categories.tolist() == [1, 0]


def test_what_is_refused_names_file_and_row(tmp_path: Path) -> None:
    bad, strange = POINTS.copy(), PID.copy()
    bad[1, 2, 0], strange[1, 3] = np.nan, 2
    for number, (changed, sentence) in enumerate(
        (
            ({"data": bad}, r"data of .*train0.h5 must be finite; row 1"),
            ({"label": [[1], [2]]}, r"label of .* must be in \[0, 1\], the 2 classes .*; row 1 holds 2"),
            ({"pid": strange}, r"must hold parts \(0, 1\) for category 0; row 1 holds 2 at point 3"),
            ({"pid": PID[:, :2]}, r"pid of .* integers of shape \(2, 4\), got uint8 \(2, 2\)"),
            ({"label": [0.5, 1]}, r"label of .* must be integers of shape \(2, 1\) .* of float64"),
            ({"data": POINTS[0]}, r"data of .* must be numbers of shape \(N, P, 3\)"),
            (
                {"pid": None},
                r"must hold the datasets data .*, label .* and pid \(N, P\); pid is missing, it holds data, label",
            ),
        )
    ):
        with pytest.raises(ValueError, match=sentence):
            HDF5Parts(write(tmp_path / str(number), **changed), "train")
    root = write(tmp_path / "good")
    with pytest.raises(ValueError, match="unknown split 'all'; choose from train, val, test, trainval"):
        HDF5Parts(root, "all")
    with pytest.raises(ValueError, match=r"num_points must be in \[1, 4\]"):
        HDF5Parts(root, "train", num_points=5)
    (root / "train0.h5").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"train0.h5 cannot be read as an HDF5 file"):
        HDF5Parts(root, "train")
    (root / "train0.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"names train0.h5, which is missing in"):
        HDF5Parts(root, "train")
    (root / "object2setofoids.json").write_text('{"01": [0]}')
    with pytest.raises(ValueError, match=r"object2setofoids.json must hold the parts of each category"):
        HDF5Parts(root, "val")
    (root / "all_object_categories.txt").write_text("Bag 01\nCap\n")
    with pytest.raises(ValueError, match="in each line, line 2 is 'Cap'"):
        HDF5Parts(root, "val")
    (root / "all_object_categories.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold all_object_categories.txt"):
        HDF5Parts(root, "val")


def test_every_point_needs_a_class() -> None:
    pos = torch.zeros(3, 3)
    points, labels = collate_points([Data(pos=pos, x=torch.ones(3, 6), y=torch.tensor([0, 1, 2]))])
    assert points.x.shape == (3, 6)
    assert labels.tolist() == [0, 1, 2]
    with pytest.raises(
        ValueError, match=r"one integer `y` per point, shape \(3,\), got a tensor of shape \(1,\) and torch.int64"
    ):
        collate_points([Data(pos=pos, y=torch.tensor([1]))])


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_fill_the_unit_ball_and_have_all_parts(name: str) -> None:
    clouds, part = part_clouds(name, 3, 400, np.random.default_rng(0))
    assert clouds.shape == (3, 400, 3)
    length = np.linalg.norm(clouds, axis=-1)
    assert 0.6 < length.max() < 1.1
    for one in part:
        assert set(one) == set(range(len(PARTS[name])))


def test_parts_are_where_they_belong() -> None:
    """Upright: the top of a table lies above its legs, the nose of a rocket above its body."""
    for name, low, high in (("table", "legs", "top"), ("rocket", "body", "nose"), ("lamp", "base", "shade")):
        clouds, part = part_clouds(name, 4, 300, np.random.default_rng(1))
        below, above = PARTS[name].index(low), PARTS[name].index(high)
        for cloud, one in zip(clouds, part, strict=True):
            assert cloud[one == below, 2].mean() < cloud[one == above, 2].mean()


def test_sampled_objects_are_read_from_their_cache_and_are_the_same_each_time(tmp_path: Path) -> None:
    first = part_shapes("test", 6, 6, 12, 32, cache=tmp_path / "a")
    again = part_shapes("test", 12, 6, 12, 32, cache=tmp_path / "a")
    assert torch.equal(first.points, again.points)
    assert torch.equal(first.labels, again.labels)
    assert first.num_classes == 15
    assert torch.bincount(first.categories_of).tolist() == [2] * 6
    other = part_shapes("test", 6, 6, 12, 32, seed=1, cache=tmp_path / "a")
    assert not torch.equal(first.points, other.points)
    with pytest.raises(ValueError, match="num_val must be an integer of at least 6, got 5"):
        write_part_shapes(tmp_path / "b", num_val=5)
    with pytest.raises(FileExistsError, match="must be new or empty"):
        write_part_shapes(tmp_path / "a", 6, 6, 6, 8)


def write_text(root: Path, rows: str = "0 0 1 0 1 0 3\n0 0 2 0 1 0 2\n0 0 3 0 1 0 2\n") -> Path:
    (root / "train_test_split").mkdir(parents=True)
    (root / "synsetoffset2category.txt").write_text("Bag\t01\nCap\t02\n")
    for key, text in (("01", rows.replace("3\n", "0\n").replace("2\n", "1\n")), ("02", rows)):
        (root / key).mkdir()
        (root / key / "a.txt").write_text(text)
    for split in ("train", "val", "test"):
        names = json.dumps(["shape_data/02/a", "shape_data/01/a"])
        (root / "train_test_split" / f"shuffled_{split}_file_list.json").write_text(names)
    return root


def test_text_becomes_hdf5(tmp_path: Path) -> None:
    root = write_text(tmp_path / "text")
    with pytest.raises(FileNotFoundError, match=r"it holds text: pointcoc.data.convert_part_text writes"):
        HDF5Parts(root)
    data = HDF5Parts(convert_part_text(root, tmp_path / "out", num_points=3), "test")
    assert data.categories == ("Bag", "Cap")
    assert data.parts == ((0, 1), (2, 3))
    cap = data[0]
    assert cap.category.tolist() == [1]
    order = cap.pos[:, 2].argsort()
    assert cap.pos[order].tolist() == [[0, 0, 1], [0, 0, 2], [0, 0, 3]]
    assert cap.y[order].tolist() == [3, 2, 2]
    assert HDF5Parts(convert_part_text(root, tmp_path / "more", num_points=9))[0].pos.shape == (9, 3)


def test_text_that_is_refused(tmp_path: Path) -> None:
    for number, (rows, sentence) in enumerate(
        (
            ("0 0 1 3\n0 0 x 3\n", r"a.txt must hold rows of numbers x y z ... part: "),
            ("0 0 1\n", r"at least four numbers x y z ... part, got \(1, 3\)"),
            ("0 0 1 3\n0 0 1 0.5\n", r"a part of 0 or more, row 1 is \[0.0, 0.0, 1.0, 0.5\]"),
        )
    ):
        with pytest.raises(ValueError, match=sentence):
            convert_part_text(write_text(tmp_path / str(number), rows), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    root = write_text(tmp_path / "good")
    (root / "02" / "a.txt").unlink()
    with pytest.raises(FileNotFoundError, match="names shape_data/02/a, but there is no such category or no file"):
        convert_part_text(root, tmp_path / "out")
    (root / "synsetoffset2category.txt").write_text("Bag\n")
    with pytest.raises(ValueError, match="must hold a name and a key in each line"):
        convert_part_text(root, tmp_path / "out")


def write_pairs(root: Path, cap: str = "4\n1\n1\n", bag: str = "2\n1\n2\n") -> Path:
    """The older layout: positions and parts in two files, parts from 1 in each category."""
    write_text(root)
    for key, parts in (("01", bag), ("02", cap)):
        (root / key / "a.txt").unlink()
        for name in ("points", "points_label"):
            (root / key / name).mkdir()
        (root / key / "points" / "a.pts").write_text("".join(f"500000.123 4000000.456 {row}\n" for row in range(3)))
        (root / key / "points_label" / "a.seg").write_text(parts)
    return root


def test_the_older_layout_becomes_hdf5_with_parts_unique_over_categories(tmp_path: Path) -> None:
    out = convert_part_text(write_pairs(tmp_path / "text"), tmp_path / "out", num_points=3)
    data = HDF5Parts(out, "test")
    assert data.parts == ((0, 1), (2, 3, 4, 5))  # parts of a cap that no object has keep their number
    for item, category, parts in ((data[0], 1, [5, 2, 2]), (data[1], 0, [1, 0, 1])):
        order = item.pos[:, 2].argsort()
        assert item.category.tolist() == [category]
        assert item.y[order].tolist() == parts
        assert item.pos[order].tolist() == [[500000.123, 4000000.456, row] for row in range(3)]  # in float64
    said = (out / "converted.txt").read_text()
    assert "a .pts and a .seg file an object, parts from 1 in each category" in said
    assert "objects: 2 train, 2 val, 2 test; 2 categories, 6 parts" in said


def test_normals_of_text_are_features(tmp_path: Path) -> None:
    out = convert_part_text(write_text(tmp_path / "text"), tmp_path / "out", num_points=3)
    assert "a text file an object, the part in its last column, with normals;" in (out / "converted.txt").read_text()
    data = HDF5Parts(out, "test", features=("position", "normal"))
    assert data[0].normal.tolist() == [[0, 1, 0]] * 3
    plain = HDF5Parts(out, "test")
    assert plain[0].to_dict().keys() == {"pos", "y", "category"}
    assert "holds normal, which is not read unless features name it" in plain.remarks[0]
    with pytest.raises(ValueError, match=r"must hold color \(3\) as datasets of this name"):
        HDF5Parts(out, "test", features=("color",))
    bare = write_text(tmp_path / "bare")
    (bare / "01" / "a.txt").write_text("0 0 1 0\n0 0 2 1\n")
    other = convert_part_text(bare, tmp_path / "other", num_points=3)
    assert "with normals" not in (other / "converted.txt").read_text()
    assert HDF5Parts(other, "test").remarks == []


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ("0\n1\n1\n", r"a.seg parts of 1 or more, row 0 is \[500000.123, 4000000.456, 0.0\] and 0"),
        ("1\n1\n", r"a.pts must hold rows x y z and .*a.seg as many rows of one part, got \(3, 3\) and \(2, 1\)"),
        ("1\nx\n1\n", r"a.seg must hold rows of numbers one part: "),
    ],
)
def test_the_older_layout_is_refused_with_file_and_row(tmp_path: Path, parts: str, sentence: str) -> None:
    root = write_pairs(tmp_path / "text", cap=parts)
    with pytest.raises(ValueError, match=sentence):
        convert_part_text(root, tmp_path / "out")
    (root / "02" / "points_label" / "a.seg").unlink()
    with pytest.raises(FileNotFoundError, match=r"a.pts must have its parts in .*a.seg, which is missing"):
        convert_part_text(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
