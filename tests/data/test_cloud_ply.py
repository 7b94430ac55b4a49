"""PLY files in every form that programs write them, read without a package where they are plain."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pointcoc.checks import InputWarning
from pointcoc.data import read_cloud, write_cloud
from pointcoc.data.cloud_files import Labeled

XYZ = "".join(f"property float {axis}\n" for axis in "xyz")
RGB = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
FACES = "element face 2\nproperty list uchar int vertex_indices\n"
ROWS = np.array([[0, 0, 0], [1, 0, 0.5], [0, 1, 0.25]])
TEXT = "0 0 0\n1 0 0.5\n0 1 0.25\n"


def header(encoding: str = "ascii", vertex: str = XYZ, before: str = "", after: str = "", count: object = 3) -> str:
    return f"ply\nformat {encoding} 1.0\n{before}element vertex {count}\n{vertex}{after}end_header\n"


def write(path: Path, content: str | bytes) -> Path:
    (path / "a.ply").write_bytes(content.encode("latin-1") if isinstance(content, str) else content)
    return path / "a.ply"


def triangles(order: str, lengths: tuple[int, ...] = (3, 3)) -> bytes:
    return b"".join(np.array(n, "u1").tobytes() + np.arange(n, dtype=order + "i4").tobytes() for n in lengths)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_plain_files_need_no_package(tmp_path: Path, encoding: str, end: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "plyfile", None)
    order = ">" if "big" in encoding else "<"
    body = TEXT.replace("\n", end).encode() if encoding == "ascii" else ROWS.astype(order + "f4").tobytes()
    head = header(encoding, before="comment of H\xf6he\nobj_info none\n").replace("\n", end).encode("latin-1")
    cloud = read_cloud(write(tmp_path, head + body))
    assert torch.equal(cloud.pos, torch.from_numpy(ROWS))
    assert cloud.remarks == ()


def test_a_binary_body_that_begins_with_a_line_end_is_read_whole(tmp_path: Path) -> None:
    rows = np.array([[10, 0, 0]], "<i4")  # its first byte is a line feed
    vertex = XYZ.replace("float", "int")
    for end in ("\r", "\n"):
        head = header("binary_little_endian", vertex, count=1).replace("\n", end).encode()
        assert read_cloud(write(tmp_path, head + rows.tobytes())).pos.tolist() == [[10, 0, 0]]


def test_text_keeps_digits_that_float_lacks(tmp_path: Path) -> None:
    file = write(tmp_path, header(count=1) + "500000.123 4000000.456 100.5\n")
    assert read_cloud(file).pos.tolist() == [[500000.123, 4000000.456, 100.5]]
    pytest.importorskip("plyfile")
    cloud = read_cloud(file)
    written = write_cloud(tmp_path / "out", Labeled(cloud.pos, torch.tensor([0]), None, cloud), 1)
    assert torch.equal(read_cloud(written).pos, cloud.pos)


@pytest.mark.parametrize("lengths", [(3, 3), (3, 4)])
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_lists_lie_on_either_side(tmp_path: Path, encoding: str, where: str, lengths: tuple[int, ...]) -> None:
    pytest.importorskip("plyfile")
    order = ">" if "big" in encoding else "<"
    if encoding == "ascii":
        parts = [TEXT.encode(), "".join(f"{n} {' '.join(map(str, range(n)))}\n" for n in lengths).encode()]
    else:
        parts = [ROWS.astype(order + "f4").tobytes(), triangles(order, lengths)]
    head = header(encoding, **{where: FACES})
    cloud = read_cloud(write(tmp_path, head.encode() + b"".join(parts[::-1] if where == "before" else parts)))
    assert torch.equal(cloud.pos, torch.from_numpy(ROWS))


def test_lists_of_binary_files_need_the_package(tmp_path: Path, monkeypatch) -> None:
    file = write(tmp_path, header("binary_little_endian", after=FACES).encode() + b"\0" * 99)
    monkeypatch.setitem(sys.modules, "plyfile", None)
    with pytest.raises(ImportError, match=r"PLY files with lists need plyfile; .* 'pointcoc\[clouds\]'"):
        read_cloud(file)


def test_of_two_names_of_a_color_the_plain_one_counts(tmp_path: Path) -> None:
    vertex = XYZ + "property float r\n" + RGB
    file = write(tmp_path, header(vertex=vertex, count=1) + "1 2 3 77 255 0 51\n")
    assert read_cloud(file).features["color"].tolist() == [[1, 0, pytest.approx(0.2)]]


BINARY = header("binary_little_endian").encode() + ROWS.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (header() + "0 0 0\n1 0\n0 1 0\n", "row 2 must hold 3 numbers, got 2: '1 0'"),
        (header() + "0 0 0\n1 0 0 0\n0 1 0\n", "row 2 must hold 3 numbers, got 4: '1 0 0 0'"),
        (header() + "0 0 0\n1 0 hi\n0 1 0\n", "row 2 must hold numbers, got '1 0 hi'"),
        (header() + TEXT.replace(".", ","), "row 2 has a decimal comma: '1 0 0,5'; say so by --decimal ,"),
        (
            header(count=10**12) + TEXT,
            "it says 1,000,000,000,000 points and holds 3: the file is cut short after row 3",
        ),
        (header(after=FACES) + TEXT + "3 0 1 2\n", "it says 5 rows of all elements and holds 4: the file is cut short"),
        (BINARY[:-5], "it says 3 points and holds 2: the file is cut short after row 2"),
        (
            header("binary_little_endian", after="element extra 9\nproperty int a\n").encode() + BINARY[-36:],
            "9 rows of ex",
        ),
        (header(count=-3), "line 3 of its header cannot be understood: 'element vertex -3'"),
        (header(vertex=XYZ.replace("float", "real")), "line 4 of its header cannot be understood: 'property real x'"),
        (header(vertex=XYZ + "property float x\n") + "1 2 3 4\n" * 3, "it holds the column x twice"),
        (header(before="element vertex 1\n" + XYZ), "it has vertices twice"),
        (header().removesuffix("end_header\n"), "does not end with end_header; is the file cut short?"),
        (
            header(vertex=XYZ + RGB, count=1) + "1 2 3 0 0 300\n",
            "row 1 holds 300 as blue, whose type goes from 0 to 255",
        ),
    ],
)
def test_what_cannot_be_understood(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"a\.ply cannot be read as a cloud: ") as error:
        read_cloud(write(tmp_path, content))
    assert sentence in str(error.value)


def test_what_lies_behind_is_left_out_aloud(tmp_path: Path) -> None:
    cloud = read_cloud(write(tmp_path, header() + TEXT + TEXT))
    assert cloud.remarks == ("it says 3 rows and holds 6; the further ones were left out",)
    assert read_cloud(write(tmp_path, BINARY + b"1234")).remarks == (
        "it holds 4 bytes more than its header says, which were left out",
    )


def test_blank_lines_and_decimal_commas(tmp_path: Path) -> None:
    assert len(read_cloud(write(tmp_path, header() + "\n" + TEXT.replace("\n", "\n\n")))) == 3
    cloud = read_cloud(write(tmp_path, header() + TEXT.replace(".", ",")), decimal=",")
    assert torch.equal(cloud.pos, torch.from_numpy(ROWS))


def test_one_point_and_none(tmp_path: Path) -> None:
    for encoding, body in (("ascii", b"1 2 3"), ("binary_big_endian", np.array([1, 2, 3], ">f4").tobytes())):
        assert read_cloud(write(tmp_path, header(encoding, count=1).encode() + body)).pos.tolist() == [[1, 2, 3]]
        with pytest.raises(ValueError, match="it has 0 points; give at least one"):
            read_cloud(write(tmp_path, header(encoding, count=0)))


def test_fields_that_cannot_be_written_back_are_said(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("plyfile")
    cloud = read_cloud(write(tmp_path, header(before="comment H\xf6he\n") + TEXT))
    found = Labeled(cloud.pos, torch.tensor([1, 0, 1]), None, cloud)
    with pytest.warns(InputWarning, match=r"a\.ply: its further fields were left out of .*out\.ply"):
        written = write_cloud(tmp_path / "out", found, 2)
    assert read_cloud(written).label.tolist() == [1, 0, 1]  # type: ignore[union-attr]
    monkeypatch.setitem(sys.modules, "plyfile", None)
    with pytest.warns(InputWarning, match=r"they need plyfile; install it with: pip install 'pointcoc\[clouds\]'"):
        assert read_cloud(write_cloud(tmp_path / "out", found, 2)).label is not None


def test_elements_that_are_not_written_are_said(tmp_path: Path) -> None:
    pytest.importorskip("plyfile")
    file = write(tmp_path, header(after=FACES) + TEXT.replace("0.5", "nan") + "3 0 1 2\n3 0 1 2\n")
    cloud = read_cloud(file)
    with pytest.warns(InputWarning, match=r"a\.ply: left out of .*out\.ply, since points were dropped: face"):
        written = write_cloud(tmp_path / "out", Labeled(cloud.pos, torch.tensor([1, 0]), None, cloud), 2)
    assert len(read_cloud(written)) == 2
