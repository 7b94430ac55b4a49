"""Clouds and meshes in formats that packages of the extra `clouds` read: PLY, LAS and LAZ, OFF, OBJ and STL."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from pointcoc.checks import import_extra
from pointcoc.data.cloud_columns import COLOR, NORMAL, POSITION, Columns, Reading, canonical

EXTRA = "clouds"


def read_ply(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read the vertices of a .ply file."""
    plyfile = import_extra("plyfile", EXTRA, "PLY files need")
    try:
        vertex = plyfile.PlyData.read(str(path))["vertex"]
    except plyfile.PlyParseError as error:
        raise ValueError(str(error)) from error
    except KeyError as error:
        raise ValueError("it has no vertices") from error
    table = vertex.data
    columns = {canonical(name): table[name] for name in table.dtype.names if table.dtype[name].kind in "fiu"}
    return columns, []


def read_las(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read the points of a .las or .laz file: scaled positions, colors, intensity, return numbers, classification."""
    laspy = import_extra("laspy", EXTRA, "LAS files need")
    if path.suffix.lower() == ".laz":
        import_extra("lazrs", EXTRA, "LAZ files need")
    try:
        las = laspy.read(path)
    except Exception as error:  # laspy and lazrs have classes of their own, and lazrs panics on damaged files
        raise ValueError(f"{error}{_stated_points(laspy, path)}") from error
    if len(las.points) < las.header.point_count:
        raise ValueError(
            f"it says {las.header.point_count:,} points and holds {len(las.points):,}: the file is cut short"
        )
    said: list[str] = []
    columns: Columns = {name: np.asarray(getattr(las, name)) for name in POSITION}
    held = set(las.point_format.dimension_names)
    if set(COLOR) <= held:
        color = {name: np.asarray(las[name]) for name in COLOR}
        if any(values.any() for values in color.values()):
            columns |= color
        else:
            said.append("its colors are all 0, which stands for none: left out")
    for name in ("intensity", "return_number", *NORMAL):
        if name in held:
            columns[name] = np.asarray(las[name])
    columns["label"] = np.asarray(las["label" if "label" in held else "classification"]).astype(np.int64)
    return columns, said


def _stated_points(laspy: Any, path: Path) -> str:
    """Say how many points a damaged file should hold, if its header can be read."""
    with suppress(Exception), laspy.open(path) as file:
        header = file.header
        size = path.stat().st_size - header.offset_to_point_data
        held = "" if header.are_points_compressed else f" and holds {size // header.point_format.size:,}"
        return f"; it says {header.point_count:,} points{held}: the file is cut short"
    return ""


def read_mesh(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Sample points evenly over the surface of a mesh, with the normals of its faces.

    Raises:
        ValueError: if it has no surface and no vertices.
    """
    mesh = load_mesh(path)
    if not len(getattr(mesh, "faces", ())):
        vertices = np.asarray(mesh.vertices, dtype=np.float64)
        return {name: vertices[:, c] for c, name in enumerate(POSITION)}, ["it has no faces; its vertices were read"]
    if not mesh.area > 0:
        raise ValueError("its faces have no area, so no points can be sampled on it")
    sample = import_extra("trimesh.sample", EXTRA, "meshes need").sample_surface
    points, face = sample(mesh, reading.num_points, seed=reading.seed)[:2]
    normals = np.asarray(mesh.face_normals)[face]
    columns = {name: np.asarray(points)[:, c] for c, name in enumerate(POSITION)}
    return columns | {name: normals[:, c] for c, name in enumerate(NORMAL)}, []


def load_mesh(path: Path) -> Any:
    """Load an .off, .obj or .stl file as one mesh of trimesh."""
    trimesh = import_extra("trimesh", EXTRA, "meshes need")
    try:
        return trimesh.load(path, force="mesh", process=False)
    except Exception as error:  # trimesh raises whatever its loaders meet
        raise ValueError(f"{type(error).__name__}: {error}") from error
