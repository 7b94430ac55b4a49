"""HDF5Clouds: the ModelNet40 layout in its variants, and each way a file can be wrong."""

import h5py
import numpy as np
import pytest
import torch
from damage import write_damaged
from torch_geometric.transforms import FixedPoints, NormalizeScale

from pointcoc.data import HDF5Clouds, collate_sets

NAMES = ("chair", "lamp", "sofa")


def write_file(path, data=None, label=None, **more):
    data = np.random.default_rng(0).random((4, 16, 3)).astype(np.float32) if data is None else data
    label = np.array([[2], [0], [1], [2]], np.uint8) if label is None else label
    with h5py.File(path, "w") as file:
        for name, value in {"data": data, "label": label, **more}.items():
            if value is not False:
                file[name] = value
    return data


def write_folder(folder, **datasets):
    folder.mkdir(exist_ok=True)
    (folder / "shape_names.txt").write_text("\n".join(NAMES) + "\n\n")
    (folder / "train_files.txt").write_text("data/modelnet40_ply_hdf5_2048/ply_data_train0.h5\n")
    return write_file(folder / "ply_data_train0.h5", **datasets)


def test_items(tmp_path):
    data = write_folder(tmp_path)
    clouds = HDF5Clouds(tmp_path, "train", num_points=16)
    assert len(clouds) == 4 and clouds.classes == NAMES
    assert clouds.labels.dtype == torch.int64 and clouds.labels.tolist() == [2, 0, 1, 2]
    assert clouds[1].pos.dtype == torch.float32 and np.array_equal(clouds[1].pos, data[1])
    assert clouds[1].y.tolist() == [0] and clouds[-1].y.tolist() == [2]
    assert sum(1 for _ in clouds) == 4


def test_items_are_views(tmp_path):
    write_folder(tmp_path)
    clouds = HDF5Clouds(tmp_path, num_points=16)
    assert clouds[2].pos.data_ptr() == clouds.points[2].data_ptr()


def test_first_points_are_taken(tmp_path):
    data = write_folder(tmp_path)
    assert np.array_equal(HDF5Clouds(tmp_path, num_points=5).points, data[:, :5])
    assert np.array_equal(HDF5Clouds(tmp_path, num_points=None).points, data)


def test_transform_leaves_the_stored_cloud_alone(tmp_path):
    write_folder(tmp_path)
    clouds = HDF5Clouds(tmp_path, num_points=16, transform=NormalizeScale())
    before = clouds.points.clone()
    assert (clouds[0].pos.abs().max() - 1).abs() < 1e-4
    assert clouds.points.equal(before)
    clouds.transform = FixedPoints(7, replace=False)
    assert clouds[0].pos.shape == (7, 3)


def test_files_follow_the_order_of_the_list(tmp_path):
    write_folder(tmp_path)
    write_file(tmp_path / "b.h5", data=np.ones((1, 16, 3)), label=np.array([1]))
    (tmp_path / "train_files.txt").write_text("b.h5\n\nsome/where/ply_data_train0.h5\n")
    assert HDF5Clouds(tmp_path, num_points=16).labels.tolist() == [1, 2, 0, 1, 2]


def test_without_a_list_files_are_found_by_name_and_number(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train_files.txt").unlink()
    for number, label in ((2, 0), (10, 1)):
        write_file(tmp_path / f"ply_data_train{number}.h5", data=np.zeros((1, 16, 3)), label=np.array([label]))
    write_file(tmp_path / "ply_data_test0.h5", label=np.array([0, 0, 0, 1]))
    assert HDF5Clouds(tmp_path, num_points=16).labels.tolist() == [2, 0, 1, 2, 0, 1]
    assert HDF5Clouds(tmp_path, "test", num_points=16).labels.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float64, torch.float64),
        (np.int32, torch.float64),
        (np.float32, torch.float32),
        (np.float16, torch.float32),
        (np.uint8, torch.float32),
        (">f8", torch.float64),
    ],
)
def test_positions_have_a_type_that_holds_them(tmp_path, dtype, expected):
    write_folder(tmp_path, data=np.arange(192).reshape(4, 16, 3).astype(dtype), label=np.zeros(4, np.int64))
    clouds = HDF5Clouds(tmp_path, num_points=16)
    assert clouds.points.dtype == clouds[0].pos.dtype == expected and clouds.points[0, 1, 2] == 5


