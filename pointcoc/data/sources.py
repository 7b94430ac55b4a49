"""Images from tar shards (WebDataset) and Hugging Face datasets, by timm's readers. Needs the extra `sources`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from pointcoc.checks import check_folder, import_extra
from pointcoc.data.image_files import open_image, to_rgb, upright

T = TypeVar("T")


class HubImages(Dataset):
    """A split of a Hugging Face dataset: item i is (image, label), read by timm's `create_dataset("hfds/...")`.

    Unlike timm's own data set it does not put another image in the place of one that cannot be read.

    Args:
        name: a folder or file that `datasets.load_dataset` reads, or a name on the hub.
        split: name of the split, also a part of it, such as "train[:10%]".
        transform: maps a PIL image (RGB) to a tensor (C, H, W).
        image_key: column of the images.
        label_key: column of the labels, integers.

    Attributes:
        labels: int64, shape (N,).
        classes: names of the classes; their numbers where the data set has no names.
        transform: the transform, or None; may be exchanged.

    Raises:
        ImportError: if the package datasets is not installed.
        ValueError: if there is no such data set, split or column.
    """

    def __init__(
        self,
        name: str,
        split: str = "train",
        transform: Callable[[Any], Any] | None = None,
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        datasets = import_extra("datasets", "sources")
        timm = import_extra("timm.data")
        try:
            self._reader = timm.create_dataset(
                f"hfds/{name}", split=split, input_key=image_key, target_key=label_key
            ).reader
            table = self._reader.dataset.select_columns([label_key]).with_format("numpy")
            labels = np.asarray(table[:][label_key]) if len(table) else np.empty(0)
            if len(table) and self._reader.dataset[0][image_key] is None:
                raise ValueError(f"there are no images in {image_key!r}")  # datasets makes the column that is asked for
        except (datasets.exceptions.DatasetsError, OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"{name} must be a data set that datasets.load_dataset reads, with the split {split!r} and the columns "
                f"{image_key!r} and {label_key!r}: {error}"
            ) from error
        if labels.dtype.kind not in "iu" or labels.ndim != 1 or not len(labels):
            raise ValueError(f"column {label_key!r} of {name} must hold integers, got {len(labels)} of {labels.dtype}")
        self.labels = torch.from_numpy(labels.astype(np.int64))
        names = sorted(self._reader.class_to_idx, key=self._reader.class_to_idx.get)
        self.classes = tuple(names) or tuple(str(number) for number in range(int(self.labels.max()) + 1))
        self.transform = transform
        self._name = f"{name}, split {split}"

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return an image with its label."""
        file, label = self._reader[index]
        with file:
            image = open_image(file, self.source(index))
        return (image if self.transform is None else self.transform(image)), int(label)

    def source(self, index: int) -> str:
        """Return the data set and the row that an item comes from."""
        return f"{self._name}, row {index}"


