"""Every format of clouds: what is read, what is said, and a sentence with file and row for what cannot be understood.

All files hold the same 50 points, unless they say otherwise.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pointcoc.commands.inputs import CLOUD_ENDINGS
from pointcoc.data import Cloud, read_cloud
from pointcoc.data.cloud_files import CLOUD_READERS
from pointcoc.data.cloud_pcd import lzf_decompress

laspy, plyfile = pytest.importorskip("laspy"), pytest.importorskip("plyfile")

RNG = np.random.default_rng(0)
POS = RNG.normal(size=(50, 3)).round(4)
RGB = RNG.integers(0, 256, (50, 3))
NORMAL = RNG.normal(size=(50, 3))
NORMAL /= np.linalg.norm(NORMAL, axis=1, keepdims=True)
INTENSITY = RNG.integers(-2000, 2000, 50).astype("i4")
LABEL = RNG.integers(0, 9, 50).astype("i4")
TETRAHEDRON = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"
HEADER = "ply\nformat ascii 1.0\nelement vertex 50\n" + "".join(f"property float {axis}\n" for axis in "xyz")
BYTES = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))


def rows(*columns: np.ndarray, mark: str = " ") -> str:
    table = np.column_stack(columns)
    return "".join(mark.join(f"{value:g}" for value in row) + "\n" for row in table.tolist())


def check(cloud: Cloud, *, color: bool = False, atol: float = 1e-6) -> Cloud:
    """Compare positions and colors with the truth; colors are there or not."""
    np.testing.assert_allclose(cloud.pos.numpy(), POS, atol=atol)
    assert cloud.pos.dtype == torch.float64
    assert ("color" in cloud.features) == color
    if color:
        np.testing.assert_allclose(cloud.features["color"].numpy(), RGB / 255, atol=2e-3)
    return cloud


def text(path: Path, name: str, content: str, encoding: str = "utf-8") -> Path:
    file = path / name
    file.write_bytes(content.encode(encoding))
    return file


def ply(
    path: Path, color: str, scale: float, *, faces_first: bool = False, names: str = "red green blue", **how
) -> Path:
    names_of = names.split()
    dtype = [*((axis, "f4") for axis in "xyz"), *((name, color) for name in names_of)]
    table = np.empty(50, dtype)
    for c, axis in enumerate("xyz"):
        table[axis] = POS[:, c]
        table[names_of[c]] = (RGB[:, c] * scale).astype(color)
    face = np.empty(1, [("vertex_indices", "i4", (3,))])
    face["vertex_indices"] = [[0, 1, 2]]
    elements = [plyfile.PlyElement.describe(table, "vertex"), plyfile.PlyElement.describe(face, "face")]
    plyfile.PlyData(elements[::-1] if faces_first else elements, **how).write(str(path / "a.ply"))
    return path / "a.ply"


@pytest.mark.parametrize(
    ("color", "scale", "how"),
    [
        ("u1", 1, {}),
        ("u1", 1, {"text": True}),
        ("u1", 1, {"byte_order": ">"}),
        ("u1", 1, {"faces_first": True}),
        ("u1", 1, {"names": "r g b"}),
        ("u1", 1, {"names": "diffuse_red diffuse_green diffuse_blue"}),
        ("u2", 257, {}),
        ("f4", 1 / 255, {}),
        ("f4", 1, {}),
        ("i4", 1, {"text": True}),
    ],
)
def test_ply_colors_are_scaled_by_their_type(tmp_path: Path, color: str, scale: float, how: dict) -> None:
    assert check(read_cloud(ply(tmp_path, color, scale, **how)), color=True).remarks == ()


def test_colors_of_8_bits_in_16_are_said(tmp_path: Path) -> None:
    cloud = check(read_cloud(ply(tmp_path, "u2", 1)), color=True)
    assert cloud.remarks == ("its colors are stored in 16 bits and none is above 255: read as colors of 8 bits",)


def test_what_can_be_no_color_is_left_out(tmp_path: Path) -> None:
    cloud = check(read_cloud(ply(tmp_path, "f4", -1)))
    assert "its colors were left out: they must be 0 to 1, 0 to 255 or 0 to 65535, got -" in cloud.remarks[0]


def test_further_properties_of_ply(tmp_path: Path) -> None:
    names = ("x", "y", "z", "nx", "ny", "nz", "scalar_Intensity", "scalar_Label", "junk")
    table = np.rec.fromarrays([*POS.T, *(2 * NORMAL).T, INTENSITY / 7, LABEL, LABEL], names=list(names))
    plyfile.PlyData([plyfile.PlyElement.describe(np.asarray(table), "vertex")]).write(str(tmp_path / "a.ply"))
    cloud = check(read_cloud(tmp_path / "a.ply"))
    np.testing.assert_allclose(cloud.features["normal"].numpy(), NORMAL, atol=1e-6)
    np.testing.assert_allclose(cloud.features["intensity"][:, 0].numpy(), INTENSITY / 7, rtol=1e-6)
    assert cloud.label is not None
    assert cloud.label.tolist() == LABEL.tolist()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_ply(tmp_path: Path, end: str) -> None:
    content = (HEADER + BYTES + "end_header\n" + rows(POS, RGB)).replace("\n", end)
    check(read_cloud(text(tmp_path, "a.ply", content)), color=True)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            HEADER.replace("format ascii 1.0\n", "") + "end_header\n" + rows(POS),
            "line 2 must be its format, such as format ascii 1.0",
        ),
        (
            HEADER + "end_header\n" + rows(POS[:20]),
            "it says 50 points and holds 20: the file is cut short after row 20",
        ),
        ("hello", "line 1 must be ply"),
        ("ply\nformat ascii 1.0\nelement face 0\nend_header\n", "it has no vertices"),
        (
            "ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nend_header\n",
            "it must hold x, y and z, and has x",
        ),
        (HEADER.replace("50", "0") + "end_header\n", "it has 0 points; give at least one"),
    ],
)
def test_broken_ply(tmp_path: Path, content: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"a\.ply cannot be read as a cloud: ") as error:
        read_cloud(text(tmp_path, "a.ply", content))
    assert sentence in str(error.value)


def write_las(path: Path, name: str, point_format: int = 7, top: int = 257) -> Path:
    header = laspy.LasHeader(point_format=point_format, version="1.4")
    header.scales, header.offsets = [1e-4] * 3, [0, 0, 0]
    las = laspy.LasData(header)
    las.x, las.y, las.z = POS.T
    las.red, las.green, las.blue = (RGB * top).T
    las.intensity, las.classification = LABEL * 1000, LABEL
    las.return_number = 1 + LABEL % 4
    las.write(path / name)
    return path / name


@pytest.mark.parametrize("name", ["a.las", "a.laz"])
def test_las(tmp_path: Path, name: str) -> None:
    cloud = check(read_cloud(write_las(tmp_path, name)), color=True)
    np.testing.assert_allclose(cloud.features["intensity"][:, 0].numpy(), LABEL * 1000 / 65535, rtol=1e-6)
    assert cloud.features["return_number"][:, 0].tolist() == (1 + LABEL % 4).tolist()
    assert cloud.label is not None
    assert cloud.label.tolist() == LABEL.tolist()
    assert cloud.remarks == ()


def test_las_with_small_or_without_colors(tmp_path: Path) -> None:
    assert "none is above 255" in check(read_cloud(write_las(tmp_path, "a.las", top=1)), color=True).remarks[0]
    assert "its colors are all 0" in check(read_cloud(write_las(tmp_path, "b.las", top=0))).remarks[0]


def test_las_that_is_cut_short(tmp_path: Path) -> None:
    whole = write_las(tmp_path, "a.las").read_bytes()
    (tmp_path / "b.las").write_bytes(whole[:-200])
    with pytest.raises(ValueError, match=r"b\.las cannot be read .*it says 50 points and holds 4\d: is the file"):
        read_cloud(tmp_path / "b.las")
    packed = write_las(tmp_path, "d.laz").read_bytes()
    (tmp_path / "d.laz").write_bytes(packed[:-300])
    with pytest.raises(ValueError, match=r"d\.laz cannot be read .*it says 50 points: is the file cut short"):
        read_cloud(tmp_path / "d.laz")
    (tmp_path / "c.laz").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"c\.laz cannot be read as a cloud: "):
        read_cloud(tmp_path / "c.laz")


def lzf(content: bytes) -> bytes:
    """Compress as LZF allows it most simply: everything as it is, but a run of zeros as a copy of its beginning."""
    packed, place = b"", 0
    while place < len(content):
        run = 0
        while place + run < len(content) and content[place + run] == content[place - 1] and place and run < 8:
            run += 1
        if run >= 3:
            packed += bytes([(run - 2) << 5, 0]) if run < 9 else b""
            place += run
            continue
        part = content[place : place + 3]
        packed += bytes([len(part) - 1]) + part
        place += 3
    return packed


def write_pcd(path: Path, encoding: str, nan_row: int | None = None) -> Path:
    packed = (RGB[:, 0] << 16 | RGB[:, 1] << 8 | RGB[:, 2]).astype(np.uint32)
    pos = POS.astype(np.float32).copy()
    if nan_row is not None:
        pos[nan_row] = np.nan
    dtype = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("_", "u1", (4,)), ("rgb", "<f4"), ("label", "<u4")]
    table = np.zeros(50, dtype)
    for c, axis in enumerate("xyz"):
        table[axis] = pos[:, c]
    table["rgb"], table["label"] = packed.view(np.float32), LABEL
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z _ rgb label\nSIZE 4 4 4 1 4 4\nTYPE F F F U F U\nCOUNT 1 1 1 4 1 1\n"
        f"WIDTH 10\nHEIGHT 5\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 50\nDATA {encoding}\n"
    ).encode()
    if encoding == "ascii":
        lines = [
            " ".join([*(f"{value:.9g}" for value in place), "0 0 0 0", f"{color:.9g}", str(label)])
            for place, color, label in zip(pos, table["rgb"], LABEL, strict=True)
        ]
        body = ("\n".join(lines) + "\n").encode()
    elif encoding == "binary":
        body = table.tobytes()
    else:
        content = b"".join(np.ascontiguousarray(table[name]).tobytes() for name in table.dtype.names or ())
        compressed = lzf(content)
        body = struct.pack("<II", len(compressed), len(content)) + compressed
    file = path / f"{encoding}.pcd"
    file.write_bytes(header + body)
    return file


@pytest.mark.parametrize("encoding", ["ascii", "binary", "binary_compressed"])
def test_pcd(tmp_path: Path, encoding: str) -> None:
    cloud = check(read_cloud(write_pcd(tmp_path, encoding)), color=True)
    assert cloud.label is not None
    assert cloud.label.tolist() == LABEL.tolist()
    organized = read_cloud(write_pcd(tmp_path, encoding, nan_row=7))
    assert organized.remarks == ("1 of 50 points are NaN or infinite and were dropped, the first in row 8",)
    assert organized.rows is not None
    assert organized.rows.tolist() == [row for row in range(50) if row != 7]
    np.testing.assert_allclose(organized.pos.numpy(), np.delete(POS, 7, 0), atol=1e-6)


def test_broken_pcd(tmp_path: Path) -> None:
    whole = write_pcd(tmp_path, "binary").read_bytes()
    for name, content, sentence in (
        ("short", whole[:-40], "it says 50 points and holds 48: the file is cut short after row 48"),
        ("headless", b"hello\n", "it has no header of a .pcd file that ends with DATA"),
        (
            "other",
            whole.replace(b"DATA binary", b"DATA gzipped"),
            "its DATA must be ascii, binary, binary_compressed",
        ),
        ("types", whole.replace(b"TYPE F", b"TYPE X"), "its TYPE must be F, U, I, got X"),
        ("entries", whole.replace(b"SIZE 4 4", b"SIZE 4"), "must have as many entries each"),
    ):
        (tmp_path / f"{name}.pcd").write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.pcd cannot be read as a cloud: ") as error:
            read_cloud(tmp_path / f"{name}.pcd")
        assert sentence in str(error.value)
    packed = write_pcd(tmp_path, "binary_compressed").read_bytes()
    (tmp_path / "packed.pcd").write_bytes(packed[:-30])
    with pytest.raises(ValueError, match=r"it is cut short: it says .* bytes of compressed points and holds"):
        read_cloud(tmp_path / "packed.pcd")


def test_lzf_on_paper() -> None:
    assert lzf_decompress(bytes([2]) + b"abc" + bytes([1 << 5, 2]), 6) == b"abcabc"
    assert lzf_decompress(bytes([0]) + b"a" + bytes([7 << 5, 1, 0]), 11) == b"a" * 11  # a copy that overlaps itself
    for damaged in (bytes([5]) + b"ab", bytes([1 << 5, 9]), bytes([0])):
        with pytest.raises(ValueError, match="compressed points are damaged"):
            lzf_decompress(damaged, 6)


@pytest.mark.parametrize("header", ["OFF\n4 4 6\n", "OFF4 4 6\n", "OFF 4 4 6\n", "OFF\n# a comment\n4 4 6\n"])
def test_meshes_are_sampled_on_their_surface(tmp_path: Path, header: str) -> None:
    file = text(tmp_path, "a.off", header + TETRAHEDRON)
    cloud = read_cloud(file, num_points=4000)
    assert len(cloud) == 4000
    x, y, z = cloud.pos.T
    on_surface = torch.stack([x.abs(), y.abs(), z.abs(), (x + y + z - 1).abs()]).amin(0)
    assert on_surface.max() < 1e-9
    slanted = ((x + y + z - 1).abs() < 1e-9).double().mean()
    assert slanted == pytest.approx(3**0.5 / (3 + 3**0.5), abs=0.03)  # evenly by area, not by face
    torch.testing.assert_close(cloud.features["normal"].norm(dim=1), torch.ones(4000))
    assert torch.equal(cloud.pos, read_cloud(file, num_points=4000).pos)
    assert not torch.equal(cloud.pos, read_cloud(file, num_points=4000, seed=1).pos)


def test_other_meshes(tmp_path: Path) -> None:
    obj = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
    cloud = read_cloud(text(tmp_path, "a.obj", obj))
    assert len(cloud) == 2048
    assert cloud.pos[:, 2].abs().max() == 0
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    assert len(read_cloud(text(tmp_path, "a.stl", f"solid a\n{facet}endsolid a\n"), num_points=10)) == 10
    flat = text(tmp_path, "flat.off", "OFF\n3 1 3\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n")
    with pytest.raises(ValueError, match="its faces have no area"):
        read_cloud(flat)
    with pytest.raises(ValueError, match=r"none\.stl cannot be read as a cloud"):
        read_cloud(text(tmp_path, "none.stl", "hello"))


def test_kitti(tmp_path: Path) -> None:
    np.column_stack([POS, INTENSITY / 2000]).astype("<f4").tofile(tmp_path / "a.bin")
    cloud = check(read_cloud(tmp_path / "a.bin"))
    np.testing.assert_allclose(cloud.features["intensity"][:, 0].numpy(), INTENSITY / 2000, rtol=1e-6)
    np.column_stack([POS, INTENSITY, LABEL]).astype("<f4").tofile(tmp_path / "b.bin")
    named = read_cloud(tmp_path / "b.bin", columns=["x", "y", "z", "intensity", "_"])
    np.testing.assert_allclose(named.features["intensity"][:, 0].numpy(), INTENSITY, rtol=1e-6)
    (tmp_path / "c.bin").write_bytes(b"\0" * 35)
    with pytest.raises(ValueError, match=r"rows of 4 float32 .*, 16 bytes each, and has 35 bytes, 3 more than 2 rows"):
        read_cloud(tmp_path / "c.bin")


def write_array(path: Path, kind: str) -> Path:
    if kind == "npy":
        np.save(path / "a.npy", np.column_stack([POS, RGB]))
    elif kind == "structured":
        table = np.rec.fromarrays([*POS.T, *RGB.astype("u1").T], names="x,y,z,R,G,B")
        np.save(path / "a.npy", np.asarray(table))
    elif kind == "npz":
        np.savez(path / "a.npz", points=POS, colors=RGB.astype("u1"), labels=LABEL)
    elif kind == "pointcept":
        np.savez(path / "a.npz", coord=POS, color=RGB.astype("f4"), segment=LABEL[:, None])
    else:
        with h5py.File(path / "a.h5", "w") as file:
            file["data"] = np.column_stack([POS, RGB])[None]
    return next(path.glob("a.*"))


@pytest.mark.parametrize("kind", ["npy", "structured", "npz", "pointcept", "h5"])
def test_arrays(tmp_path: Path, kind: str) -> None:
    cloud = check(read_cloud(write_array(tmp_path, kind)), color=True)
    assert cloud.remarks == ()
    assert (cloud.label is not None) == (kind in ("npz", "pointcept"))


def test_arrays_that_are_refused_or_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 500)))
    with pytest.raises(ValueError, match=r"got \(3, 500\): transposed, one column a point; store its transpose"):
        read_cloud(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", left=POS, right=POS)
    with pytest.raises(ValueError, match="it must hold pos, points, xyz, coord or data, or one array alone, and"):
        read_cloud(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", xyz=POS.astype("f4"))
    check(read_cloud(tmp_path / "c.npz"))
    np.save(tmp_path / "d.npy", np.column_stack([POS, NORMAL]))
    assert "columns 4 to 6 left out, since nothing tells what it is" in check(read_cloud(tmp_path / "d.npy")).remarks[0]
    named = check(read_cloud(tmp_path / "d.npy", columns=["x", "y", "z", "nx", "ny", "nz"]))
    np.testing.assert_allclose(named.features["normal"].numpy(), NORMAL, atol=1e-6)
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file["data"] = np.column_stack([POS, NORMAL])[None].repeat(4, 0)
    cloud = check(read_cloud(tmp_path / "e.h5"))
    assert cloud.remarks[0] == "it holds 4 clouds; the first one was read"
    assert "normal" in read_cloud(tmp_path / "e.h5", columns=["x", "y", "z", "nx", "ny", "nz"]).features


def test_positions_far_away_keep_their_digits(tmp_path: Path) -> None:
    far = POS + np.array([500_000, 4_000_000, 100])
    np.save(tmp_path / "a.npy", far)
    (tmp_path / "b.xyz").write_text("".join("{:.4f} {:.4f} {:.4f}\n".format(*row) for row in far))
    for name in ("a.npy", "b.xyz"):
        pos = read_cloud(tmp_path / name).pos
        np.testing.assert_allclose((pos - pos.mean(0)).numpy(), POS - POS.mean(0), atol=1e-6)


TEXTS: dict[str, tuple[str, Callable[[], str], str, bool]] = {
    "plain": ("a.xyz", lambda: rows(POS), "utf-8", False),
    "colors": ("a.txt", lambda: rows(POS, RGB), "utf-8", True),
    "header": ("a.txt", lambda: "X Y Z R G B\n" + rows(POS, RGB), "utf-8", True),
    "commented header": ("a.asc", lambda: "//X,Y,Z,R,G,B\n" + rows(POS, RGB, mark=","), "utf-8", True),
    "quoted header": ("a.csv", lambda: '"x","y","z"\n' + rows(POS, mark=","), "utf-8", False),
    "units in a header": (
        "a.csv",
        lambda: "Easting [m],Northing [m],Z (m)\n" + rows(POS, mark=","),
        "utf-8",
        False,
    ),
    "semicolons": ("a.csv", lambda: rows(POS, RGB, mark=";"), "utf-8", True),
    "tabs": ("a.txt", lambda: rows(POS, RGB, mark="\t"), "utf-8", True),
    "commas and spaces": ("a.xyz", lambda: rows(POS, mark=", "), "utf-8", False),
    "commas at the end": ("a.csv", lambda: rows(POS, mark=",").replace("\n", ",\n"), "utf-8", False),
    "byte order mark": ("a.txt", lambda: rows(POS), "utf-8-sig", False),
    "utf-16": ("a.txt", lambda: rows(POS), "utf-16", False),
    "latin-1": ("a.txt", lambda: "# Höhe\n" + rows(POS), "latin-1", False),
    "comments within": ("a.txt", lambda: rows(POS[:9]) + "// more\n\n# and more\n" + rows(POS[9:]), "utf-8", False),
    "a count": ("a.xyz", lambda: "50\n" + rows(POS), "utf-8", False),
    "windows": ("a.txt", lambda: rows(POS).replace("\n", "\r\n"), "utf-8", False),
    "two scans": ("a.pts", lambda: "20\n" + rows(POS[:20]) + "30\n" + rows(POS[20:]), "utf-8", False),
    "no end of line": ("a.txt", lambda: rows(POS).rstrip(), "utf-8", False),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_text(tmp_path: Path, kind: str) -> None:
    name, content, encoding, color = TEXTS[kind]
    cloud = check(read_cloud(text(tmp_path, name, content(), encoding)), color=color)
    assert cloud.remarks == () or kind == "two scans"


def test_columns_of_text_that_nothing_names(tmp_path: Path) -> None:
    file = text(tmp_path, "a.txt", rows(POS, INTENSITY))
    (remark,) = check(read_cloud(file)).remarks
    assert remark.startswith("column 4 left out, since nothing tells what it is; name all columns, such as --columns")
    named = check(read_cloud(file, columns=("x", "y", "z", "intensity")))
    np.testing.assert_allclose(named.features["intensity"][:, 0].numpy(), INTENSITY)
    normals = text(tmp_path, "b.xyz", rows(POS, NORMAL))
    assert check(read_cloud(normals)).remarks[0].startswith("columns 4 to 6 left out")
    assert "normal" in check(read_cloud(normals, columns=["x", "y", "z", "nx", "ny", "nz"])).features
    labeled = text(tmp_path, "c.txt", rows(POS, RGB, LABEL))
    assert check(read_cloud(labeled), color=True).remarks[0].startswith("column 7 left out")
    assert read_cloud(labeled, columns=["x", "y", "z", "r", "g", "b", "class"]).label.tolist() == LABEL.tolist()  # type: ignore[union-attr]
    skipped = read_cloud(labeled, columns=["x", "y", "z", "_", "_", "_", "label"])
    assert list(skipped.features) == []


def test_a_header_of_other_names_is_passed_over_where_columns_are_named(tmp_path: Path) -> None:
    file = text(tmp_path, "a.txt", "lon lat up\n" + rows(POS))
    with pytest.raises(ValueError, match="row 1 must hold numbers, got 'lon lat up'"):
        read_cloud(file)
    check(read_cloud(file, columns=("x", "y", "z")))


def test_leica_points_have_an_intensity(tmp_path: Path) -> None:
    cloud = check(read_cloud(text(tmp_path, "a.pts", "50\n" + rows(POS, INTENSITY, RGB))), color=True)
    np.testing.assert_allclose(cloud.features["intensity"][:, 0].numpy(), INTENSITY)


def test_scans_of_ptx_are_put_together(tmp_path: Path) -> None:
    def scan(points: np.ndarray, shift: tuple[int, int, int]) -> str:
        pose = f"1 0 0 0\n0 1 0 0\n0 0 1 0\n{shift[0]} {shift[1]} {shift[2]} 1\n"
        return f"{len(points)}\n1\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n{pose}{rows(points - shift, np.full(len(points), 0.5))}"

    misses = "2\n1\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n9 9 9 1\n0 0 0 0.5\n0 0 0 0.5\n"
    file = text(tmp_path, "a.ptx", scan(POS[:20], (1, 2, 3)) + misses + scan(POS[20:], (0, 0, 0)))
    cloud = check(read_cloud(file), atol=1e-4)
    assert cloud.features["intensity"].unique().tolist() == [0.5]
    assert cloud.remarks == ("2 points that the scanner did not hit, at 0 0 0, were dropped",)
    with pytest.raises(ValueError, match="the scan in line 1 says 50 points and holds 9: it is cut short"):
        read_cloud(text(tmp_path, "b.ptx", "\n".join(scan(POS, (0, 0, 0)).splitlines()[:19])))
    with pytest.raises(ValueError, match="line 1 must begin the 10 lines of a scan's header"):
        read_cloud(text(tmp_path, "c.ptx", rows(POS)))


def test_decimal_commas_are_named_and_read_on_request(tmp_path: Path) -> None:
    content = rows(POS).replace(".", ",")
    with pytest.raises(ValueError, match=r"a\.xyz cannot be read as a cloud: row 1 has a decimal comma: .*--decimal ,"):
        read_cloud(text(tmp_path, "a.xyz", content))
    check(read_cloud(tmp_path / "a.xyz", decimal=","))
    semicolons = text(tmp_path, "b.csv", "x;y;z\n" + content.replace(" ", ";"))
    with pytest.raises(ValueError, match="has a decimal comma"):
        read_cloud(semicolons)
    check(read_cloud(semicolons, decimal=","))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (rows(POS, RGB) + "0.1 0.2 0.3 4\n", "row 51 holds 4 numbers and the rows before it 6: '0.1 0.2 0.3 4'"),
        (rows(POS, RGB) + "0.1 0.2", "row 51 holds 2 numbers and the rows before it 6"),
        ("# a\n# b\n" + rows(POS) + "1 2\n", "row 51 (line 53) holds 2 numbers"),
        (rows(POS) + "1 2 three\n", "row 51 must hold numbers, got '1 2 three'"),
        ("hello\n", "row 1 must hold numbers, got 'hello'"),
        ("60\n" + rows(POS), "it says 60 points and holds 50: the file is cut short after row 50"),
        ("1 2\n", "it must hold one row of at least 3 numbers a point, got (1, 2)"),
        ("# nothing\n", "it has 0 points; give at least one"),
        ("", "it has 0 points; give at least one"),
        ("nan nan nan\n", "none of its 1 points is finite"),
    ],
)
def test_text_that_cannot_be_understood(tmp_path: Path, content: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"a\.txt cannot be read as a cloud: ") as error:
        read_cloud(text(tmp_path, "a.txt", content))
    assert sentence in str(error.value)


def test_rows_of_nan_are_dropped_and_counted(tmp_path: Path) -> None:
    cloud = check(read_cloud(text(tmp_path, "a.xyz", rows(POS) + "nan nan nan\ninf 0 0\n")))
    assert cloud.remarks == ("2 of 52 points are NaN or infinite and were dropped, the first in row 51",)
    assert cloud.rows is not None
    assert cloud.rows.tolist() == list(range(50))


def test_a_stray_byte_in_a_number_is_left_out(tmp_path: Path) -> None:
    lines = rows(POS, RGB).splitlines()
    lines[30] = "1.0 2.0 3.0 103.0\x100000 4 5"
    cloud = read_cloud(text(tmp_path, "a.txt", "\n".join(lines)))
    assert cloud.remarks == ("row 31 had the byte 0x10 in a number and was read as 103.00000",)
    assert cloud.pos[30].tolist() == [1, 2, 3]
    assert (255 * cloud.features["color"][30]).round().tolist() == [103, 4, 5]
    assert torch.equal(cloud.pos[:30], torch.from_numpy(POS[:30]))


def test_columns_of_words_are_left_out(tmp_path: Path) -> None:
    lines = [f"{x},{y},{z},tree" for x, y, z in POS]
    cloud = check(read_cloud(text(tmp_path, "a.csv", "x,y,z,species\n" + "\n".join(lines))))
    assert cloud.remarks[0] == "columns species hold words and were left out"


def test_sizes_zero_and_one(tmp_path: Path) -> None:
    assert read_cloud(text(tmp_path, "a.xyz", "1 2 3\n")).pos.tolist() == [[1, 2, 3]]
    np.save(tmp_path / "b.npy", np.zeros((0, 3)))
    with pytest.raises(ValueError, match="it has 0 points; give at least one"):
        read_cloud(tmp_path / "b.npy")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"columns": ["x", "y"]}, "columns must name x, y and z, got x y"),
        ({"columns": ["x", "y", "z", "hue"]}, "unknown column 'hue'; choose from x, y, z, red"),
        ({"columns": ["x", "y", "z", "x"]}, "columns must be named once each, got x 2 times"),
        ({"columns": ["x", "y", "z", "_"]}, "columns names 4 columns (x y z _), and the file has 3"),
        ({"decimal": ";"}, "decimal must be '.' or ',', got ';'"),
    ],
)
def test_options_that_are_not_allowed(tmp_path: Path, options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"must|unknown|names") as error:
        read_cloud(text(tmp_path, "a.txt", rows(POS)), **options)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("name", "package"), [("a.las", "laspy"), ("a.laz", "laspy"), ("a.off", "trimesh"), ("a.obj", "trimesh")]
)
def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, name: str, package: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"need {package}; install it with: pip install 'pointcoc\[clouds\]'"):
        read_cloud(text(tmp_path, name, "x"))


def test_help_names_every_ending() -> None:
    assert CLOUD_ENDINGS.split(", ") == list(CLOUD_READERS)
    with pytest.raises(ValueError, match=r"a\.png is no cloud by its name; a cloud ends with \.ply, \.las"):
        read_cloud("a.png")