def test_an_offset_of_millions_costs_no_digits(tmp_path):
    data = np.random.default_rng(0).random((4, 16, 3)) + np.array([5e5, 4e6, 100])
    write_folder(tmp_path, data=data)
    assert np.array_equal(HDF5Clouds(tmp_path, num_points=16)[3].pos, data[3])


COLORS = np.random.default_rng(1).integers(0, 256, (4, 16, 3)).astype(np.uint8)
NORMALS = np.random.default_rng(2).normal(size=(4, 16, 3)).astype(np.float32)
NORMALS /= np.linalg.norm(NORMALS, axis=-1, keepdims=True)


def test_further_columns_are_read_on_request(tmp_path):
    position = np.random.default_rng(0).random((4, 16, 3))
    write_folder(tmp_path, data=np.concatenate([position, NORMALS], axis=2))
    plain = HDF5Clouds(tmp_path, num_points=8)
    assert plain.points.shape == (4, 8, 3) and plain[0].to_dict().keys() == {"pos", "y"}
    assert "data of " in plain.remarks[0] and "has 3 further columns, which are not read" in plain.remarks[0]
    clouds = HDF5Clouds(tmp_path, num_points=8, features=("position", "normal", "height"))
    assert np.allclose(clouds[2].normal, NORMALS[2, :8]) and np.array_equal(clouds[2].pos, position[2, :8])
    assert clouds[2].normal.dtype == torch.float32 and clouds.remarks == []
    with pytest.raises(
        ValueError, match=r"color in data of .*train0.h5 must be colors: they must be 0 to 1, .*; are they normals\?"
    ):
        HDF5Clouds(tmp_path, num_points=8, features=("color",))


def test_features_have_datasets_of_their_own(tmp_path):
    strength = np.arange(64, dtype=np.uint16).reshape(4, 16)
    write_folder(tmp_path, normal=NORMALS, color=COLORS, intensity=strength)
    clouds = HDF5Clouds(tmp_path, num_points=5, features=("color", "intensity"))
    assert np.allclose(clouds[1].color, COLORS[1, :5] / 255) and "holds normal, which is not read" in clouds.remarks[0]
    assert np.allclose(clouds[1].intensity, strength[1, :5, None] / 65535)


@pytest.mark.parametrize(
    ("stored", "top"), [(COLORS, 255), (COLORS.astype(np.uint16) * 257, 65535), (COLORS / 255, 1), (COLORS * 1.0, 255)]
)
def test_colors_follow_the_type_of_the_file(tmp_path, stored, top):
    write_folder(tmp_path, color=stored)
    assert np.allclose(HDF5Clouds(tmp_path, num_points=16, features=("color",))[3].color, stored[3] / top)


def test_columns_name_what_no_file_tells(tmp_path):
    position = np.random.default_rng(0).random((4, 16, 3))
    write_folder(tmp_path, data=np.concatenate([position, COLORS, NORMALS], axis=2))
    asked = {"num_points": 16, "features": ("normal", "color")}
    columns = ("x", "y", "z", "r", "g", "b", "nx", "ny", "nz")
    cloud = HDF5Clouds(tmp_path, **asked, columns=columns)[0]
    assert np.allclose(cloud.color, COLORS[0] / 255) and np.allclose(cloud.normal, NORMALS[0])
    for wrong, message in (
        (None, r"must hold normal \(3\) and color \(3\) .*; data has 6 further columns; name all of them by columns"),
        (columns[:6], r"must name the 9 columns of data of .*train0.h5, x y z first"),
        ((*columns[:6], "_", "_", "_"), "has no normal among its columns x y z r g b _ _ _"),
        ((*columns[:6], "nx", "ny", "_"), "must name 3 columns of normal"),
        ((*columns[:6], "a", "b", "c"), "unknown column 'a'; choose from x, y, z, red"),
    ):
        with pytest.raises(ValueError, match=message):
            HDF5Clouds(tmp_path, **asked, columns=wrong)


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        (
            {},
            r"must hold normal \(3\) as datasets of this name, .*; data has 0 further columns, and the file holds",
        ),
        ({"normal": NORMALS[:, :4]}, r"normal of .* must be numbers of shape \(4, 16, 3\).*got shape \(4, 4, 3\)"),
        ({"normal": NORMALS * 3}, r"must be normals of length 1, got the coordinate .*; are they colors\?"),
        ({"normal": np.where(np.arange(4)[:, None, None] == 2, np.nan, NORMALS)}, "normal of .* must be finite; row 2"),
    ],
)
def test_features_that_are_refused(tmp_path, datasets, message):
    write_folder(tmp_path, **datasets)
    with pytest.raises(ValueError, match=message):
        HDF5Clouds(tmp_path, num_points=16, features=("normal",))


