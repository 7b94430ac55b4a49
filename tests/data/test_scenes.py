"""Rooms in the layout of S3DIS: text, arrays, the cache, training views, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pointcoc.data import IGNORE, SceneFolder
from pointcoc.data.scenes import S3DIS_CLASSES


def write(root: Path, text: dict[str, str], area: str = "Area_1", room: str = "office_1") -> Path:
    folder = root / area / room / "Annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in text.items():
        (folder / f"{name}.txt").write_text(content)
    return root


FLOOR, CHAIR = "1 2 3 255 0 51\n5 2 3 0 0 0\n", "3 6 4 0 255 0\n"


def test_text_of_annotations(tmp_path: Path) -> None:
    write(tmp_path, {"chair_1": CHAIR, "floor_1": FLOOR, "stairs_1": "1 2 3 0 0 0"})
    data = SceneFolder(tmp_path, ["Area_1"])
    room = data[0]
    assert room.pos.tolist() == [[2, 4, 1], [0, 0, 0], [4, 0, 0], [0, 0, 0]]
    names = [S3DIS_CLASSES[number] for number in room.y]
    assert names == ["chair", "floor", "floor", "clutter"]
    torch.testing.assert_close(room.x[1], torch.tensor([-2, -2, 0, 0.5, -0.5, -0.3]))
    few = SceneFolder(tmp_path, ["Area_1"], classes=("floor",))[0]
    assert few.y.tolist() == [IGNORE, 0, 0, IGNORE]


def test_a_cache_is_written_once_and_arrays_are_read(tmp_path: Path) -> None:
    write(tmp_path, {"chair_1": CHAIR, "floor_1": FLOOR})
    first = SceneFolder(tmp_path, ["Area_1"], cache=tmp_path / "cache")[0]
    kept = tmp_path / "cache" / "Area_1" / "office_1.npy"
    assert np.load(kept).shape == (3, 7)
    write(tmp_path, {"chair_1": "no numbers"})
    again = SceneFolder(tmp_path, ["Area_1"], cache=tmp_path / "cache")[0]
    assert torch.equal(first.x, again.x)
    arrays = SceneFolder(tmp_path / "cache", ["Area_1"])
    assert torch.equal(arrays[0].y, first.y)
    np.save(tmp_path / "Area_1" / "office_1.npy", np.load(kept))  # beside the folder it wins
    assert SceneFolder(tmp_path, ["Area_1"]).rooms == [tmp_path / "Area_1" / "office_1.npy"]


def test_what_is_refused_names_file_and_row(tmp_path: Path) -> None:
    for number, (content, sentence) in enumerate(
        (
            ("1 2 3 4 5 6\n1 2 3 4 5\x107 6\n", r"floor_1.txt must hold six finite .* row 2 is '1 2 3 4 5"),
            ("1 2 3 4 5 6\n\n1 2 nan 4 5 6\n", "row 3 is '1 2 nan 4 5 6'"),
            ("1 2 3\n", "row 1 is '1 2 3'"),
        )
    ):
        with pytest.raises(ValueError, match=sentence):
            SceneFolder(write(tmp_path / str(number), {"floor_1": content}), ["Area_1"])[0]
    with pytest.raises(ValueError, match=r"Annotations must hold objects CLASS_NUMBER.txt, got none"):
        SceneFolder(write(tmp_path / "none", {}), ["Area_1"])[0]
    with pytest.raises(FileNotFoundError, match="path/AREA must be an existing folder"):
        SceneFolder(tmp_path / "0", ["Area_2"])
    (tmp_path / "0" / "Area_3").mkdir()
    with pytest.raises(FileNotFoundError, match=r"must hold rooms: .* holds neither"):
        SceneFolder(tmp_path / "0", ["Area_3"])
    with pytest.raises(ValueError, match="areas must hold names of folders"):
        SceneFolder(tmp_path / "0", "Area_1")
    for table, sentence in (
        (np.zeros((2, 6)), r"must hold rows x y z r g b class, got float64 \(2, 6\)"),
        (np.array([[0.0] * 7, [0.0] * 6 + [13]]), r"classes 0 to 12, or -100 to ignore, row 1 is"),
    ):
        np.save(tmp_path / "0" / "Area_3" / "hall.npy", table)
        with pytest.raises(ValueError, match=sentence):
            SceneFolder(tmp_path / "0", ["Area_3"])[0]
    (tmp_path / "0" / "Area_3" / "hall.npy").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"hall.npy cannot be read as an array of NumPy"):
        SceneFolder(tmp_path / "0", ["Area_3"])[0]
