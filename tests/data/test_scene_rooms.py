"""Rooms of every layout hold the same points; known defects are repaired with a line, others are errors of a row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from pointcoc.data import IGNORE, SceneFolder

CLASSES = ("board", "chair", "floor")
OFFSET = (500_000.0, 4_000_000.0, 100.0)
random = np.random.default_rng(0)
POS = np.round(random.uniform(0, 9, (60, 3)), 3) + OFFSET
COLOR = random.integers(2, 256, (60, 3))
LABEL = np.sort(random.integers(0, 3, 60))  # objects come one after the other
NORMAL = np.tile([[0.0, 0.6, 0.8]], (60, 1))


def rows(*columns: np.ndarray, mark: str = " ") -> str:
    table = np.column_stack(columns).astype(object)
    return "".join(mark.join(f"{value:.10g}" for value in row) + "\n" for row in table)


def write_objects(area: Path, color: np.ndarray = COLOR) -> None:
    folder = area / "room" / "Annotations"
    folder.mkdir(parents=True)
    for number, name in enumerate(CLASSES):
        of_class = np.flatnonzero(number == LABEL)
        parts = np.array_split(of_class, 2)
        for place, part in enumerate(parts if number == 0 else [of_class], 1):
            (folder / f"{number}.txt").with_stem(f"{name}_{place}").write_text(rows(POS[part], color[part]))
    (folder / "._floor_1.txt").write_bytes(b"\x00\x05\x16")  # macOS


def write_structured(path: Path) -> None:
    kinds = [("x", "f8"), ("y", "f8"), ("z", "f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("label", "i4")]
    np.save(path, np.rec.fromarrays([*POS.T, *COLOR.T, LABEL], dtype=kinds))


def write_ply(path: Path) -> None:
    kinds = [("x", "f8"), ("y", "f8"), ("z", "f8"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("label", "i4")]
    table = np.rec.fromarrays([*POS.T, *COLOR.T, LABEL], dtype=kinds)
    PlyData([PlyElement.describe(table, "vertex")]).write(path)


def write_las(path: Path, label: np.ndarray = LABEL) -> None:
    las = laspy.create(point_format=2)
    las.header.scales, las.header.offsets = [0.001] * 3, POS.min(0)
    las.x, las.y, las.z = POS.T
    las.red, las.green, las.blue = (COLOR.T * 257).astype(np.uint16)
    las.classification = label.astype(np.uint8)
    las.return_number, las.intensity = np.full(60, 2), np.full(60, 65535)
    las.write(path)


def write_pcd(path: Path) -> None:
    head = (
        f"FIELDS x y z rgb label\nSIZE 8 8 8 4 4\nTYPE F F F U U\nCOUNT 1 1 1 1 1\nWIDTH {len(POS)}\nHEIGHT 1\n"
        f"POINTS {len(POS)}\nDATA ascii\n"
    )
    path.write_text(head + rows(POS, (COLOR * [1 << 16, 1 << 8, 1]).sum(1), LABEL))


def write_arrays(area: Path, segment: str = "segment", color: np.ndarray | None = None) -> None:
    folder = area / "room"
    folder.mkdir(parents=True)
    np.save(folder / "coord.npy", POS)
    np.save(folder / "color.npy", COLOR.astype(np.uint8) if color is None else color)
    np.save(folder / "normal.npy", NORMAL.astype(np.float32))
    np.save(folder / f"{segment}.npy", LABEL.reshape(-1, 1).astype(np.int16))
    np.save(folder / "instance.npy", LABEL)


def at(name: str, write: Callable[[Path], object]) -> Callable[[Path], None]:
    def write_file(area: Path) -> None:
        area.mkdir(parents=True)
        write(area / name)

    return write_file


HEADER = "x;y;z;r;g;b;classification\n"
LAYOUTS: dict[str, Callable[[Path], None]] = {
    "objects": write_objects,
    "objects, fractions": lambda area: write_objects(area, COLOR / 255),
    "arrays": write_arrays,
    "arrays, float colors": lambda area: write_arrays(area, color=COLOR.astype(np.float32)),
    "npy": at("room.npy", lambda path: np.save(path, np.column_stack([POS, COLOR, LABEL]))),
    "npy, fractions": at("room.npy", lambda path: np.save(path, np.column_stack([POS, COLOR / 255, LABEL]))),
    "npy, structured": at("room.npy", write_structured),
    "npz": at("room.npz", lambda path: np.savez(path, pos=POS, color=COLOR.astype(np.uint8), label=LABEL)),
    "txt": at("room.txt", lambda path: path.write_text(rows(POS, COLOR, LABEL))),
    "txt, header": at("room.txt", lambda path: path.write_text(HEADER + rows(POS, COLOR, LABEL, mark=";"))),
    "csv": at("room.csv", lambda path: path.write_text(rows(POS, COLOR, LABEL, mark=","))),
    "ply": at("room.ply", write_ply),
    "las": at("room.las", write_las),
    "laz": at("room.laz", write_las),
    "pcd": at("room.pcd", write_pcd),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts_hold_the_same_points(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path / "A")
    for _ in range(2):  # the second time from the cache
        data = SceneFolder(tmp_path, ["A"], classes=CLASSES, cache=tmp_path / "cache")
        assert len(data) == 1
        room = data[0]
        assert room.pos.dtype == torch.float64
        np.testing.assert_allclose(room.pos, POS, rtol=0, atol=1e-6)
        assert room.y.dtype == torch.int64
        assert room.y.tolist() == LABEL.tolist()
        np.testing.assert_allclose(room.color, COLOR / 255, atol=1e-6)
        assert room.color.dtype == torch.float32
        assert data.check_classes().tolist() == np.bincount(LABEL).tolist()
        assert all("LAS codes" in remark for remark in data.remarks)


def test_features_come_under_their_names(tmp_path: Path) -> None:
    write_arrays(tmp_path / "A")
    np.save(tmp_path / "A" / "room" / "strength.npy", np.full((60, 1), 0.25))
    room = SceneFolder(tmp_path, ["A"], classes=CLASSES)[0]
    assert sorted(room.keys()) == ["color", "intensity", "normal", "pos", "y"]
    assert room.intensity.tolist() == [[0.25]] * 60
    np.testing.assert_allclose(room.normal, NORMAL, atol=1e-6)
    at("room.las", write_las)(tmp_path / "B")
    room = SceneFolder(tmp_path, ["B"], classes=CLASSES)[0]
    assert room.intensity.tolist() == [[1.0]] * 60
    assert room.return_number.tolist() == [[2.0]] * 60


def test_las_codes_have_a_map(tmp_path: Path) -> None:
    codes = np.array([2, 5, 6])[LABEL]
    codes[7] = 1
    (tmp_path / "A").mkdir()
    write_las(tmp_path / "A" / "tile.las", codes)
    labels = {2: "ground", 5: "tree", 6: "building"}
    data = SceneFolder(tmp_path, ["A"], labels=labels, ignore=(1,))
    assert data.classes == ("ground", "tree", "building")
    expected = LABEL.tolist()
    expected[7] = IGNORE
    assert data[0].y.tolist() == expected
    assert data.remarks == ()
    with pytest.raises(
        ValueError, match=r"tile.las, row 8, has the label 1, which must be one of 2, 5, 6; give labels"
    ):
        SceneFolder(tmp_path, ["A"], labels=labels)[0]
    with pytest.raises(ValueError, match=r"tile.las, row 1, has the label 2, which must be 0 to 1"):
        SceneFolder(tmp_path, ["A"], classes=("ground", "tree"))[0]
    plain = SceneFolder(tmp_path, ["A"])
    assert plain[0].y.tolist() == codes.tolist()
    assert "LAS codes are read as numbers of classes, such as 2 as 'wall'" in plain.remarks[0]


def test_folders_of_arrays_name_their_classes(tmp_path: Path) -> None:
    write_arrays(tmp_path / "A", segment="segment20")
    with pytest.raises(ValueError, match=r"room must hold the classes as segment.npy, .* it holds segment20 \(segment"):
        SceneFolder(tmp_path, ["A"], classes=CLASSES)[0]
    assert SceneFolder(tmp_path, ["A"], classes=CLASSES, segment="segment20")[0].y.tolist() == LABEL.tolist()
    np.save(tmp_path / "A" / "room" / "segment200.npy", LABEL - 1)
    many = SceneFolder(tmp_path, ["A"], classes=CLASSES, segment="segment200", ignore=(-1,))[0]
    assert set(many.y.tolist()) == {IGNORE, 0, 1}
    with pytest.raises(ValueError, match=r"segment200.npy, row 1, has the label -1"):
        SceneFolder(tmp_path, ["A"], classes=CLASSES, segment="segment200")[0]
    np.save(tmp_path / "A" / "room" / "color.npy", COLOR[:-1])
    with pytest.raises(ValueError, match=r"color.npy must hold 3 numbers for each of the 60 points .* \(59, 3\)"):
        SceneFolder(tmp_path, ["A"], classes=CLASSES, segment="segment20")[0]
    np.save(tmp_path / "A" / "room" / "coord.npy", POS.T)
    with pytest.raises(ValueError, match=r"coord.npy must hold rows x y z, got float64 \(3, 60\)"):
        SceneFolder(tmp_path, ["A"], classes=CLASSES, segment="segment20")[0]


def test_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "tile.txt").write_text(rows(LABEL, POS, np.full(60, 0.5)))
    with pytest.raises(
        ValueError, match=r"tile.txt must have the columns x y z r g b label, .* 5 columns without a header"
    ):
        SceneFolder(tmp_path, ["A"], classes=CLASSES)[0]
    named = SceneFolder(tmp_path, ["A"], classes=CLASSES, columns=("label", "x", "y", "z", "intensity"))[0]
    np.testing.assert_allclose(named.pos, POS, rtol=0, atol=1e-9)
    assert named.y.tolist() == LABEL.tolist()
    assert named.intensity.unique().tolist() == [0.5]
    (tmp_path / "A" / "tile.txt").write_text(rows(POS, LABEL))
    bare = SceneFolder(tmp_path, ["A"], classes=CLASSES)[0]
    assert (sorted(bare.keys()), bare.y.tolist()) == (["pos", "y"], LABEL.tolist())
    with pytest.raises(ValueError, match="unknown column 'height'"):
        SceneFolder(tmp_path, ["A"], columns=("x", "y", "z", "height"))


OBJECT = "1 2 3 255 0 51\n5 2 3 0 0 0\n"


def objects(root: Path, **text: str | bytes) -> SceneFolder:
    folder = root / "A" / "office" / "Annotations"
    folder.mkdir(parents=True)
    for name, content in text.items():
        (folder / f"{name}.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return SceneFolder(root, ["A"], classes=("floor", "wall"))


@pytest.mark.parametrize(
    ("line", "read"),
    [
        (b"1.0 2.0 3.0 103.0\x100000 4 5", [103, 4, 5]),
        (b"1.0 2.0 3.0 103.0\x960000 4 5", [103, 4, 5]),
        (b"1.0 2.0 3.0 185\x10187 5", [185, 187, 5]),
        ("1.0 2.0 3.0 185\ufffd187 5".encode(), [185, 187, 5]),
        (b"1.0 2.0 3.0 185\x1c187 5", [185, 187, 5]),
    ],
)
def test_stray_bytes_of_s3dis_are_repaired(line: bytes, read: list[int], tmp_path: Path) -> None:
    data = objects(tmp_path, floor_1=OBJECT.encode() + line + b"\n1 1 1 1 1 1\n", wall_1=OBJECT)
    room = data[0]
    assert room.pos[2].tolist() == [1, 2, 3]
    torch.testing.assert_close(room.color[2] * 255, torch.tensor(read, dtype=torch.float32))
    assert len(room.pos) == 6
    if b"\x1c" not in line:  # white space to every reader of text
        (remark,) = data.remarks
        assert "floor_1.txt: row 3 had the byte 0x" in remark


def test_rows_that_are_not_finite_are_dropped(tmp_path: Path) -> None:
    data = objects(tmp_path, floor_1="1 2 nan 0 0 0\n" + OBJECT + "1 inf 3 0 0 0\n", wall_1=OBJECT)
    assert data[0].y.tolist() == [0, 0, 1, 1]
    (remark,) = data.remarks
    assert remark.endswith("floor_1.txt: 2 of 4 points are NaN or infinite and were dropped, the first in row 1")
    (tmp_path / "B").mkdir()
    table = np.column_stack([POS, COLOR, LABEL]).astype(float)
    table[4, 1] = np.nan
    table[50, 6] = 9
    np.save(tmp_path / "B" / "hall.npy", table)
    with pytest.raises(ValueError, match=r"hall.npy, row 51, has the label 9"):  # the row of the file
        SceneFolder(tmp_path, ["B"], classes=CLASSES)[0]
    data = SceneFolder(tmp_path, ["B"], classes=CLASSES, ignore=(9,))
    assert len(data[0].pos) == 59
    assert "1 of 60 points are NaN or infinite and were dropped, the first in row 5" in data.remarks[0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("1 2 3 4 5 6\n1 2 3 4 5\n", "row 2 holds 5 numbers"),
        ("1 2 3 4 5 6\n\n1 2 x 4 5 6\n", r"row 2 \(line 3\) must hold numbers, got '1 2 x 4 5 6'"),
        ("1 2 3 4 5 6\n1 2 \N{MINUS SIGN}3 4 5 6\n", "row 2 must hold numbers"),
        ("1,5 2,5 3,5 4 5 6\n", "row 1 has a decimal comma"),
        ("1 2 3\n", "names 6 columns"),
        ("\n\n", "it has 0 points"),
        ("nan 1 1 1 1 1\n", "must hold finite points, and none of its 1 is"),
    ],
)
def test_other_faults_of_objects_name_file_and_row(content: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"floor_1.txt .*{sentence}"):
        objects(tmp_path, floor_1=content, wall_1=OBJECT)[0]


def test_other_faults_of_files(tmp_path: Path) -> None:
    area = tmp_path / "A"
    area.mkdir()

    def fault(name: str, sentence: str, **words: object) -> None:
        with pytest.raises(ValueError, match=rf"{name}.*{sentence}"):
            SceneFolder(tmp_path, ["A"], classes=CLASSES, **words)[0]
        (area / name).unlink()

    for table, sentence in (
        (np.zeros((2, 6)), r"must hold rows x y z r g b class, .* got float64 \(2, 6\)"),
        (np.array([[0.0] * 7, [0.0] * 6 + [0.5]]), r"must hold whole numbers as classes, row 2 is \[0.0"),
        (np.array([[0.0] * 7, [0.0] * 6 + [3]]), "row 2, has the label 3, which must be 0 to 2"),
    ):
        np.save(area / "hall.npy", table)
        fault("hall.npy", sentence)
    (area / "hall.npy").write_bytes(b"x")
    fault("hall.npy", "cannot be read as an array of NumPy")
    (area / "hall.txt").write_text("x y z r g b kind\n1 2 3 4 5 6 7\n")
    fault("hall.txt", "must hold the class of each point, named label or class, and does not: it has no column")
    (area / "hall.txt").write_text("1 2 3 4 5 6 0.5\n")
    fault("hall.txt", "its labels were left out: they must be whole numbers, got 0.5")
    (area / "hall.txt").write_text("1 2 3 4 5 6 0\n1 2 3 4 5 6\n")
    fault("hall.txt", "row 2 holds 6 numbers")
    write_las(area / "hall.las")
    (area / "hall.las").write_bytes((area / "hall.las").read_bytes()[:900])
    fault("hall.las", "cannot be read as a cloud")
    (area / "office" / "Annotations").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"Annotations must hold objects CLASS_NUMBER.txt, got none"):
        SceneFolder(tmp_path, ["A"])[0]


def test_which_rooms_an_area_has(tmp_path: Path) -> None:
    area = tmp_path / "A"
    write_objects(area)
    (area / "other").mkdir()
    (area / ".DS_Store").write_bytes(b"x")
    (area / "README.txt").write_text("about")
    (area / "room" / "Annotations" / "ceiling").write_text("1 2 3 4 5 6")
    for name in ("b.txt", "room.npy", "room.txt", "a.xyz"):
        (area / name).write_text("1 2 3 4 5 6 0\n")
    data = SceneFolder(tmp_path, ["A"])
    assert data.rooms == [area / name for name in ("a.xyz", "b.txt", "room.npy")]
    assert [remark.replace(str(area), "A") for remark in data.remarks] == [
        "A/room.txt was left out: room.npy is the same room",
        "A/room was left out: room.npy is the same room",
        "A: folders without Annotations or coord.npy were left out: other",
    ]
    assert data.source(1) == str(area / "b.txt")
    for name in ("b.txt", "room.npy", "room.txt", "a.xyz"):
        (area / name).unlink()
    data = SceneFolder(tmp_path, ["A"])
    assert data[0].y.tolist() == np.array([11, 8, 1])[LABEL].tolist()
    assert data.remarks[-1].endswith("Annotations: ceiling left out, since objects end with .txt")
    (tmp_path / "B").mkdir()
    with pytest.raises(FileNotFoundError, match=r"B must hold rooms: ROOM/Annotations/.* and holds none"):
        SceneFolder(tmp_path, ["B"])
    with pytest.raises(FileNotFoundError, match="path/AREA must be an existing folder"):
        SceneFolder(tmp_path, ["C"])
    with pytest.raises(ValueError, match="areas must hold names of folders"):
        SceneFolder(tmp_path, "A")
