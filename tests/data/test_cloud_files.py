"""Files of clouds: both line ends of a PLY header, and the bytes that are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pointcoc.data.cloud_files import Labeled, read_points, write_ply

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
