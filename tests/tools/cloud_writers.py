"""Writes one cloud, with colors 0 to 255, in the formats that people have; meshes are boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
from plyfile import PlyData, PlyElement

Writer = Callable[[Path, np.ndarray, np.ndarray], None]


def write_ply(path: Path, pos: np.ndarray, color: np.ndarray) -> None:
    kinds = [(name, "f8") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
    PlyData([PlyElement.describe(np.rec.fromarrays([*pos.T, *color.T], dtype=kinds), "vertex")]).write(path)


def write_las(path: Path, pos: np.ndarray, color: np.ndarray) -> None:
    las = laspy.create(point_format=2)
    las.header.scales, las.header.offsets = [0.001] * 3, pos.min(0)
    las.x, las.y, las.z = pos.T
    las.red, las.green, las.blue = (color.T * 257).astype(np.uint16)
    las.write(path)


def write_pcd(path: Path, pos: np.ndarray, color: np.ndarray) -> None:
    packed = (color.astype(np.uint32) * [1 << 16, 1 << 8, 1]).sum(1)
    head = (
        f"VERSION .7\nFIELDS x y z rgb\nSIZE 8 8 8 4\nTYPE F F F U\nCOUNT 1 1 1 1\nWIDTH {len(pos)}\nHEIGHT 1\n"
        f"VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(pos)}\nDATA ascii\n"
    )
    path.write_text(head + "".join(f"{x} {y} {z} {rgb:.0f}\n" for (x, y, z), rgb in zip(pos, packed, strict=True)))


def write_xyz(path: Path, pos: np.ndarray, color: np.ndarray) -> None:
    path.write_text("".join(f"{x:.3f} {y:.3f} {z:.3f} {r} {g} {b}\n" for x, y, z, r, g, b in np.hstack([pos, color])))


def write_npy(path: Path, pos: np.ndarray, color: np.ndarray) -> None:
    np.save(path, np.hstack([pos, color]))


WRITERS: dict[str, Writer] = {
    ".ply": write_ply, ".las": write_las, ".pcd": write_pcd, ".xyz": write_xyz, ".npy": write_npy,
}  # fmt: skip


def write_off(path: Path, low: np.ndarray, high: np.ndarray) -> None:
    """Write the box between two corners as a mesh."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (high - low) + low
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    triangles = [[a, b, c] for a, b, c, _ in faces] + [[a, c, d] for a, _, c, d in faces]
    rows = ["OFF", "8 12 0", *(f"{x} {y} {z}" for x, y, z in corners), *(f"3 {a} {b} {c}" for a, b, c in triangles)]
    path.write_text("\n".join(rows) + "\n")