def test_a_row_whose_feature_is_not_finite_can_be_left_out(tmp_path):
    write_folder(tmp_path, normal=np.where(np.arange(4)[:, None, None] == 2, np.nan, NORMALS))
    clouds = HDF5Clouds(tmp_path, num_points=16, features=("normal",), max_bad=1)
    assert len(clouds) == 3 and clouds.left_out == [f"{tmp_path / 'ply_data_train0.h5'} row 2: normal out of range"]
    assert clouds.counts.tolist() == [16, 16, 16]


def test_batch(tmp_path):
    write_folder(tmp_path)
    clouds = HDF5Clouds(tmp_path, num_points=16)
    points, labels = collate_sets([clouds[number] for number in (3, 1)])
    assert points.validate().counts.tolist() == [16, 16] and labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"data": False}, r"ply_data_train0.h5 must hold the datasets data .*; data is missing, it holds label"),
        ({"label": False}, r"ply_data_train0.h5 must hold .*; label is missing, it holds data"),
        ({"data": False, "label": False}, "data is missing, it holds nothing"),
        (
            {"data": np.zeros((4, 16, 2))},
            r"data of .*train0.h5 must be numbers of shape \(N, P, 3\).* got shape \(4, 16, 2\)",
        ),
        ({"data": np.zeros((4, 3))}, r"got shape \(4, 3\) of float64"),
        ({"data": np.zeros((0, 16, 3))}, r"N, P > 0, got shape \(0, 16, 3\)"),
        ({"data": np.zeros((4, 16, 3), "S1")}, r"must be numbers .* of \|S1"),
        (
            {"label": np.zeros(3, int)},
            r"label of .*train0.h5 must be integers of shape \(4, 1\) or \(4,\).*got shape \(3,\)",
        ),
        ({"label": np.zeros((4, 2), int)}, r"got shape \(4, 2\)"),
        ({"label": np.zeros(4)}, r"must be integers .* of float64"),
        (
            {"label": np.array([0, 2, 3, 4])},
            r"label of .*train0.h5 must be in \[0, 2\], the 3 classes .* row 2 holds 3 \(2 such",
        ),
        ({"label": np.array([0, 2, 1, -1])}, "row 3 holds -1"),
    ],
)
def test_wrong_datasets(tmp_path, datasets, message):
    write_folder(tmp_path, **datasets)
    with pytest.raises(ValueError, match=message):
        HDF5Clouds(tmp_path, num_points=16)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_coordinates_that_are_not_finite(tmp_path, value):
    data = np.zeros((4, 16, 3))
    data[2, 3, 1] = value
    write_folder(tmp_path, data=data)
    with pytest.raises(ValueError, match=r"data of .*train0.h5 must be finite; row 2 holds NaN or infinite .*\(1 such"):
        HDF5Clouds(tmp_path, num_points=16)


def test_a_group_in_the_place_of_data(tmp_path):
    write_folder(tmp_path, data=False)
    with h5py.File(tmp_path / "ply_data_train0.h5", "a") as file:
        file.create_group("data")
    with pytest.raises(ValueError, match="data is missing"):
        HDF5Clouds(tmp_path, num_points=16)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.99])
def test_truncated_file(tmp_path, share):
    write_folder(tmp_path, data=np.random.default_rng(0).random((4, 512, 3)))
    path = tmp_path / "ply_data_train0.h5"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"train0.h5 cannot be read as an HDF5 file; copy or download it again"):
        HDF5Clouds(tmp_path, num_points=16)


def test_more_points_than_stored(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(ValueError, match=r"num_points must be in \[1, 16\], the points stored .*train0.h5, got 1024"):
        HDF5Clouds(tmp_path)


def test_files_that_store_different_numbers(tmp_path):
    write_folder(tmp_path)
    write_file(tmp_path / "b.h5", data=np.zeros((4, 9, 3)))
    (tmp_path / "train_files.txt").write_text("ply_data_train0.h5\nb.h5\n")
    assert HDF5Clouds(tmp_path, num_points=9).points.shape == (8, 9, 3)
    with pytest.raises(ValueError, match=r"num_points must be given where files differ: .*16 points .*b.h5 9"):
        HDF5Clouds(tmp_path, num_points=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("val",), "unknown split 'val'; choose from train, test"),
        (("train", 0), "num_points must be an integer of at least 1, got 0"),
        (("train", 5.0), "num_points must be an integer of at least 1, got 5.0"),
        (("train", True), "num_points must be an integer"),
    ],
)
def test_argument_errors(tmp_path, arguments, message):
    write_folder(tmp_path)
    with pytest.raises(ValueError, match=message):
        HDF5Clouds(tmp_path, *arguments)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder must be an existing folder, but nothing lies at .*nowhere"):
        HDF5Clouds(tmp_path / "nowhere")


