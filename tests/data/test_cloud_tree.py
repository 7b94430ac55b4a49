"""Folders of class folders: every layout, the split that is made, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointcoc.data.cloud_tree import TEST_SHARE, CloudTree, find_clouds, is_cloud_folder


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def splits(tree: CloudTree) -> dict[str, str]:
    return {one.name: f"{one.split} {one.kind}" for one in tree.clouds}


@pytest.mark.parametrize("train", ["train", "Training"])
def test_a_split_above_the_classes(tmp_path: Path, train: str) -> None:
    touch(tmp_path, f"{train}/cup/a.ply", f"{train}/cup/deep/er/b.PLY", f"{train}/pen/a.npy")
    tree = find_clouds(touch(tmp_path, "test/cup/c.xyz", "validation/pen/d.txt"))
    assert tree.classes == ("cup", "pen")
    assert not tree.is_made
    assert splits(tree) == {
        f"{train}/cup/a.ply": "train cup",
        f"{train}/cup/deep/er/b.PLY": "train cup",
        f"{train}/pen/a.npy": "train pen",
        "test/cup/c.xyz": "test cup",
        "validation/pen/d.txt": "val pen",
    }
    assert "the test part has no cloud of pen" in tree.remarks


def test_a_split_below_the_classes(tmp_path: Path) -> None:
    touch(tmp_path, "cup/train/a.ply", "cup/test/b.ply", "pen/train/a.ply", "pen/test/b.ply")
    assert splits(find_clouds(tmp_path)) == {
        "cup/test/b.ply": "test cup",
        "cup/train/a.ply": "train cup",
        "pen/test/b.ply": "test pen",
        "pen/train/a.ply": "train pen",
    }


def test_a_split_in_lists(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{kind}/{kind}_{number}.txt" for kind in ("cup", "pen") for number in range(3)))
    for prefix, kinds in (("modelnet10_", ("cup",)), ("modelnet40_", ("cup", "pen"))):
        (tmp_path / f"{prefix}train.txt").write_text("".join(f"{kind}_0\n" for kind in kinds))
        (tmp_path / f"{prefix}test.txt").write_text("".join(f"{kind}/{kind}_1.txt\n" for kind in kinds))
    tree = find_clouds(tmp_path)
    assert tree.names("train") == ["cup/cup_0.txt", "pen/pen_0.txt"]
    assert tree.names("test") == ["cup/cup_1.txt", "pen/pen_1.txt"]
    assert f"the split is that of modelnet40_train.txt and modelnet40_test.txt in {tmp_path}" in tree.remarks
    assert "2 clouds are in no class or no split and were left out, such as cup/cup_2.txt" in tree.remarks


def test_a_split_is_made_by_names_and_stays_when_files_come(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{kind}/{number}.ply" for kind in ("cup", "pen") for number in range(200)))
    tree = find_clouds(tmp_path)
    assert tree.is_made
    test = set(tree.names("test"))
    assert len(test) == pytest.approx(TEST_SHARE * 400, abs=30)
    assert any(f"{len(test)} of 400 clouds are taken to test on, chosen by their names" in one for one in tree.remarks)
    assert {name.split("/")[0] for name in test} == {"cup", "pen"}
    touch(tmp_path, *(f"cup/new{number}.ply" for number in range(50)))
    assert test == {name for name in find_clouds(tmp_path).names("test") if "new" not in name}
    assert test != set(find_clouds(tmp_path, seed=1).names("test"))


def test_the_split_is_recorded(tmp_path: Path) -> None:
    """The split is part of every result: it may not change with a version of anything."""
    touch(tmp_path, *(f"{kind}/{number}.ply" for kind in ("a", "b") for number in range(8)))
    assert find_clouds(tmp_path).names("test") == ["a/6.ply", "b/0.ply"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_small_classes_are_in_both_parts(tmp_path: Path, count: int) -> None:
    touch(tmp_path, *(f"few/{number}.ply" for number in range(count)), *(f"more/{number}.ply" for number in range(30)))
    tree = find_clouds(tmp_path)
    parts = [one.split for one in tree.clouds if one.kind == "few"]
    assert "train" in parts
    assert ("test" in parts) == (count > 1)


def test_one_object_in_two_formats_is_in_one_part(tmp_path: Path) -> None:
    names = [f"cup/{number}" for number in range(30)] + [f"pen/{number}" for number in range(30)]
    tree = find_clouds(touch(tmp_path, *(f"{name}{ending}" for name in names for ending in (".ply", ".xyz"))))
    assert {Path(one).with_suffix("") for one in tree.names("test")}.isdisjoint(
        Path(one).with_suffix("") for one in tree.names("train")
    )


def test_training_data_alone_is_split(tmp_path: Path) -> None:
    tree = find_clouds(touch(tmp_path, *(f"train/{kind}/{n}.ply" for kind in "ab" for n in range(5))))
    assert tree.is_made
    assert tree.classes == ("a", "b")
    assert len(tree.names("train")) + len(tree.names("test")) == 10


def test_test_data_alone_can_be_measured(tmp_path: Path) -> None:
    tree = find_clouds(touch(tmp_path, "test/a/1.ply", "test/b/1.ply"))
    assert (tree.classes, tree.is_made, len(tree.names("test"))) == (("a", "b"), False, 2)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "README.txt", "a/1.ply", "a/2.ply", "a/mesh.mtl", "a/view.jpg", "a/view2.jpg", "b/1.ply", "b/2.ply")
    touch(tmp_path, ".git/x.ply", "__MACOSX/a/._1.ply", "A/1.ply")
    tree = find_clouds(tmp_path)
    assert tree.classes == ("A", "a", "b")
    assert "3 files are no clouds by their endings and were left out: 2 .jpg, 1 .mtl" in tree.remarks
    assert "A, a differ in upper and lower case alone, and are classes of their own" in tree.remarks


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"must hold a folder per class with clouds in it .*; it holds nothing"),
        (["a.ply", "pictures/b.jpg"], r"must hold a folder per class .*; it holds a.ply, pictures"),
        (
            ["a/1.ply", "a/2.ply"],
            r"holds one class, a, and a classifier needs two; give the folder that holds the class",
        ),
        (["a/1.ply", "b/1.ply"], "a class must have two clouds, got one each"),
        (
            ["a/1.ply", "b/1.ply", "c/1.step"],
            r"every class folder of .* must hold clouds; c holds 1 .step: move it away",
        ),
        (["train/a/1.ply", "train/b/1.ply", "train/c/1.stp", "test/a/1.ply"], r"folder of .*train must hold clouds; c"),
        (
            ["train/a/1.ply", "train/b/1.ply", "test/a/1.ply", "test/B/1.ply", "test/c/1.ply"],
            "test part of .* has classes that are not trained: B, c; b of the training part differs in upper and lower",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        find_clouds(touch(tmp_path, *names))


def test_a_folder_of_images_is_none_of_clouds(tmp_path: Path) -> None:
    assert not is_cloud_folder(touch(tmp_path / "photos", "train/a/1.jpg", "train/a/2.jpg", "train/a/notes.txt"))
    assert is_cloud_folder(touch(tmp_path / "clouds", "train/a/1.ply", "train/a/2.xyz", "train/a/preview.jpg"))
    assert not is_cloud_folder(touch(tmp_path / "flat", "1.ply", "2.ply"))
    assert not is_cloud_folder(touch(tmp_path / "arrays", "h5_files/train.h5"))
