"""Files of clouds: both line ends of a PLY header, and the bytes that are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pointcoc.checks import InputWarning
from pointcoc.data.cloud import Cloud
from pointcoc.data.cloud_files import Labeled, read_cloud, read_points, write_cloud, write_ply

laspy, plyfile = pytest.importorskip("laspy"), pytest.importorskip("plyfile")

ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]
PROPERTIES = "property float x\nproperty float y\nproperty float z\nend_header\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian"])
def test_headers_end_their_lines_either_way(tmp_path: Path, encoding: str, end: str) -> None:
    head = f"ply\nformat {encoding} 1.0\nelement vertex 2\n{PROPERTIES}".replace("\n", end)
    text = end.join(" ".join(map(str, row)) for row in ROWS).encode()
    path = tmp_path / "cloud.ply"
    path.write_bytes(head.encode() + (text if encoding == "ascii" else np.array(ROWS, "<f4").tobytes()))
    assert read_points(path).tolist() == ROWS


def test_written_rows_hold_position_color_and_class(tmp_path: Path) -> None:
    path = tmp_path / "cloud.ply"
    write_ply(path, Labeled(torch.tensor(ROWS, dtype=torch.float64), torch.tensor([0, 2])), num_classes=3)
    body = path.read_bytes().partition(b"end_header\n")[2]
    expected = [np.array(row, "<f8").tobytes() for row in ROWS]  # the colors are PASCAL VOC's 1 and 3
    assert body == expected[0] + bytes((128, 0, 0, 0, 0, 0, 0)) + expected[1] + bytes((128, 128, 0, 2, 0, 0, 0))


def source(path: Path, name: str, count: int = 6) -> Cloud:
    """A file with more fields than a network reads, as it is read; its third point is NaN in PLY."""
    pos = np.arange(3.0 * count).reshape(count, 3) + np.array([5e5, 4e6, 0])
    if name.endswith("ply"):
        table = np.zeros(count, [("x", "f8"), ("y", "f8"), ("z", "f8"), ("time", "f8"), ("quality", "i2")])
        table["x"], table["y"], table["z"] = pos.T
        table["time"], table["quality"] = np.arange(count) / 3, np.arange(count)
        face = np.array([([0, 1, 2],)], [("vertex_indices", "i4", (3,))])
        elements = [plyfile.PlyElement.describe(table, "vertex"), plyfile.PlyElement.describe(face, "face")]
        plyfile.PlyData(elements, comments=["by hand"]).write(str(path / name))
    else:
        header = laspy.LasHeader(point_format=1 if "old" in name else 7, version="1.2" if "old" in name else "1.4")
        header.scales, header.offsets = [0.01] * 3, [5e5, 4e6, 0]
        las = laspy.LasData(header)
        las.x, las.y, las.z = pos.T
        las.gps_time, las.point_source_id = np.arange(count) / 3, np.arange(count)
        las.write(path / name)
    return read_cloud(path / name)


@pytest.mark.parametrize("name", ["a.las", "a.laz", "old.las"])
def test_las_is_written_back_with_all_its_fields(tmp_path: Path, name: str) -> None:
    cloud, classes = source(tmp_path, name), torch.tensor([2, 0, 1, 2, 2, 0])
    scores = torch.linspace(0.5, 1, 6)
    written = write_cloud(tmp_path / "out", Labeled(cloud.pos, classes, scores, cloud), 3)
    assert written == tmp_path / f"out{Path(name).suffix}"
    las, before = laspy.read(written), laspy.read(tmp_path / name)
    assert np.asarray(las.classification).tolist() == classes.tolist()
    assert las.gps_time.tolist() == before.gps_time.tolist()
    assert las.point_source_id.tolist() == before.point_source_id.tolist()
    assert (las.header.point_format.id, las.header.scales.tolist()) == (
        before.header.point_format.id, before.header.scales.tolist(),
    )  # fmt: skip
    np.testing.assert_allclose(las["score"], scores)
    again = read_cloud(written)
    assert torch.equal(again.pos, cloud.pos)
    coded = write_cloud(tmp_path / "codes", Labeled(cloud.pos, classes, None, cloud), 3, codes=(2, 5, 6))
    assert np.asarray(laspy.read(coded).classification).tolist() == [6, 2, 5, 6, 6, 2]


def test_classes_too_large_for_the_point_format_get_a_dimension(tmp_path: Path) -> None:
    cloud, classes = source(tmp_path, "old.las"), torch.tensor([40, 0, 1, 2, 2, 0])
    written = write_cloud(tmp_path / "out", Labeled(cloud.pos, classes, None, cloud), 41)
    assert laspy.read(written)["label"].tolist() == classes.tolist()
    assert read_cloud(written).label.tolist() == classes.tolist()  # type: ignore[union-attr]


def test_labels_of_the_source_are_replaced(tmp_path: Path) -> None:
    source(tmp_path, "a.las")
    las = laspy.read(tmp_path / "a.las")
    las.add_extra_dim(laspy.ExtraBytesParams(name="label", type=np.uint8))
    las.add_extra_dim(laspy.ExtraBytesParams(name="height", type=np.float64))
    las["label"], las["height"] = np.full(6, 7), np.arange(6) / 4
    las.write(tmp_path / "b.las")
    cloud, classes = read_cloud(tmp_path / "b.las"), torch.tensor([2, 0, 1, 2, 2, 300])
    for chosen in (classes, classes % 3):
        written = write_cloud(tmp_path / "out", Labeled(cloud.pos, chosen, None, cloud), 301)
        assert read_cloud(written).label.tolist() == chosen.tolist()  # type: ignore[union-attr]
        assert laspy.read(written)["height"].tolist() == (np.arange(6) / 4).tolist()


def test_ply_is_written_back_with_all_its_properties(tmp_path: Path) -> None:
    cloud, classes = source(tmp_path, "a.ply"), torch.tensor([2, 0, 1, 2, 2, 0])
    written = write_cloud(tmp_path / "out", Labeled(cloud.pos, classes, torch.ones(6), cloud), 3)
    stored = plyfile.PlyData.read(str(written))
    vertex = stored["vertex"]
    assert vertex["label"].tolist() == classes.tolist()
    assert vertex["time"].tolist() == (np.arange(6) / 3).tolist()
    assert vertex["quality"].dtype == np.int16
    assert vertex["score"].tolist() == [1.0] * 6
    assert vertex["red"].tolist()[:2] == [128, 128]  # colors of the classes, as the file had none
    assert stored.comments == ["by hand"]
    assert [face.tolist() for face in stored["face"]["vertex_indices"]] == [[0, 1, 2]]


def test_points_that_were_dropped_are_not_written(tmp_path: Path) -> None:
    source(tmp_path, "a.ply")
    stored = plyfile.PlyData.read(str(tmp_path / "a.ply"), mmap=False)
    stored["vertex"].data["x"][2] = np.nan
    stored.write(str(tmp_path / "b.ply"))
    cloud = read_cloud(tmp_path / "b.ply")
    with pytest.warns(InputWarning, match="since points were dropped: face"):
        written = write_cloud(tmp_path / "out", Labeled(cloud.pos, torch.arange(5), None, cloud), 5)
    again = plyfile.PlyData.read(str(written))
    assert again["vertex"]["quality"].tolist() == [0, 1, 3, 4, 5]
    assert [element.name for element in again.elements] == ["vertex"]  # its faces would name other points


def test_other_formats_become_ply(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    cloud = read_cloud(tmp_path / "a.npy")
    written = write_cloud(tmp_path / "out", Labeled(cloud.pos, torch.tensor([1, 0]), torch.tensor([0.5, 1]), cloud), 2)
    assert written.name == "out.ply"
    vertex = plyfile.PlyData.read(str(written))["vertex"]
    assert (vertex["label"].tolist(), vertex["score"].tolist()) == ([1, 0], [0.5, 1.0])
    assert read_cloud(written).pos.tolist() == ROWS
