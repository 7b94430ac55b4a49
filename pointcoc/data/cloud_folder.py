"""Clouds in class folders, `train/CLASS/FILE` and `test/CLASS/FILE`, in every format of `read_cloud`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Data

from pointcoc.checks import check_choice, check_count, check_folder
from pointcoc.data.cloud import STORED, Cloud
from pointcoc.data.cloud_cache import SLOW, read_cached
from pointcoc.data.cloud_columns import Reading
from pointcoc.data.cloud_tree import CloudTree, find_clouds
from pointcoc.data.hdf5 import stored_features
from pointcoc.files import cache_folder, first_line

IN_MEMORY = 2 * 2**30
"""Bytes of clouds that are held in memory; of a larger set each cloud is read again when it is asked for."""
CACHED = 32 * 2**20
"""Bytes of text and meshes above which they are kept parsed in the cache folder of the package."""
MESH_FACTOR = 4
"""Points sampled on a mesh that trains, over those of a cloud, so that each epoch can take others."""


class CloudFolder(Dataset):
    """A split of a folder of class folders: item i is a `Data` with `pos` (N, 3) float64, features, and `y` (1,).

    The folder holds `train/CLASS/FILE` and `test/CLASS/FILE` (or `val`, where there is no `test`), `CLASS/train/FILE`
    and `CLASS/test/FILE`, or `CLASS/FILE`, with the split in lists `NAME_train.txt` and `NAME_test.txt` or without one.
    Then about a fifth of each class is taken to test on: the names of the files and `seed` decide, the same ones on
    every machine.
    Files may have different formats and numbers of points; `PrepareCloud` as transform makes them the input of a
    network. All are read here, once, and held in memory up to 2 GiB; of more, each is read again at every visit.

    Args:
        folder: the folder.
        split: "train", "val" or "test".
        num_points: points that the network will read of a cloud, of which the points of meshes follow: as many as
            `read_cloud` samples, if that is enough, so that a network meets the points that it meets in single files;
            to train, four times `num_points` or more. Clouds that are no meshes have all of their points.
        transform: a torch_geometric transform of an item.
        max_bad: files that may be left out because they cannot be read.
        features: features that each file must hold, names of `pointcoc.data.cloud.STORED`; names that are computed from
            positions are no matter. None takes those that all files hold.
        columns: names of the columns of text and arrays, see `read_cloud`.
        decimal: decimal mark of text.
        cache: folder for parsed text and meshes; None takes the cache folder of the package, and only if the split has
            more than 32 MiB of them.
        workers: processes that parse what is not in the cache yet; 0 parses in this process.
        seed: of the split that is made, and of points sampled on meshes.

    Attributes:
        classes: names of the classes, sorted.
        labels: all labels, int64 of shape (N,).
        counts: number of points of each cloud, int64 of shape (N,).
        features: names of the features that each item has.
        left_out: a sentence for each file that was left out.
        remarks: a sentence for everything else that was left out, decided or repaired.
        made_split: names of the files of both parts, "train" and "test", if the split was made here; else None.
        transform: the transform, or None; may be exchanged.

    Raises:
        FileNotFoundError: if there is no such folder or split, or a class folder holds no clouds.
        ValueError: if more than `max_bad` files cannot be read, a file lacks a feature, a class is tested and not
            trained, or there is only one; the message names the file.
        ImportError: if a format needs a package that is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str = "train",
        num_points: int | None = None,
        transform: Callable[[Data], Data] | None = None,
        max_bad: int = 0,
        *,
        features: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        decimal: str = ".",
        cache: str | Path | None = None,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        check_choice("split", split, ("train", "val", "test"))
        check_count("max_bad", max_bad, minimum=0)
        check_count("workers", workers, minimum=0)
        if num_points is not None:
            check_count("num_points", num_points)
        self._root = check_folder("folder", folder)
        self._columns, self._decimal, self._seed = columns, decimal, seed
        self._mesh_points = max(Reading().num_points, (num_points or 0) * (MESH_FACTOR if split == "train" else 1))
        tree = find_clouds(self._root, seed)
        split = _split_of(self._root, tree, split)
        self.classes = tree.classes
        self.made_split = {name: tree.names(name) for name in ("train", "test")} if tree.is_made else None
        self.left_out: list[str] = []
        self.remarks = [*tree.remarks, *_unused_split(tree, split)]
        self.transform = transform
        self._cache = _find_cache([self._root / name for name in tree.names(split)], cache)
        if self._cache is not None:
            self.remarks.append(f"parsed text and meshes are kept in {self._cache}")
        if self._cache is not None and workers:
            self._fill_cache(tree.names(split), workers)
        wanted = None if features is None else stored_features(features)
        self._read_all(tree.names(split), wanted, max_bad)
        kinds = {one.name: one.kind for one in tree.clouds if one.split == split}
        if lost := set(kinds.values()) - {kinds[name] for name in self._names}:
            raise ValueError(f"no cloud of {', '.join(sorted(lost))} in {self._root} can be read: {self.left_out[0]}")
        self.labels = torch.tensor([self.classes.index(kinds[name]) for name in self._names])

    def _read_all(self, names: Sequence[str], wanted: tuple[str, ...] | None, max_bad: int) -> None:
        """Read all files: their points up to `IN_MEMORY`, their counts, features and remarks."""
        self._names: list[str] = []
        held: dict[str, int] = dict.fromkeys(STORED, 0)
        remarks: list[tuple[str, str]] = []
        clouds: list[Cloud] = []
        counts, size = [], 0
        for name in names:
            try:
                cloud = self._read(name)
            except (ValueError, OSError) as error:
                self.left_out.append(first_line(error))
                if len(self.left_out) > max_bad:
                    raise _too_many(self.left_out, max_bad) from error
                continue
            _check_wanted(cloud, wanted, self._root / name)
            self._names.append(name)
            counts.append(len(cloud))
            remarks += [(name, remark) for remark in cloud.remarks]
            for feature in cloud.features:
                held[feature] += 1
            size += sum(values.nbytes for values in (cloud.pos, *cloud.features.values()))
            if size <= IN_MEMORY:
                clouds.append(cloud)
            else:
                clouds.clear()
        self.counts = torch.tensor(counts, dtype=torch.int64)
        in_all = tuple(name for name, count in held.items() if 0 < count == len(counts))
        self.features = in_all if wanted is None else wanted
        self.remarks += join_remarks(remarks)
        self.remarks += [
            f"{count} of {len(counts)} clouds have {name}, which is left out because not all have it"
            for name, count in held.items()
            if wanted is None and 0 < count < len(counts)
        ]
        self._ends = self.counts.cumsum(0)
        self._tables = _join(clouds, self.features) if clouds else None

    def _fill_cache(self, names: Sequence[str], workers: int) -> None:
        """Parse all files in several processes; nothing is returned, so that errors have their turn in `_read_all`."""
        order = [name for name in names if Path(name).suffix.lower() in SLOW]
        for _ in DataLoader(order, batch_size=None, num_workers=workers, collate_fn=self._parse):  # type: ignore[arg-type]
            pass

    def _parse(self, name: str) -> bool:
        """Read a file into the cache, and say whether it can be read."""
        with suppress(ValueError, OSError):
            self._read(name)
            return True
        return False

    def _read(self, name: str) -> Cloud:
        """Read a file."""
        return read_cached(
            self._root / name,
            self._cache,
            columns=self._columns,
            decimal=self._decimal,
            num_points=self._mesh_points,
            seed=self._seed,
        )

    def __len__(self) -> int:
        """Return the number of clouds."""
        return len(self._names)

    def __getitem__(self, index: int) -> Data:
        """Return a cloud with its label."""
        index = range(len(self))[index]
        if self._tables is None:
            cloud = self._read(self._names[index])
            tables = {"pos": cloud.pos, **{name: cloud.features[name] for name in self.features}}
        else:
            end = int(self._ends[index])
            rows = slice(end - int(self.counts[index]), end)
            tables = {name: values[rows] for name, values in self._tables.items()}
        data = Data(**tables, y=self.labels[index, None])
        return data if self.transform is None else self.transform(data)

    def source(self, index: int) -> str:
        """Return the file that an item comes from."""
        return str(self._root / self._names[index])


