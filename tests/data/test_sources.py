"""Tar shards and Hugging Face datasets, made here: what comes, in which order, and what is said where it cannot."""

from pathlib import Path

import pytest
import torch
from image_sources import png, write_hub, write_shards
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.functional import to_tensor

from pointcoc.data import HubImages, ShardImages
from pointcoc.train import Settings, make_stream_loader
from pointcoc.train.batches import Batches
from pointcoc.train.items import source_of

pytest.importorskip("webdataset", reason="needs the extra sources")
pytest.importorskip("datasets", reason="needs the extra sources")


def gray(image: Image.Image) -> torch.Tensor:
    """The gray value, with noise that a transform draws."""
    return (255 * to_tensor(image)).round()[0, 0, 0] + torch.rand(()) / 2


def read(batches: Batches, epoch: int) -> list[list[float]]:
    return [parts[0].value[0].tolist() for parts, _ in batches.updates(epoch)]


def test_shards_to_measure_come_once_in_order_with_their_labels(tmp_path: Path) -> None:
    stream = ShardImages(write_shards(tmp_path), "train", transform=to_tensor)
    items = list(stream)
    assert [round(float(image[0, 0, 0]) * 255) for image, _ in items] == list(range(12))
    assert items[0][0].shape == (3, 4, 5)
    assert [label for _, label in items] == [value % 3 for value in range(12)]
    pattern = ShardImages(tmp_path, "train-{1..2}.tar|7", transform=gray)
    assert [int(value) for value, _ in pattern] == list(range(5, 12))


def test_an_epoch_of_training_follows_from_seed_and_epoch(tmp_path: Path) -> None:
    write_shards(tmp_path)

    def batches(seed: int = 0) -> Batches:
        stream = ShardImages(tmp_path, "train", gray, is_training=True, batch_size=4, seed=seed)
        return Batches(DataLoader(stream, batch_size=4), seed=seed)

    whole = batches()
    epochs = [read(whole, epoch) for epoch in range(3)]
    assert [len(batch) for batch in epochs[0]] == [4, 4, 4]
    assert sorted(int(value) for batch in epochs[0] for value in batch) == list(range(12))
    assert len({str(epoch) for epoch in epochs}) == 3
    torch.rand(5)
    assert read(batches(), 2) == epochs[2]
    assert read(batches(seed=1), 2) != epochs[2]


def test_workers_share_the_shards(tmp_path: Path) -> None:
    write_shards(tmp_path)
    stream = ShardImages(tmp_path, "train", gray, is_training=True, batch_size=2)
    stream.set_loader(2)
    assert len(stream) == 12
    one, again = (Batches(DataLoader(stream, batch_size=2, num_workers=2), seed=3) for _ in range(2))
    first = read(one, 1)
    assert len(first) == len(one) == 6
    read(again, 0)
    assert read(again, 1) == first
    plain = ShardImages(tmp_path, "train", gray, batch_size=2)
    plain.set_loader(2)
    measured = [value for batch in Batches(DataLoader(plain, 2, num_workers=2)).mine() for value in batch.value[0]]
    assert sorted(int(value) for value in measured) == list(range(12))
    with pytest.raises(ValueError, match=r"workers must be at most 3: 'train' in .* has 3 shards to train on, got 4"):
        stream.set_loader(4)


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_share_the_shards(workers: int, tmp_path: Path) -> None:
    write_shards(tmp_path, (4, 4, 4, 4))

    def batches(process: int, is_training: bool, accumulate: int = 1) -> Batches:
        stream = ShardImages(tmp_path, "train", gray, is_training=is_training)
        stream.set_loader(workers, process, 2, batch_size=2)
        share = {"processes": 2, "process": process, "accumulate": accumulate}
        return Batches(DataLoader(stream, 2, num_workers=workers), seed=3, **share)

    both = [batches(process, is_training=True) for process in range(2)]
    epochs = [[read(one, epoch) for one in both] for epoch in range(3)]
    for shares in epochs:
        assert [len(share) for share in shares] == [len(one) for one in both] == [4, 4]
        assert sorted(int(value) for share in shares for batch in share for value in batch) == list(range(16))
    assert len({str(shares) for shares in epochs}) == 3
    assert read(batches(1, is_training=True), 2) == epochs[2][1]
    parts = list(batches(1, is_training=True, accumulate=2).updates(2))
    assert [[part.value[0].tolist() for part in update] for update, _ in parts] == [epochs[2][1][:2], epochs[2][1][2:]]
    assert [size for _, size in parts] == [8, 8]
    measured = [value for p in range(2) for batch in batches(p, is_training=False).mine() for value in batch.value[0]]
    assert sorted(int(value) for value in measured) == list(range(16))


