"""Arrays in files: names and shapes that fit, those that do not, and files that are damaged."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from pointcoc.data import read_cloud

RNG = np.random.default_rng(0)
POS, RGB = RNG.normal(size=(50, 3)), RNG.integers(0, 256, (50, 3)).astype("u1")


@pytest.mark.parametrize("shape", [(3, 13), (3, 50), (3, 500), (6, 64), (7, 5000)])
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_one_column_a_point_is_refused(tmp_path: Path, ending: str, shape: tuple[int, int]) -> None:
    file = tmp_path / f"a{ending}"
    np.save(file, np.ones(shape)) if ending == ".npy" else np.savez(file, points=np.ones(shape))
    with pytest.raises(ValueError, match=rf"got \({shape[0]}, {shape[1]}\): transposed, one column a point"):
        read_cloud(file)


def test_few_points_of_many_columns_are_read_where_all_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(39.0).reshape(3, 13))
    cloud = read_cloud(tmp_path / "a.npy", columns=["x", "y", "z", *("_" * 10)])
    assert cloud.pos.tolist() == [[0, 1, 2], [13, 14, 15], [26, 27, 28]]


def test_arrays_that_do_not_fit_the_points_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=POS, colors=RGB.T, labels=np.arange(49), category=np.array([3]))
    cloud = read_cloud(tmp_path / "a.npz")
    assert list(cloud.features) == []
    assert cloud.label is None
    assert cloud.remarks == (
        "colors left out, since it must hold one row for each of 50 points, got (3, 50)",
        "labels left out, since it must hold one row for each of 50 points, got (49,)",
    )


def test_python_objects_beside_the_points_are_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=POS, note=np.array({"a": 1}, object))
    cloud = read_cloud(tmp_path / "a.npz")
    assert (len(cloud), cloud.remarks) == (50, ("note left out, since it holds Python objects",))


def test_names_of_arrays_and_fields(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=POS[:, 0], y=POS[:, 1], z=POS[:, 2], intensity=POS[:, 0])
    np.savez(tmp_path / "b.npz", points=POS, colors=np.column_stack([RGB, RGB[:, 0]]))  # with an alpha
    table = np.empty((5, 10), [("xyz", "f8", 3), ("rgb", "u1", 3), ("name", "U3")])  # an organized cloud
    table["xyz"], table["rgb"] = POS.reshape(5, 10, 3), RGB.reshape(5, 10, 3)
    np.save(tmp_path / "c.npy", table)
    for name, features in {"a.npz": ["intensity"], "b.npz": ["color"], "c.npy": ["color"]}.items():
        cloud = read_cloud(tmp_path / name)
        assert list(cloud.features) == features
        np.testing.assert_array_equal(cloud.pos, POS)
        if features == ["color"]:
            np.testing.assert_allclose(cloud.features["color"], RGB / 255, rtol=1e-6)


def test_other_datasets_say_more_of_the_points(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["color"] = np.stack([POS, 2 * POS]), np.stack([RGB, RGB])
        file["label"], file["pid"] = np.array([[4], [5]]), np.zeros((2, 50))
        file.create_group("more")
    cloud = read_cloud(tmp_path / "a.h5")
    np.testing.assert_array_equal(cloud.pos, POS)
    np.testing.assert_allclose(cloud.features["color"], RGB / 255, rtol=1e-6)
    assert cloud.label is None  # it is the class of the cloud
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["data"], file["label"] = POS, np.arange(50)
    assert read_cloud(tmp_path / "b.h5").label.tolist() == list(range(50))  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [(), (3,), (0, 9, 3), (2, 0, 3), (2, 2, 9, 3)])
def test_shapes_of_hdf5_that_are_no_cloud(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros(shape)
    with pytest.raises(ValueError, match=r"its data must be \(clouds, points, 3\) or \(points, 3\), got \("):
        read_cloud(tmp_path / "a.h5")


def test_a_group_is_no_dataset(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/points"] = POS
    with pytest.raises(ValueError, match="it must hold the dataset data"):
        read_cloud(tmp_path / "a.h5")


def whole(path: Path, ending: str) -> bytes:
    file = path / f"whole{ending}"
    if ending == ".h5":
        with h5py.File(file, "w") as stored:
            stored["data"] = POS
    else:
        np.save(file, POS) if ending == ".npy" else np.savez(file, points=POS)
    return file.read_bytes()


@pytest.mark.parametrize("ending", [".npy", ".npz", ".h5"])
def test_files_that_are_cut_short_or_of_another_kind(tmp_path: Path, ending: str) -> None:
    file, content = tmp_path / f"a{ending}", whole(tmp_path, ending)
    for damaged in (content[:-20], content[: len(content) // 2], content[:20], b"hello", b""):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"a\{ending} cannot be read as a cloud: .") as error:
            read_cloud(file)
        assert "allow_pickle" not in str(error.value)


def test_a_damaged_header_of_numpy_is_a_sentence(tmp_path: Path) -> None:
    content = whole(tmp_path, ".npy").replace(b"}", b"{")
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy cannot be read as a cloud: "):
        read_cloud(tmp_path / "a.npy")


def test_endings_that_are_mixed_up(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(whole(tmp_path, ".npz"))
    (tmp_path / "a.npz").write_bytes(whole(tmp_path, ".npy"))
    with pytest.raises(ValueError, match=r"it is an archive of arrays, which must end with \.npz"):
        read_cloud(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"it is one array, which must end with \.npy"):
        read_cloud(tmp_path / "a.npz")


def test_raw_floats(tmp_path: Path) -> None:
    rows = np.column_stack([POS, np.full(50, 0.5), np.arange(50)]).astype("<f4")
    rows[:48].tofile(tmp_path / "a.pcd.bin")  # nuScenes; four columns would fit its size too
    cloud = read_cloud(tmp_path / "a.pcd.bin")
    assert (len(cloud), cloud.features["intensity"].unique().tolist()) == (48, [0.5])
    np.column_stack([POS, -np.ones(50)]).astype("<f4").tofile(tmp_path / "b.bin")
    assert "column 4 was read as the intensity and is below 0" in read_cloud(tmp_path / "b.bin").remarks[0]
    (tmp_path / "c.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="it has 0 points; give at least one"):
        read_cloud(tmp_path / "c.bin")
    rows[:1, :4].tofile(tmp_path / "d.bin")
    assert len(read_cloud(tmp_path / "d.bin")) == 1
    (tmp_path / "e.bin").write_bytes(RNG.bytes(16 * 500))  # NaN of all kinds
    assert len(read_cloud(tmp_path / "e.bin")) <= 500