class ShardImages(IterableDataset):
    """A split of tar shards as a stream of (image, label), read by timm's `create_dataset("wds/...")`.

    Shards hold files KEY.jpg (or png, webp) and KEY.cls, the number of the class. A training split is shuffled, shards
    and images, and has `num_samples` items an epoch, rounded up to whole batches of every worker; the order of an epoch
    follows from `set_epoch` and the random state when it begins. Each worker of each process reads whole shards. While
    training, timm leaves out what cannot be read, with a warning.

    Args:
        folder: folder of the shards, with timm's _info.json if `split` is a name in it.
        split: a name, or names of shards and their number of images: "train-{0000..0063}.tar|1281167".
        transform: maps a PIL image (RGB) to a tensor (C, H, W).
        is_training: shuffle, and repeat shards where that is needed for whole batches.
        batch_size: images of a batch of the loader, or of all batches that make an update.
        seed: seed of the order of the shards.
        image_key: endings of the images, separated by semicolons; None for jpg, png and webp.
        label_key: field of KEY.json that holds the class; None reads KEY.cls.
        limit: images of an epoch at most, rounded up to equal shares of the readers; for a run of seconds.

    Attributes:
        processes: processes that share the shards, see `set_loader`; 1 to begin with.

    Raises:
        ImportError: if the package webdataset is not installed.
        FileNotFoundError: if the folder or a shard is missing.
        ValueError: if the split is unknown or does not tell its number of images, or there are more readers than
            shards to train on; when a split to measure on gives fewer images than _info.json says.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        transform: Callable[[Any], Any] | None = None,
        is_training: bool = False,
        batch_size: int = 1,
        seed: int = 0,
        image_key: str | None = None,
        label_key: str | None = None,
        limit: int | None = None,
    ) -> None:
        import_extra("webdataset", "sources")
        create_dataset = import_extra("timm.data").create_dataset
        self._folder = check_folder("folder", folder)
        try:
            self._reader = create_dataset(
                "wds/", str(self._folder), split, is_training=is_training, batch_size=batch_size, seed=seed,
                input_key=_with_jpg(image_key or "jpg;png;webp"), target_key=label_key,
            ).reader  # fmt: skip
        except (RuntimeError, KeyError, ValueError, OSError) as error:
            raise ValueError(_unknown_split(self._folder, split, error)) from error
        self._shards = [Path(self._folder, name) for name in self._reader.split_info.filenames]
        for shard in self._shards:
            if "://" not in str(shard) and not shard.is_file():
                raise FileNotFoundError(f"shard {shard} is missing")
        if not self._reader.num_samples:
            raise ValueError(_unknown_split(self._folder, split, "the number of images is missing"))
        self._reader.input_img_mode = None  # images come as they are stored, and become RGB here
        self._reader.num_samples = min(self._reader.num_samples, limit or self._reader.num_samples)
        self.transform = transform
        self.is_training = is_training
        self._split, self._limit = split, limit
        self.set_loader()

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the shards; before the pass begins."""
        self._reader.set_epoch(epoch)

    def set_loader(self, workers: int = 0, process: int = 0, processes: int = 1, batch_size: int | None = None) -> None:
        """Say who reads: the length depends on it, and each process, and in it each worker, has shards of its own.

        To train, all processes have equally many batches, and shards that come up again where that is needed; to
        measure, each image is read once, so that a process may have fewer than another, or none.

        Args:
            workers: workers of the loader of each process, 0 for none.
            process: number of this process, from 0.
            processes: number of processes.
            batch_size: images of each process that an epoch of training is made of whole multiples of, in one batch or
                in several; as it is if not given.

        Raises:
            ValueError: if some would have no shard to train on.
        """
        if self.is_training:
            self._check_readers(workers, processes)
        self._workers, self._process, self.processes = max(1, workers), process, processes
        self._reader.batch_size = self._reader.batch_size if batch_size is None else batch_size
        # timm's own way to measure with several processes repeats some images and leaves out others.
        self._reader.dist_rank, self._reader.dist_num_replicas = (process, processes) if self.is_training else (0, 1)
        self._reader.set_loader_cfg(num_workers=self._workers)

    def __len__(self) -> int:
        """Return this process's images of an epoch, in whole batches of every worker; to measure, at most so many."""
        if self.is_training:
            return len(self._reader)
        batch_size = self._reader.batch_size
        return (self._reader.num_samples // batch_size + self._workers) * batch_size

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        """Begin a pass, in a worker over its shards."""
        reader = copy.copy(self._reader)  # timm would keep the state of shuffling from pass to pass
        reader.worker_seed = int(torch.randint(2**31, ()))
        if not self.is_training:
            reader.split_info = copy.copy(reader.split_info)
            reader.split_info.filenames = self._mine(reader.split_info.filenames)
        return self._items(reader)

    def _items(self, reader: Any) -> Iterator[tuple[Any, int]]:
        if not reader.split_info.filenames:
            return
        limit = None if self._limit is None or self.is_training else -(-self._limit // (self.processes * self._workers))
        count = 0
        for image, label in islice(reader, limit):
            count += 1
            image = to_rgb(upright(image))
            yield (image if self.transform is None else self.transform(image)), label
        if self.is_training:
            self._check_epoch(count)
        elif self._limit is None:
            self._check_count(count)

    def _mine(self, shards: Sequence[T]) -> tuple[T, ...]:
        """What is this process's of a list with an entry for each shard."""
        return tuple(shards[self._process :: self.processes])

    def _check_readers(self, workers: int, processes: int) -> None:
        found = f"{self._split!r} in {self._folder} has {len(self._shards)} shards to train on"
        if processes > len(self._shards):
            raise ValueError(f"{found}, {processes} processes need as many")
        if processes * workers > len(self._shards):
            several = f" in each of {processes} processes" if processes > 1 else ""
            raise ValueError(
                f"workers{several} must be at most {len(self._shards) // processes}: {found}, got {workers}"
            )

    def _check_epoch(self, count: int) -> None:
        """A reader whose shards give nothing ends at once; the other processes would wait for it."""
        expected = len(self._reader) // self._workers
        if count < expected:
            raise ValueError(
                f"a reader of {self._split!r} in {self._folder} found {count} of {expected} images of the epoch: no "
                "shard of its share can be read; timm's warnings say why"
            )

    def _check_count(self, count: int) -> None:
        worker = get_worker_info()
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        expected = sum(self._mine(self._reader.split_info.shard_lengths)[first::step])
        if count < expected:
            raise ValueError(
                f"{expected - count} of {expected} images of {self._split!r} in {self._folder} cannot be read, and a "
                "network is measured on all; timm's warnings say why"
            )


def _with_jpg(endings: str) -> str:
    """Return endings as timm takes them: it renames images to jpg, and finds them only if that is among the endings."""
    return endings if "jpg" in endings.split(";") else f"{endings};jpg"


def _unknown_split(folder: Path, split: str, error: object) -> str:
    return (
        f"split must be a name in _info.json of {folder}, or shards with their number of images like "
        f"train-{{0000..0063}}.tar|1281167, got {split!r} ({error})"
    )
