"""Meshes in .off, .obj and .stl files: points are sampled evenly over their surface."""

from __future__ import annotations

import re
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pointcoc.checks import import_extra
from pointcoc.data.cloud_columns import COLOR, EXTRA, NORMAL, POSITION, Columns, Reading
from pointcoc.data.cloud_rows import SHOWN, is_number

NEEDS = "meshes need"
OFF = re.compile(r"(ST)?(C)?(N)?OFF(?=[\s\d]|$)", re.IGNORECASE)
STL_HEADER, STL_FACE = 84, 50
TEXT_STL = (b"facet", b"endsolid")
FACE = re.compile(rb"^\s*f\s", re.MULTILINE)


def read_mesh(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Sample points evenly over the surface of a mesh, with the normals of its faces.

    Raises:
        ValueError: if it has no surface and no vertices, or is cut short.
        ImportError: if trimesh is missing.
    """
    import_extra("trimesh", EXTRA, NEEDS)
    load = {".off": load_off, ".stl": _load_stl, ".obj": _load_obj}[path.suffix.lower()]
    vertices, faces, color = load(path)
    if not len(faces):
        if not len(vertices):
            raise ValueError("it has no faces and no vertices")
        columns = dict(zip(POSITION, vertices.T, strict=True))
        columns |= {} if color is None else dict(zip(COLOR, color.T, strict=True))
        return columns, ["it has no faces; its vertices were read"]
    said = []
    is_whole = np.isfinite(vertices[faces]).all((1, 2))
    if not is_whole.all():
        said.append(f"{int((~is_whole).sum()):,} of {len(faces):,} faces are NaN or infinite and were dropped")
        faces = faces[is_whole]
    return _sample(vertices, faces, reading), said


def _sample(vertices: np.ndarray, faces: np.ndarray, reading: Reading) -> Columns:
    trimesh = import_extra("trimesh", EXTRA, NEEDS)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    if not mesh.area > 0:
        raise ValueError("its faces have no area, so no points can be sampled on it")
    points, face = trimesh.sample.sample_surface(mesh, reading.num_points, seed=reading.seed)[:2]
    normals = np.asarray(mesh.face_normals)[face]
    return dict(zip((*POSITION, *NORMAL), (*np.asarray(points).T, *normals.T), strict=True))


Mesh = tuple[np.ndarray, np.ndarray, np.ndarray | None]
"""Vertices (V, 3), triangles (F, 3) and colors of the vertices (V, 3)."""


def load_off(path: Path) -> Mesh:
    """Load an .off file; its counts may follow OFF in one line, comments and colors of faces are left out.

    Raises:
        ValueError: if a line cannot be understood, or there are fewer than the header says.
    """
    content = path.read_bytes().decode("latin-1").removeprefix("\xef\xbb\xbf")
    lines = [line for line in (one.partition("#")[0].strip() for one in content.splitlines()) if line]
    head = OFF.match(lines[0]) if lines else None
    if head is None or not lines[0]:
        raise ValueError("it must begin with OFF, COFF or NOFF")
    rest = lines[0][head.end() :].strip()
    lines = [rest, *lines[1:]] if rest else lines[1:]
    counts = lines[0].split() if lines else []
    if len(counts) < 2 or not all(one.isdigit() for one in counts):
        raise ValueError(f"its header must give the numbers of vertices and faces, got {' '.join(counts)[:SHOWN]!r}")
    num_vertices, num_faces = int(counts[0]), int(counts[1])
    for name, stated, held in (
        ("vertices", num_vertices, len(lines) - 1), ("faces", num_faces, len(lines) - 1 - num_vertices),
    ):  # fmt: skip
        if held < stated:
            raise ValueError(f"it says {stated:,} {name} and holds {held:,}: the file is cut short")
    rows = [_numbers(line, f"vertex {row}") for row, line in enumerate(lines[1 : num_vertices + 1], 1)]
    color = 3 * (1 + bool(head[3]))
    vertices = np.array([row[:3] for row in rows]).reshape(-1, 3)
    is_colored = head[2] and all(len(row) >= color + 3 for row in rows)
    colors = np.array([row[color : color + 3] for row in rows]).reshape(-1, 3) if is_colored else None
    found = lines[num_vertices + 1 : num_vertices + 1 + num_faces]
    return vertices, _triangles(found, num_vertices), colors


def _numbers(line: str, where: str) -> list[float]:
    tokens = line.split()
    if len(tokens) < 3 or not all(is_number(token) for token in tokens):
        raise ValueError(f"{where} must hold 3 numbers, got {line[:SHOWN]!r}")
    return [float(token) for token in tokens]


def _triangles(lines: list[str], num_vertices: int) -> np.ndarray:
    """Return faces as triangles (F, 3), those of polygons around their first corner."""
    triangles: list[tuple[int, int, int]] = []
    for row, line in enumerate(lines, 1):
        tokens = line.split()
        try:
            corners = [int(token) for token in tokens[1 : 1 + int(tokens[0])]]
        except ValueError:
            corners = []
        if not corners or len(corners) != int(tokens[0]):
            raise ValueError(f"face {row} must hold the number of its corners and these, got {line[:SHOWN]!r}")
        if min(corners) < 0 or max(corners) >= num_vertices:
            raise ValueError(f"face {row} names a corner that is not there, of {num_vertices:,}: {line[:SHOWN]!r}")
        triangles += [(corners[0], one, other) for one, other in pairwise(corners[1:])]
    return np.array(triangles, np.int64).reshape(-1, 3)


def _load_stl(path: Path) -> Mesh:
    content = path.read_bytes()
    is_text = content.lstrip()[:5].lower() == b"solid" and any(w in content[:1000].lower() for w in TEXT_STL)
    if is_text and b"endsolid" not in content[-1000:].lower():
        raise ValueError("it does not end with endsolid: the file is cut short")
    if not is_text:
        if len(content) < STL_HEADER:
            raise ValueError(f"it must have a header of {STL_HEADER} bytes or begin with solid, and has {len(content)}")
        (stated,) = struct.unpack_from("<I", content, STL_HEADER - 4)
        held = (len(content) - STL_HEADER) // STL_FACE
        if held < stated:
            raise ValueError(f"it says {stated:,} faces and holds {held:,}: the file is cut short, or no STL")
    return _load(path)


def _load_obj(path: Path) -> Mesh:
    """Load an .obj file; of one without faces its vertices, with colors where each has them."""
    content = path.read_bytes()
    if FACE.search(content):
        return _load(path)
    lines = enumerate(content.decode("latin-1").splitlines(), 1)
    rows = [_numbers(line.split(None, 1)[1], f"line {n}") for n, line in lines if line.split()[:1] == ["v"]]
    vertices = np.array([row[:3] for row in rows]).reshape(-1, 3)
    colors = np.array([row[3:6] for row in rows]) if rows and all(len(row) >= 6 for row in rows) else None
    return vertices, np.empty((0, 3), np.int64), colors


def _load(path: Path) -> Mesh:
    trimesh = import_extra("trimesh", EXTRA, NEEDS)
    try:
        mesh: Any = trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # trimesh raises whatever its loaders meet
        raise ValueError(f"{type(error).__name__}: {error}") from error
    faces = np.asarray(getattr(mesh, "faces", ())).reshape(-1, 3)
    return np.asarray(mesh.vertices, dtype=np.float64).reshape(-1, 3), faces, None