def test_a_reader_of_broken_shards_ends_the_run(tmp_path: Path) -> None:
    write_shards(tmp_path, (8, 8))
    (tmp_path / "train-1.tar").write_bytes(b"no tar" * 200)
    stream = ShardImages(tmp_path, "train", gray, is_training=True)
    failed = 0
    for process in range(2):
        stream.set_loader(0, process, 2, batch_size=4)
        try:
            assert len(read(Batches(DataLoader(stream, 4), processes=2, process=process), 0)) == 2
        except ValueError as error:
            failed += 1
            assert "found 0 of 8 images of the epoch: no shard of its share can be read" in str(error)
    assert failed == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_more_parts_leave_the_epoch_as_it_is(workers: int, tmp_path: Path) -> None:
    write_shards(tmp_path, (4, 5, 6, 5))
    lengths = []
    for accumulate in (1, 2, 4):
        settings = Settings(batch_size=8, accumulate=accumulate, workers=workers)
        loader = make_stream_loader(ShardImages(tmp_path, "train", gray, is_training=True), settings)
        batches = Batches(loader, accumulate=accumulate)
        lengths.append(len(batches))
        assert [size for _, size in batches.updates(0)] == [8] * len(batches)
    assert len(set(lengths)) == 1
    assert 8 * lengths[0] >= 20


def test_a_process_may_have_nothing_to_measure_but_not_nothing_to_train_on(tmp_path: Path) -> None:
    write_shards(tmp_path)
    plain = ShardImages(tmp_path, "train", gray)
    counts = []
    for process in range(4):
        plain.set_loader(0, process, 4)
        counts.append(len(list(plain)))
    assert counts == [5, 4, 3, 0]
    stream = ShardImages(tmp_path, "train", gray, is_training=True)
    with pytest.raises(ValueError, match=r"workers in each of 2 processes must be at most 1: 'train' in .*3 shards"):
        stream.set_loader(2, 0, 2)
    with pytest.raises(ValueError, match=r"'train' in .* has 3 shards to train on, 4 processes need as many"):
        stream.set_loader(0, 0, 4)


def test_a_run_of_seconds_reads_a_few(tmp_path: Path) -> None:
    write_shards(tmp_path)
    assert len(list(ShardImages(tmp_path, "train", limit=5))) == 5
    assert len(list(ShardImages(tmp_path, "train", is_training=True, batch_size=2, limit=5))) == 6
    half = ShardImages(tmp_path, "train", limit=5)
    half.set_loader(0, 1, 2)
    assert len(list(half)) == 3
    half.set_loader(2)
    assert len(list(DataLoader(half, batch_size=None, num_workers=2))) == 6


def test_wrong_shards_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_shards(tmp_path)
    with pytest.raises(ValueError, match=r"split must be a name in _info.json of .*, got 'test' \(split test not"):
        ShardImages(tmp_path, "test")
    with pytest.raises(FileNotFoundError, match=r"shard .*train-3.tar is missing"):
        ShardImages(tmp_path, "train-{2..3}.tar|7")
    with pytest.raises(ValueError, match=r"got 'train-0.tar' \(.*num"):
        ShardImages(tmp_path, "train-0.tar")
    with pytest.raises(FileNotFoundError, match="folder must be an existing folder"):
        ShardImages(tmp_path / "nowhere")
    content = (tmp_path / "train-0.tar").read_bytes().replace(png(3), b"x" * len(png(3)))
    (tmp_path / "train-0.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"1 of 12 images of 'train' in .* cannot be read, and a network is measured"):
        list(ShardImages(tmp_path, "train"))


@pytest.mark.parametrize(("module", "make"), [("webdataset", ShardImages), ("datasets", HubImages)])
def test_a_missing_package_is_named(module: str, make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {module}; install it with: pip install 'pointcoc\[sources\]'"):
        make(tmp_path)


def test_a_hugging_face_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = write_hub(tmp_path, monkeypatch, {"train": 6})
    images = HubImages(str(hub), "train", transform=to_tensor)
    assert images.classes == ("dark", "light")
    assert images.labels.tolist() == [0, 1, 0, 1, 0, 1]
    image, label = images[3]
    assert (round(float(image[0, 0, 0]) * 255), label, image.shape) == (3, 1, (3, 4, 5))
    assert source_of(images, 3) == f"{hub}, split train, row 3"
    assert len(HubImages(str(hub), "train[:50%]")) == 3
    with pytest.raises(ValueError, match=r"with the split 'test' and the columns 'image' and 'label'"):
        HubImages(str(hub), "test")
    with pytest.raises(ValueError, match=r"the columns 'picture' and 'label'"):
        HubImages(str(hub), "train", image_key="picture")
    with pytest.raises(ValueError, match=r"the columns 'image' and 'class'"):
        HubImages(str(hub), "train", label_key="class")
    with pytest.raises(ValueError, match=r"nowhere must be a data set that datasets.load_dataset reads"):
        HubImages(str(hub / "nowhere"), "train")
