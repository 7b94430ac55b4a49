"""Folders of scenes: the cache, objects and classes that are missing, and views of scenes."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch.utils.data import DataLoader

from pointcoc.data import IGNORE, SceneFolder, scenes
from pointcoc.data.scenes import S3DIS_CLASSES, scene_features

FLOOR, CHAIR = "1 2 3 255 0 51\n5 2 3 0 0 0\n", "3 6 4 0 255 0\n"


def write(root: Path, text: dict[str, str], area: str = "Area_1", room: str = "office_1", time: int = 1) -> Path:
    folder = root / area / room / "Annotations"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in text.items():
        (folder / f"{name}.txt").write_text(content)
        os.utime(folder / f"{name}.txt", (time, time))
    return root


def test_text_of_annotations(tmp_path: Path) -> None:
    write(tmp_path, {"chair_1": CHAIR, "floor_1": FLOOR, "stairs_1": "1 2 3 0 0 0", "table": CHAIR})
    data = SceneFolder(tmp_path, ["Area_1"])
    room = data[0]
    assert room.pos.tolist() == [[3, 6, 4], [1, 2, 3], [5, 2, 3], [1, 2, 3], [3, 6, 4]]
    assert [S3DIS_CLASSES[number] for number in room.y] == ["chair", "floor", "floor", "clutter", "table"]
    torch.testing.assert_close(room.color[1], torch.tensor([1, 0, 0.2]))
    assert data.remarks == (
        "objects named 'stairs' are none of the classes: 1 point in 1 room of Area_1 counted as clutter",
    )


def test_positions_keep_an_offset_to_the_last_digit(tmp_path: Path) -> None:
    write(tmp_path, {"floor_1": "500000.123 4000000.456 100.789 0 0 0\n500001.5 4000001.25 101 9 9 9\n"})
    for _ in range(2):
        room = SceneFolder(tmp_path, ["Area_1"], cache=tmp_path / "cache")[0]
        assert room.pos.tolist() == [[500000.123, 4000000.456, 100.789], [500001.5, 4000001.25, 101]]


def visit(root: Path, **words: object) -> tuple[list[int], bool]:
    """The classes of the only room, and whether its text was parsed."""
    with mock.patch.object(scenes, "read_room", wraps=scenes.read_room) as parse:
        room = SceneFolder(root, ["Area_1"], **words)[0]
    return room.y.tolist(), parse.called


def test_the_cache_knows_what_it_holds(tmp_path: Path) -> None:
    text = {"chair_1": CHAIR, "floor_1": FLOOR}
    root, other = write(tmp_path / "a", text), write(tmp_path / "b", {"chair_1": CHAIR, "floor_1": FLOOR + CHAIR})
    cache = {"cache": tmp_path / "cache"}
    assert visit(root, **cache) == ([8, 1, 1], True)
    assert visit(root, **cache) == ([8, 1, 1], False)
    assert visit(other, **cache) == ([8, 1, 1, 1], True)  # equal names in another folder
    assert visit(root, classes=("floor", "chair"), **cache) == ([1, 0, 0], True)
    assert visit(root, classes=("chair", "floor"), **cache) == ([0, 1, 1], True)
    assert visit(root, labels={"chair": "floor"}, **cache) == ([1, 1, 1], True)
    assert visit(root, ignore=("chair",), **cache) == ([IGNORE, 1, 1], True)
    assert visit(root, **cache) == ([8, 1, 1], False)
    write(root, {"floor_1": FLOOR.replace("5", "7")}, time=2)  # as long as before
    assert visit(root, **cache) == ([8, 1, 1], True)
    assert SceneFolder(root, ["Area_1"], **cache)[0].pos[2, 0] == 7
    write(root, {"wall_1": CHAIR})
    assert visit(root, **cache) == ([8, 1, 1, 2], True)
    (root / "Area_1" / "office_1" / "Annotations" / "wall_1.txt").unlink()
    assert visit(root, **cache) == ([8, 1, 1], True)
    for kept in (tmp_path / "cache").iterdir():
        kept.write_bytes(kept.read_bytes()[:-100])
    assert visit(root, **cache) == ([8, 1, 1], True)
    assert visit(root, **cache) == ([8, 1, 1], False)


def test_the_cache_knows_the_columns_and_the_map_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "Area_1").mkdir()
    (tmp_path / "Area_1" / "tile.txt").write_text("1 2 3 0 1 1 2\n4 5 6 1 1 0 1\n")
    cache = {"cache": tmp_path / "cache", "classes": ("a", "b", "c")}
    columns = ("x", "y", "z", "label", "_", "_", "intensity")
    assert visit(tmp_path, **cache) == ([2, 1], True)
    assert visit(tmp_path, columns=columns, **cache) == ([0, 1], True)
    assert visit(tmp_path, labels={1: "c", 2: "b"}, **cache) == ([1, 2], True)
    assert visit(tmp_path, labels={1: "b", 2: "c"}, **cache) == ([2, 1], True)
    assert visit(tmp_path, ignore=(2,), **cache) == ([IGNORE, 1], True)
    assert visit(tmp_path, **cache) == ([2, 1], False)


def test_objects_of_other_names_are_said_with_their_points(tmp_path: Path) -> None:
    for room in ("office_1", "office_2"):
        write(tmp_path, {"Floor_1": FLOOR, "chair_1": CHAIR, "lamp_1": CHAIR, "lamp_2": CHAIR}, room=room)
    cache = tmp_path / "cache"
    for _ in range(2):  # remarks come from the cache, too
        data = SceneFolder(tmp_path, ["Area_1"], classes=("floor", "chair"), cache=cache)
        assert data[0].y.tolist() == [IGNORE, IGNORE, 1, IGNORE, IGNORE]
        assert data.remarks[0].endswith("2 points in 1 room of Area_1 left out; 'floor' differs in case only")
        assert data.class_counts().tolist() == [0, 2]
        assert data.remarks == (
            "objects named 'Floor' are none of the classes: 4 points in 2 rooms of Area_1 left out; 'floor' differs in "
            "case only",
            "objects named 'lamp' are none of the classes: 4 points in 2 rooms of Area_1 left out",
        )
        with pytest.raises(
            ValueError, match="no room of Area_1 has a point of floor; objects named 'Floor' are none of"
        ):
            data.check_classes()
    mapped = SceneFolder(tmp_path, ["Area_1"], classes=("floor", "chair"), labels={"Floor": "floor", "lamp": IGNORE})
    assert mapped.check_classes().tolist() == [4, 2]
    assert mapped.remarks == ()


def test_counts_of_classes(tmp_path: Path) -> None:
    write(tmp_path, {"floor_1": FLOOR, "chair_1": CHAIR})
    write(tmp_path, {"wall_1": FLOOR}, area="Area_2")
    data = SceneFolder(tmp_path, ["Area_1", "Area_2"], classes=("floor", "wall", "chair"))
    assert data.check_classes().tolist() == [2, 2, 1]
    with mock.patch.object(scenes, "read_room", wraps=scenes.read_room) as parse:
        assert data.class_counts().tolist() == [2, 2, 1]
        assert not parse.called
        write(tmp_path, {"wall_1": FLOOR + FLOOR}, area="Area_2")
        assert data.class_counts().tolist() == [2, 4, 1]
        assert parse.call_count == 1
    few = SceneFolder(tmp_path, ["Area_1"], classes=("floor", "wall", "chair"))
    assert few.empty_classes() == ("wall",)
    with pytest.raises(ValueError, match=r"no room of Area_1 has a point of wall$"):
        few.check_classes()
    few = SceneFolder(tmp_path, ["Area_1"], classes=("floor", "wall", "chair"), ignore=("wall",))
    assert few.check_classes().tolist() == [2, 0, 1]


def test_counts_go_without_rooms_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path, {"floor_1": FLOOR})
    write(tmp_path, {"floor_1": "no numbers"}, room="office_2")
    data = SceneFolder(tmp_path, ["Area_1"], classes=("floor",))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"floor_1.txt cannot be read as rows x y z r g b: row 1 must"):
            data.class_counts()
        assert data.check_classes(max_bad=1).tolist() == [2]
        assert "office_2: left out, since it cannot be read:" in data.remarks[0]
    write(tmp_path, {"floor_1": FLOOR}, room="office_2", time=2)
    assert data.class_counts().tolist() == [4]
    assert data.remarks == ()


def test_equal_remarks_of_many_files_are_one(tmp_path: Path) -> None:
    (tmp_path / "Area_1").mkdir()
    for number in range(3):
        (tmp_path / "Area_1" / f"{number}.txt").write_text("x y z time label\n1 2 3 4 0\n")
    data = SceneFolder(tmp_path, ["Area_1"])
    data.class_counts()
    assert data.remarks == (f"{tmp_path / 'Area_1' / '0.txt'} and 2 more: columns time were left out",)


def test_worker_processes_read_rooms(tmp_path: Path) -> None:
    write(tmp_path, {"floor_1": FLOOR})
    data = SceneFolder(tmp_path, ["Area_1"], cache=tmp_path / "cache")
    (batch,) = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert batch.y.tolist() == [1, 1]


def test_old_weights_read_positions_and_colors(tmp_path: Path) -> None:
    write(tmp_path, {"chair_1": CHAIR, "floor_1": FLOOR})
    room = SceneFolder(tmp_path, ["Area_1"])[0]
    pos, x = scene_features(room.pos, 255 * room.color)
    assert pos.tolist() == [[2, 4, 1], [0, 0, 0], [4, 0, 0]]
    torch.testing.assert_close(x[1], torch.tensor([-2, -2, 0, 0.5, -0.5, -0.3]))
    pos, x = scene_features(room.pos, torch.empty(3, 0))
    assert (pos.shape, x.shape) == ((3, 3), (3, 3))
