"""Headers, rows and chunks of text, PCD and LAS that do not agree: a remark or a sentence, never other points."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from pointcoc.data import read_cloud
from pointcoc.data.cloud_rows import read_rows

RNG = np.random.default_rng(0)
POS, RGB = RNG.normal(size=(50, 3)).round(4), RNG.integers(0, 256, (50, 3))
PACKED = (RGB[:, 0] << 16 | RGB[:, 1] << 8 | RGB[:, 2]).astype("<u4")


def rows(*columns: np.ndarray, mark: str = " ") -> str:
    table = np.column_stack(columns)
    return "".join(mark.join(f"{value:.9g}" for value in row) + "\n" for row in table.tolist())


def write(path: Path, name: str, content: str | bytes) -> Path:
    (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path / name


def pcd(body: str | bytes, *, data: str = "ascii", points: str = "POINTS 50", last: str = "", size: int = 4) -> bytes:
    fields = f"FIELDS x y z{' rgb' if last else ''}\nSIZE {size} 4 4{' 4' if last else ''}\nTYPE F F F {last}\n"
    head = f"VERSION .7\n{fields}{points}\nDATA {data}\n".encode()
    return head + (body.encode() if isinstance(body, str) else body)


def test_rows_of_numbers_on_paper() -> None:
    said: list[str] = []
    assert read_rows(["1 2", " 3\t4e1 "], 2, ".", said).tolist() == [[1, 2], [3, 40]]
    assert read_rows([], 3, ".", said).shape == (0, 3)
    assert read_rows(["1,5 2"], 2, ",", said).tolist() == [[1.5, 2]]
    assert said == []
    assert read_rows(["1 2", "3 4\x100"], 2, ".", said).tolist() == [[1, 2], [3, 40]]
    assert said == ["row 2 had the byte 0x10 in a number and was read as 40"]
    with pytest.raises(ValueError, match="row 2 must hold numbers, got '1_0 2'"):
        read_rows(["1 2", "1_0 2"], 2, ".", said)


TEXTS = {
    "quotes": ("a.csv", '"x","y","z"\n' + "".join('"{}","{}","{}"\n'.format(*row) for row in POS.tolist())),
    "bars": ("a.csv", rows(POS, mark="|")),
    "a delimiter named": ("a.csv", "sep=;\n" + rows(POS, mark=";")),
    "end of file of old systems": ("a.txt", rows(POS) + "\x1a"),
    "windows and commas at the end": ("a.csv", rows(POS, mark=",").replace("\n", ",\r\n")),
    "label and classification": ("a.csv", "x,y,z,class,label\n" + rows(POS, np.ones(50), np.full(50, 2), mark=",")),
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_dialects(tmp_path: Path, kind: str) -> None:
    cloud = read_cloud(write(tmp_path, *TEXTS[kind]))
    np.testing.assert_allclose(cloud.pos, POS)
    assert cloud.remarks == ()
    assert cloud.label is None or cloud.label.unique().tolist() == [2]


def test_headers_of_another_number_of_columns(tmp_path: Path) -> None:
    cloud = read_cloud(write(tmp_path, "a.csv", "x,y,z\n" + rows(POS, RGB, mark=",")))
    assert cloud.remarks == ("its header names 3 columns, its rows have others: the header was passed over",)
    np.testing.assert_allclose(cloud.features["color"], RGB / 255, rtol=1e-6)
    shifted = write(tmp_path, "b.csv", "id,x,y,z\n" + rows(np.arange(50), np.arange(50), POS, mark=","))
    with pytest.raises(ValueError, match=r"its header names 4 columns \(id x y z\) and line 2 holds 5: '0,0,"):
        read_cloud(shifted)
    np.testing.assert_allclose(read_cloud(shifted, columns=["_", "_", "x", "y", "z"]).pos, POS)


def test_names_that_are_doubled_or_incomplete(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it holds the column x twice"):
        read_cloud(write(tmp_path, "a.csv", "x,y,z,X\n1,2,3,4\n"))
    assert read_cloud(write(tmp_path, "b.csv", "x,y,z,nx,g\n1,2,3,4,5\n")).remarks == (
        "green left out: red blue missing", "nx left out: ny nz missing",
    )  # fmt: skip


def test_a_header_of_unknown_names_asks_for_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 1 must hold numbers, got 'lon lat h'; name a header's columns by --col"):
        read_cloud(write(tmp_path, "a.txt", "lon lat h\n" + rows(POS)))


HEADER_OF_SCAN = "{}\n1\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n{} 0 0 1\n"


def test_scans_of_ptx_that_differ(tmp_path: Path) -> None:
    first = HEADER_OF_SCAN.format(20, 5) + rows(POS[:20] - [5, 0, 0], np.ones(20)).replace("\n", "\n\n")
    second = HEADER_OF_SCAN.format(30, 0) + rows(POS[20:], np.ones(30), RGB[20:])
    cloud = read_cloud(write(tmp_path, "a.ptx", first + second))
    np.testing.assert_allclose(cloud.pos, POS, atol=1e-6)
    assert cloud.remarks == ("its scans have 4 to 7 columns; the first 4 of all were read",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (HEADER_OF_SCAN.format(-4, 0), "line 1 must begin the 10 lines of a scan's header by its columns and rows"),
        (
            HEADER_OF_SCAN.format(3, 0) + "1 2 3 4\n1 2\n1 2 3 4\n",
            "the scan in line 1 cannot be read: row 2 must hold 4",
        ),
        (HEADER_OF_SCAN.format(10**12, 0) + "1 2 3 4\n", "says 1,000,000,000,000 points and holds 1: it is cut short"),
        (HEADER_OF_SCAN.format(1, 0) + "1 2\n", "the scan in line 1 must hold rows of x y z intensity, got '1 2'"),
    ],
)
def test_scans_that_cannot_be_understood(tmp_path: Path, content: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"a\.ptx cannot be read as a cloud: ") as error:
        read_cloud(write(tmp_path, "a.ptx", content))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("F", PACKED.view("<f4")), ("F", PACKED), ("U", PACKED), ("I", (PACKED | 0xFF000000).view("<i4")), ("U", PACKED)],
    ids=["float", "whole number called float", "unsigned", "negative with alpha", "unsigned again"],
)
def test_packed_colors_of_text(tmp_path: Path, kind: str, stored: np.ndarray) -> None:
    body = "".join(f"{x} {y} {z} {value!s}\n" for (x, y, z), value in zip(POS.tolist(), stored, strict=True))
    cloud = read_cloud(write(tmp_path, "a.pcd", pcd(body, last=kind)))
    np.testing.assert_allclose(cloud.features["color"], RGB / 255, rtol=1e-6)


def test_a_missing_packed_color_is_a_missing_point(tmp_path: Path) -> None:
    body = rows(POS, PACKED).splitlines()
    body[7] = "1 2 3 nan"
    cloud = read_cloud(write(tmp_path, "a.pcd", pcd("\n".join(body), last="U")))
    assert cloud.remarks == ("1 of 50 points are NaN or infinite and were dropped, the first in row 8",)
    np.testing.assert_allclose(cloud.features["color"], np.delete(RGB, 7, 0) / 255, rtol=1e-6)


def test_points_beyond_those_of_the_header_are_said(tmp_path: Path) -> None:
    remark = ("it says 50 points and holds 100; the further ones were left out",)
    assert read_cloud(write(tmp_path, "a.pcd", pcd(2 * rows(POS)))).remarks == remark
    assert read_cloud(write(tmp_path, "b.pcd", pcd(2 * POS.astype("<f4").tobytes(), data="binary"))).remarks == remark


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (pcd(rows(POS), points="POINTS -5"), "its header must say its POINTS, or WIDTH and HEIGHT, got -5"),
        (pcd(rows(POS), points="# none"), "its header must say its POINTS, or WIDTH and HEIGHT, got nothing"),
        (pcd(rows(POS), size=3), "its SIZE and TYPE must fit, such as 4 F, got SIZE 3 4 4"),
        (pcd(rows(POS[:9]) + "1 2\n" + rows(POS[10:])), "row 10 must hold 3 numbers, got 2: '1 2'"),
        (pcd(rows(POS[:9]) + "1 2 q\n" + rows(POS[10:])), "row 10 must hold numbers, got '1 2 q'"),
        (pcd(rows(POS).replace(".", ",")), "row 1 has a decimal comma"),
        (pcd(b"12", data="binary", points="POINTS 99999999999999"), "says 99,999,999,999,999 points and holds 0"),
        (pcd(struct.pack("<II", 10, 600) + b"\xff" * 10, data="binary_compressed"), "compressed points are damaged"),
    ],
)
def test_pcd_that_cannot_be_understood(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"a\.pcd cannot be read as a cloud: ") as error:
        read_cloud(write(tmp_path, "a.pcd", content))
    assert sentence in str(error.value)


def lidar(path: Path, count: int = 50) -> tuple[bytes, bytes]:
    laspy = pytest.importorskip("laspy")
    las = laspy.LasData(laspy.LasHeader(point_format=7, version="1.4"))
    las.x, las.y, las.z = POS[:count].T
    for ending in (".las", ".laz"):
        las.write(path / f"whole{ending}")
    return (path / "whole.las").read_bytes(), (path / "whole.laz").read_bytes()


def test_lidar_of_one_point_and_none(tmp_path: Path) -> None:
    for ending, content in zip(("las", "laz"), lidar(tmp_path, 1), strict=True):
        assert len(read_cloud(write(tmp_path, f"a.{ending}", content))) == 1
    for ending, content in zip(("las", "laz"), lidar(tmp_path, 0), strict=True):
        with pytest.raises(ValueError, match=r"a\.la[sz] cannot be read as a cloud: it has 0 points"):
            read_cloud(write(tmp_path, f"a.{ending}", content))


def test_headers_of_lidar(tmp_path: Path) -> None:
    content = lidar(tmp_path)[0]
    for damaged, sentence in (
        (b"", "it must begin with LASF"),
        (b"PK" + content[2:], "it must begin with LASF, got b'PKSF'"),
        (content[:150], "its header must have 375 bytes, the file has 150: it is cut short"),
        (content[:230], "its header must have 375 bytes, the file has 230: it is cut short"),
    ):
        with pytest.raises(ValueError, match=r"a\.las cannot be read as a cloud: ") as error:
            read_cloud(write(tmp_path, "a.las", damaged))
        assert sentence in str(error.value)


def test_a_damaged_list_of_chunks_does_not_take_all_memory(tmp_path: Path) -> None:
    content = bytearray(lidar(tmp_path)[1])
    (start,) = struct.unpack_from("<I", content, 96)
    (place,) = struct.unpack_from("<q", content, start)
    struct.pack_into("<I", content, place + 4, 2**31)  # chunks, which would be 32 GiB
    with pytest.raises(ValueError, match=r"a\.laz cannot be read as a cloud: its list of compressed chunks is damaged"):
        read_cloud(write(tmp_path, "a.laz", bytes(content)))


@pytest.mark.parametrize(("place", "which"), [(100, "before"), (243, "behind")])
def test_damaged_numbers_of_records_do_not_take_all_memory(tmp_path: Path, place: int, which: str) -> None:
    for ending, whole in zip(("las", "laz"), lidar(tmp_path), strict=True):
        content = bytearray(whole)
        struct.pack_into("<I", content, place, 0x30000001)
        with pytest.raises(ValueError, match=f"its header is damaged: it says 805,306,369 records {which} the points"):
            read_cloud(write(tmp_path, f"a.{ending}", bytes(content)))


@pytest.mark.parametrize("name", ["a.las", "a.laz", "a.ply", "a.pcd", "a.off", "a.txt", "a.ptx", "a.npy", "a.stl"])
def test_whatever_is_damaged_is_read_or_named(tmp_path: Path, name: str) -> None:
    pytest.importorskip("trimesh")
    las, laz = lidar(tmp_path)
    np.save(tmp_path / "whole.npy", POS)
    vertex = "ply\nformat binary_little_endian 1.0\nelement vertex 50\n" + "".join(
        f"property float {a}\n" for a in "xyz"
    )
    content = {
        "a.las": las,
        "a.laz": laz,
        "a.ply": vertex.encode() + b"end_header\n" + POS.astype("<f4").tobytes(),
        "a.pcd": pcd(rows(POS, PACKED), last="U"),
        "a.off": b"OFF\n4 2 6\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n",
        "a.txt": ("x y z r g b\n" + rows(POS, RGB)).encode(),
        "a.ptx": (HEADER_OF_SCAN.format(50, 1) + rows(POS, RGB[:, 0])).encode(),
        "a.npy": (tmp_path / "whole.npy").read_bytes(),
        "a.stl": b" " * 80 + struct.pack("<I", 1) + np.eye(4, 3, dtype="<f4").tobytes() + b"\0\0",
    }[name]
    chance = random.Random(0)
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 3, 9])):
            damaged[chance.randrange(len(damaged))] = chance.choice([chance.randrange(256), *b"0 -.\n,;xn"])
        damaged = damaged[: chance.choice([len(damaged), chance.randrange(len(damaged))])]
        try:
            read_cloud(write(tmp_path, name, bytes(damaged)))
        except ValueError as error:
            assert f"{name} cannot be read as a cloud: " in str(error)
            assert "\n" not in str(error)
