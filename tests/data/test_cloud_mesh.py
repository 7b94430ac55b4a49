"""Meshes: headers of OFF, vertices without faces, and files that are cut short, which must not give a smaller mesh."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from pointcoc.data import read_cloud

pytest.importorskip("trimesh")

VERTICES = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n"
FACES = "3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"
SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
FACET = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
TRIANGLE = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes() + b"\0\0"


def write(path: Path, name: str, content: str | bytes) -> Path:
    (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path / name


def colored(vertices: str, end: str) -> str:
    return vertices.replace("\n", f" {end}\n")


@pytest.mark.parametrize(
    "content",
    [
        "OFF\n4 4 6\n" + VERTICES + FACES,
        "OFF4 4 6\n" + VERTICES + FACES,
        "OFF 4 4 6\n" + VERTICES + FACES,
        "off\n4 4\n" + VERTICES + FACES,
        "\ufeffOFF\n4 4 6\n" + VERTICES + FACES,
        "# by hand\nOFF # here\n\n4 4 6\n" + VERTICES + "# faces\n" + FACES,
        ("OFF\n4 4 6\n" + VERTICES + FACES).replace("\n", "\r\n"),
        "COFF\n4 4 6\n" + colored(VERTICES, "255 0 0 255") + FACES,
        "NOFF\n4 4 6\n" + colored(VERTICES, "0 0 1") + FACES,
        "CNOFF\n4 4 6\n" + colored(VERTICES, "0 0 1 255 0 0 255") + FACES,
        "OFF\n4 4 6\n" + VERTICES + colored(FACES, "255 0 0"),
    ],
)
def test_every_header_gives_the_same_points(tmp_path: Path, content: str) -> None:
    truth = read_cloud(write(tmp_path, "a.off", "OFF\n4 4 6\n" + VERTICES + FACES), num_points=100)
    found = read_cloud(write(tmp_path, "b.off", content), num_points=100)
    assert found.pos.tolist() == truth.pos.tolist()
    assert found.features["normal"].tolist() == truth.features["normal"].tolist()


def test_polygons_are_cut_into_triangles(tmp_path: Path) -> None:
    pos = read_cloud(write(tmp_path, "a.off", f"OFF\n4 1 0\n{SQUARE}4 0 1 2 3\n"), num_points=1000).pos
    assert pos[:, :2].mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.05)


def test_without_faces_the_vertices_are_read_with_their_colors(tmp_path: Path) -> None:
    remark = ("it has no faces; its vertices were read",)
    files = {
        "a.off": "COFF\n2 0 0\n1 2 3 255 0 0 255\n4 5 6 0 51 0 255\n",
        "a.obj": "# points\nv 1 2 3 1.0 0 0\nv 4 5 6 0 0.2 0\n",
    }
    for name, content in files.items():
        cloud = read_cloud(write(tmp_path, name, content))
        assert (cloud.pos.tolist(), cloud.remarks) == ([[1, 2, 3], [4, 5, 6]], remark)
        np.testing.assert_allclose(cloud.features["color"], [[1, 0, 0], [0, 0.2, 0]], rtol=1e-6)
    plain = read_cloud(write(tmp_path, "b.obj", "v 1 2 3\n"))
    assert (plain.pos.tolist(), list(plain.features)) == ([[1, 2, 3]], [])


def test_faces_that_are_not_finite_are_dropped(tmp_path: Path) -> None:
    content = f"OFF\n4 2 0\n{SQUARE.replace('1 1 0', 'nan 1 0')}3 0 1 2\n3 0 1 3\n"
    cloud = read_cloud(write(tmp_path, "a.off", content))
    assert cloud.remarks == ("1 of 2 faces are NaN or infinite and were dropped",)
    assert len(cloud) == 2048


BINARY_STL = b" " * 80 + struct.pack("<I", 2) + 2 * TRIANGLE


def test_binary_stl(tmp_path: Path) -> None:
    assert len(read_cloud(write(tmp_path, "a.stl", BINARY_STL), num_points=5)) == 5
    looks_like_text = b"solid".ljust(80) + BINARY_STL[80:]
    assert len(read_cloud(write(tmp_path, "b.stl", looks_like_text), num_points=5)) == 5


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.off", "4 4 6\n" + VERTICES + FACES, "it must begin with OFF, COFF or NOFF"),
        ("a.off", "", "it must begin with OFF, COFF or NOFF"),
        ("a.off", "OFF BINARY\n", "its header must give the numbers of vertices and faces, got 'BINARY'"),
        ("a.off", "OFF\n4 4 6\n0 0 0\n1 0", "it says 4 vertices and holds 2: the file is cut short"),
        ("a.off", "OFF\n4 4 6\n" + VERTICES + FACES[:16], "it says 4 faces and holds 2: the file is cut short"),
        (
            "a.off",
            "OFF\n4 4 6\n" + VERTICES + FACES[:-4],
            "face 4 must hold the number of its corners and these, got '3 1'",
        ),
        ("a.off", "OFF\n4 4 6\n" + VERTICES + FACES.replace("3\n", "9\n"), "face 2 names a corner that is not there"),
        (
            "a.off",
            "OFF\n4 4 6\n" + VERTICES.replace("0 1 0", "0 a 0") + FACES,
            "vertex 3 must hold 3 numbers, got '0 a 0'",
        ),
        ("a.obj", "", "it has no faces and no vertices"),
        ("a.obj", "v 0 0 0\nv 1 0", "line 2 must hold 3 numbers, got '1 0'"),
        ("a.stl", BINARY_STL[:-20], "it says 2 faces and holds 1: the file is cut short, or no STL"),
        ("a.stl", f"solid a\n{FACET}{FACET[:40]}", "it does not end with endsolid: the file is cut short"),
        ("a.stl", "solid a\nendsolid a\n", "it has no faces and no vertices"),
        ("a.stl", b"", "it must have a header of 84 bytes or begin with solid, and has 0"),
    ],
)
def test_what_cannot_be_understood(tmp_path: Path, name: str, content: str | bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"a\.\w+ cannot be read as a cloud: ") as error:
        read_cloud(write(tmp_path, name, content))
    assert sentence in str(error.value)