def _find_cache(files: Sequence[Path], cache: str | Path | None) -> Path | None:
    """Return the folder for parsed files; None if it is not worth it."""
    if cache is not None:
        return Path(cache).expanduser()
    size = sum(file.stat().st_size for file in files if file.suffix.lower() in SLOW)
    return cache_folder("clouds") if size > CACHED else None


def join_remarks(remarks: Sequence[tuple[str, str]]) -> list[str]:
    """Join remarks on files that differ in numbers and names alone: the first, and how many there are.

    Args:
        remarks: file and remark.
    """
    kinds: dict[str, list[str]] = {}
    for name, remark in remarks:
        kind = re.sub(r"\d+", "#", remark.replace(name, "").replace(Path(name).name, ""))
        kinds.setdefault(kind, []).append(remark if Path(name).name in remark else f"{name}: {remark}")
    return [one[0] + (f" (and {len(one) - 1} files more)" if len(one) > 1 else "") for one in kinds.values()]


def _split_of(root: Path, tree: CloudTree, split: str) -> str:
    """Return the split of the folder that is meant: `val` is the test where there is none."""
    held = sorted({one.split for one in tree.clouds})
    if split == "test" and "test" not in held and "val" in held:
        return "val"
    if split not in held:
        raise FileNotFoundError(f"folder {root} has no split {split!r}; it holds {', '.join(held)}")
    return split


def _unused_split(tree: CloudTree, split: str) -> list[str]:
    if split == "train" and (count := len(tree.names("val"))) and tree.names("test"):
        return [f"{count} clouds of val are neither trained nor tested on; they are the split 'val'"]
    return []


def _check_wanted(cloud: Cloud, wanted: Sequence[str] | None, path: Path) -> None:
    for name in wanted or ():
        if name not in cloud.features:
            held = ", ".join(["positions", *cloud.features])
            raise ValueError(
                f"{path} has no {name.replace('_', ' ')}, and the features are {', '.join(wanted or ())}; it has "
                f"{held}. Columns of text and arrays are named by columns"
            )


def _too_many(left_out: Sequence[str], max_bad: int) -> ValueError:
    if max_bad == 0:
        return ValueError(f"{left_out[0]}; max_bad leaves out so many files that cannot be read, 0 now")
    return ValueError(f"{left_out[-1]}; more than the {max_bad} files of max_bad cannot be read")


def _join(clouds: Sequence[Cloud], features: Sequence[str]) -> dict[str, Tensor]:
    """Join positions and features of all clouds: few large tensors, which workers share."""
    return {
        "pos": torch.cat([one.pos for one in clouds]),
        **{name: torch.cat([one.features[name] for one in clouds]) for name in features},
    }
