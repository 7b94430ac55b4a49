"""CloudFolder: files of several formats and sizes as one data set, and the path from there to scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cloud_writers import WRITERS, write_off
from torch.utils.data import DataLoader

from pointcoc import ContextClusterNet
from pointcoc.data import CloudFolder, PrepareCloud, cloud_folder, collate_sets, read_cloud
from pointcoc.data.cloud_folder import join_remarks
from pointcoc.data.formats import CLOUD_FORMATS, open_split
from pointcoc.models.weights import CloudTransform

OFFSET = np.array([500_000.125, 4_000_000.25, 100.5])


def points(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Positions with three digits after the point, far from the origin, and colors 0 to 255."""
    random = np.random.default_rng([seed, size])
    return random.integers(-500, 500, (size, 3)) / 1000 + OFFSET, random.integers(0, 256, (size, 3))


def write(root: Path, name: str, size: int = 20, seed: int = 0) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    WRITERS[path.suffix](path, *points(size, seed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("objects")
    for split, count in (("train", 5), ("test", 2)):
        for number, kind in enumerate(("cup", "pen")):
            for item, ending in enumerate(list(WRITERS)[:count]):
                write(root, f"{split}/{kind}/{item}{ending}", 1 if (split, item) == ("train", 3) else 20 + item, number)
    return root


def test_items_are_what_the_files_hold(folder: Path) -> None:
    clouds = CloudFolder(folder)
    assert (len(clouds), clouds.classes) == (10, ("cup", "pen"))
    assert clouds.labels.tolist() == [0] * 5 + [1] * 5
    assert clouds.counts.tolist() == [20, 21, 22, 1, 24] * 2
    assert (clouds.features, clouds.left_out, clouds.made_split) == (("color",), [], None)
    assert clouds.remarks == [
        f"2 of 10 clouds have {name}, which is left out because not all have it"
        for name in ("intensity", "return_number")
    ]
    assert [Path(clouds.source(number)).suffix for number in range(5)] == list(WRITERS)
    for number in range(10):
        pos, color = points(int(clouds.counts[number]), number // 5)
        assert clouds[number].pos.dtype == torch.float64
        np.testing.assert_allclose(clouds[number].pos, pos, rtol=0, atol=1e-3)
        np.testing.assert_allclose(clouds[number].color, color / 255, atol=1e-6)
        assert clouds[number].y.tolist() == [number // 5]
    assert clouds[-1].y.tolist() == [1]
    assert CloudFolder(folder, "test").counts.tolist() == [20, 21] * 2
    with pytest.raises(IndexError):
        clouds[10]


def test_a_cloud_too_many_for_memory_is_read_when_it_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(CloudFolder(folder))
    monkeypatch.setattr(cloud_folder, "IN_MEMORY", 1000)
    clouds = CloudFolder(folder, features=("color",))
    for found, held in zip(clouds, expected, strict=True):
        assert found.to_dict().keys() == held.to_dict().keys()
        assert all(found[name].equal(held[name]) for name in ("pos", "color", "y"))


def test_the_whole_path_to_scores(folder: Path) -> None:
    """Ragged clouds, one of a single point, centered from map coordinates, with colors, through workers."""
    transform = CloudTransform(center="mean", scale="unit_ball", num_points=20, features=("position", "color"))
    clouds = CloudFolder(folder, features=transform.features, transform=PrepareCloud(transform))
    batches = list(DataLoader(clouds, batch_size=10, num_workers=2, collate_fn=collate_sets))
    assert len(batches) == 1
    batch, labels = batches[0]
    assert batch.ptr.diff().tolist() == [20, 20, 20, 1, 20] * 2
    assert labels.tolist() == [0] * 5 + [1] * 5
    assert (batch.x.dtype, batch.x.shape) == (torch.float32, (162, 6))
    assert batch.x[:, :3].norm(dim=1).max().item() == pytest.approx(1)
    pos, color = points(20)
    np.testing.assert_allclose(batch.x[:20, 3:], color / 255 - 0.5, atol=1e-6)
    exact = pos - pos.mean(0)
    np.testing.assert_allclose(batch.pos[:20], exact / np.linalg.norm(exact, axis=1).max(), atol=1e-6)
    net = ContextClusterNet.from_preset("coc_points_small", num_classes=2, in_channels=6)
    scores = net(batch)
    assert scores.shape == (10, 2)
    assert scores.isfinite().all()


def test_formats_open_it(folder: Path, tmp_path: Path) -> None:
    clouds = open_split(folder, "test", CLOUD_FORMATS, num_points=8, max_bad=0, features=("position",))
    assert isinstance(clouds, CloudFolder)
    assert clouds[0].to_dict().keys() == {"pos", "y"}
    (tmp_path / "notes").mkdir()
    with pytest.raises(FileNotFoundError, match=r"must hold shape_names.txt.*, or a folder per class .* holds notes/$"):
        open_split(tmp_path, "test", CLOUD_FORMATS)


def test_a_made_split_is_reported(tmp_path: Path) -> None:
    for kind in ("cup", "pen"):
        for number in range(6):
            write(tmp_path, f"{kind}/{number}.ply")
    train, test = CloudFolder(tmp_path), CloudFolder(tmp_path, "test")
    assert len(train) + len(test) == 12
    assert train.made_split == test.made_split
    names = [Path(test.source(number)).relative_to(tmp_path).as_posix() for number in range(len(test))]
    assert names == train.made_split["test"]
    assert train.remarks[0].startswith("there is no split: ")


def test_files_that_cannot_be_read_are_named_or_left_out(tmp_path: Path) -> None:
    for kind in ("cup", "pen"):
        for number in range(2):
            write(tmp_path, f"train/{kind}/{number}.ply")
            write(tmp_path, f"test/{kind}/{number}.ply")
    bad = tmp_path / "train/cup/bad.xyz"
    bad.write_text("1 2 3\n4 5\n")
    with pytest.raises(ValueError, match=r"bad.xyz .*; max_bad leaves out so many files that cannot be read, 0 now"):
        CloudFolder(tmp_path)
    clouds = CloudFolder(tmp_path, max_bad=1)
    assert len(clouds) == 4
    assert len(clouds.left_out) == 1
    assert str(bad) in clouds.left_out[0]
    (tmp_path / "train/pen/0.ply").write_bytes(b"ply")
    with pytest.raises(ValueError, match=r"more than the 1 files of max_bad cannot be read"):
        CloudFolder(tmp_path, max_bad=1)
    (tmp_path / "train/pen/1.ply").unlink()
    with pytest.raises(ValueError, match=r"no cloud of pen in .* can be read"):
        CloudFolder(tmp_path, max_bad=2)


def test_meshes_are_sampled_the_same_each_time_and_more_to_train(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for kind in ("cup", "pen"):
            (tmp_path / split / kind).mkdir(parents=True)
            write_off(tmp_path / split / kind / "box.off", OFFSET, OFFSET + np.array([1, 2, 3]))
            write(tmp_path, f"{split}/{kind}/scan.ply")
    train, test = CloudFolder(tmp_path, num_points=600), CloudFolder(tmp_path, "test", num_points=600)
    assert (train.counts.tolist(), test.counts.tolist()) == ([2400, 20] * 2, [2048, 20] * 2)
    assert CloudFolder(tmp_path, "test", num_points=3000).counts.tolist() == [3000, 20] * 2
    assert train[0].pos.equal(CloudFolder(tmp_path, num_points=600)[0].pos)
    assert test[0].pos.equal(read_cloud(test.source(0)).pos)  # as a command reads one file
    inside = (train[0].pos.numpy() - OFFSET) / [1, 2, 3]
    assert inside.min() > -1e-6 and inside.max() < 1 + 1e-6
    on_a_side = np.isclose(inside, 0, atol=1e-6) | np.isclose(inside, 1, atol=1e-6)
    assert on_a_side.any(1).all()


def test_a_feature_that_one_file_lacks(tmp_path: Path) -> None:
    for kind in ("cup", "pen"):
        write(tmp_path, f"train/{kind}/0.ply")
        write(tmp_path, f"test/{kind}/0.ply")
    (tmp_path / "train/pen/plain.xyz").write_text("1 2 3\n4 5 6\n")
    with pytest.raises(ValueError, match=r"plain.xyz has no color, and the features are color; it has positions"):
        CloudFolder(tmp_path, features=("position", "color"))
    clouds = CloudFolder(tmp_path)
    assert clouds.features == ()
    assert "2 of 3 clouds have color, which is left out because not all have it" in clouds.remarks
    assert clouds[0].to_dict().keys() == {"pos", "y"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "all"}, "unknown split 'all'; choose from train, val, test"),
        ({"split": "val"}, r"has no split 'val'; it holds test, train"),
        ({"features": ("colour",)}, "unknown feature 'colour'"),
        ({"num_points": 0}, "num_points must be an integer of at least 1"),
    ],
)
def test_arguments_that_are_refused(folder: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        CloudFolder(folder, **arguments)


def test_remarks_that_differ_in_numbers_are_one() -> None:
    remarks = [
        ("a/1.xyz", "1.xyz: 3 points dropped"),
        ("a/22.xyz", "22.xyz: 14 points dropped"),
        ("a/3.ply", "no color"),
    ]
    assert join_remarks(remarks) == ["1.xyz: 3 points dropped (and 1 files more)", "a/3.ply: no color"]