def test_missing_names(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "shape_names.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold shape_names.txt: names of the classes, one a line"):
        HDF5Clouds(tmp_path)


def test_neither_list_nor_files(tmp_path):
    write_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"must hold test_files.txt or ply_data_test\*.h5, and holds neither"):
        HDF5Clouds(tmp_path, "test")


@pytest.mark.parametrize("name", ["shape_names.txt", "train_files.txt"])
def test_empty_text_file(tmp_path, name):
    write_folder(tmp_path)
    (tmp_path / name).write_text("\n \n")
    with pytest.raises(ValueError, match=f"{name} must hold the names of .*, one a line, and is empty"):
        HDF5Clouds(tmp_path)


def test_list_that_names_a_missing_file(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train_files.txt").write_text("ply_data_train0.h5\nfar/ply_data_train1.h5\n")
    with pytest.raises(FileNotFoundError, match=r"train_files.txt names ply_data_train1.h5, which is missing in"):
        HDF5Clouds(tmp_path)


def test_list_that_names_a_file_twice(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "train_files.txt").write_text("a/ply_data_train0.h5\nb/ply_data_train0.h5\n")
    with pytest.raises(ValueError, match=r"must name each file once, and names ply_data_train0.h5 2 times"):
        HDF5Clouds(tmp_path)


def test_rows_up_to_max_bad_are_left_out_and_named(tmp_path):
    (tmp_path / "shape_names.txt").write_text("cube\nball\n")
    data = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    data[1, 2, 0] = np.nan
    path = tmp_path / "ply_data_train0.h5"
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = data, np.array([0, 1, 1, 9, 0])
    clouds = HDF5Clouds(tmp_path, "train", None, max_bad=2)
    assert clouds.left_out == [f"{path} row 1: coordinates out of range", f"{path} row 3: label out of range"]
    assert clouds.labels.tolist() == [0, 1, 0]
    assert torch.equal(clouds.points, torch.from_numpy(data[[0, 2, 4]]))
    assert [clouds.source(index) for index in range(3)] == [f"{path} row {row}" for row in (0, 2, 4)]
    with pytest.raises(ValueError, match=r"must be finite; row 1 holds NaN .*1 such rows"):
        HDF5Clouds(tmp_path, "train", None, max_bad=1)
    with pytest.raises(ValueError, match="max_bad"):
        HDF5Clouds(tmp_path, "train", None, max_bad=-1)


def test_rows_that_cannot_be_read_are_named_and_left_out(tmp_path):
    (tmp_path / "shape_names.txt").write_text("cube\nball\n")
    data = np.random.default_rng(0).normal(size=(5, 40, 3)).astype(np.float32)
    path = tmp_path / "ply_data_train0.h5"
    write_damaged(path, data, np.array([0, 1, 1, 0, 1]), rows=(1, 4))
    clouds = HDF5Clouds(tmp_path, "train", 30, max_bad=2)
    assert [sentence.partition(" (")[0] for sentence in clouds.left_out] == [
        f"{path} row {row}: Can't synchronously read data" for row in (1, 4)
    ]
    assert torch.equal(clouds.points, torch.from_numpy(data[[0, 2, 3], :30]))
    assert [clouds.source(index) for index in range(3)] == [f"{path} row {row}" for row in (0, 2, 3)]
    message = rf"data of {path} cannot be read in row 1 \(.* data \(.*\); 2 such rows\); copy or download it again"
    with pytest.raises(ValueError, match=message):
        HDF5Clouds(tmp_path, "train", 30, max_bad=1)


def test_a_file_without_a_row_that_can_be_read(tmp_path):
    (tmp_path / "shape_names.txt").write_text("cube\n")
    data = np.random.default_rng(0).normal(size=(2, 40, 3)).astype(np.float32)
    write_damaged(tmp_path / "ply_data_train0.h5", data, np.zeros(2, int), rows=(0, 1))
    with pytest.raises(ValueError, match=r"ply_data_train0.h5 cannot be read as an HDF5 file; copy or"):
        HDF5Clouds(tmp_path, "train", max_bad=9, num_points=8)
