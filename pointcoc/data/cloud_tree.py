"""Which files of a folder of class folders are clouds, their classes, and the split that each belongs to."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pointcoc.checks import check_folder
from pointcoc.data.cloud_files import CLOUD_READERS
from pointcoc.data.clouds import read_lines
from pointcoc.data.splits import hold_out

SPLITS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
ENDINGS = tuple(ending for ending in CLOUD_READERS if ending not in (".h5", ".hdf5"))
"""Endings of the clouds of class folders: a file of HDF5 holds many clouds, with their classes."""
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".gif")
TEST_SHARE = 0.2
LOOK_AT = 2000
"""Files that decide whether a folder is one of clouds."""


@dataclass(frozen=True)
class CloudName:
    """A cloud of a folder.

    Args:
        name: relative to the folder, with slashes.
        kind: its class.
        split: "train", "val" or "test"; empty for none.
    """

    name: str
    kind: str
    split: str = ""


@dataclass(frozen=True)
class CloudTree:
    """The clouds of a folder of class folders.

    Args:
        clouds: all of them, by name.
        classes: names of the classes, sorted.
        is_made: whether the split was made here, because the folder has none.
        remarks: a sentence for everything that was left out or decided.
    """

    clouds: tuple[CloudName, ...]
    classes: tuple[str, ...]
    is_made: bool
    remarks: tuple[str, ...]

    def names(self, split: str) -> list[str]:
        """Return the names of the clouds of a split."""
        return [one.name for one in self.clouds if one.split == split]


def is_cloud_folder(folder: Path) -> bool:
    """Whether a folder has folders in which more files are clouds than images by their endings."""
    endings: Counter[str] = Counter()
    for number, name in enumerate(_walk(folder)):
        if number == LOOK_AT:
            break
        if "/" in name:
            endings[_ending(name)] += 1
    num_clouds = sum(endings[ending] for ending in ENDINGS)
    return num_clouds > sum(endings[ending] for ending in IMAGE_ENDINGS)


def find_clouds(folder: str | Path, seed: int = 0) -> CloudTree:
    """Find the clouds of a folder, their classes and their splits.

    The split of a cloud is told by `train/CLASS/` and `test/CLASS/`, by `CLASS/train/` and `CLASS/test/`, or by lists
    `NAME_train.txt` and `NAME_test.txt` beside the class folders; where there is none, a fifth is taken for the test.
    Below the folder of its class a cloud may lie in further folders. What begins with a dot or `__` is not looked at.

    Args:
        folder: the folder.
        seed: of the split that is made.

    Raises:
        FileNotFoundError: if there is no such folder, no cloud, or a class folder without one.
        ValueError: if there are fewer than two classes, or classes to test on that are not trained.
    """
    root = check_folder("folder", folder)
    names = sorted(_walk(root))
    remarks: list[str] = []
    found = [name for name in names if _ending(name) in ENDINGS and "/" in name]
    for layout in (_outer_split, _inner_split, _listed_split):
        clouds = layout(root, found, remarks)
        if clouds:
            break
    else:
        clouds = [CloudName(name, name.split("/")[0]) for name in found]
    if not clouds:
        raise FileNotFoundError(
            f"folder {root} must hold a folder per class with clouds in it (CLASS/FILE, train/CLASS/FILE or "
            f"CLASS/train/FILE, ending with {', '.join(ENDINGS)}); it holds {_listing(_top(names)) or 'nothing'}"
        )
    _check_folders(root, [PurePosixPath(name).parts for name in found])
    is_made = not any(one.split in ("val", "test") for one in clouds)
    if is_made:
        clouds = _make_split(clouds, seed, remarks)
    _remark_left_out(names, clouds, remarks)
    return CloudTree(tuple(clouds), _check_classes(root, clouds, remarks), is_made, tuple(remarks))


def _outer_split(root: Path, names: Sequence[str], remarks: list[str]) -> list[CloudName]:
    """Read train/CLASS/FILE and test/CLASS/FILE; nothing unless the folder is laid out so."""
    tops = {name.split("/")[0] for name in names if name.count("/") >= 2}
    splits = {SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    others = {name.split("/")[0] for name in names if name.split("/")[0].lower() not in SPLITS}
    if not splits or (others and ("train" not in splits or len(splits) == 1)):
        return []
    if others:
        remarks.append(f"{_listing(others)} beside {_listing(tops - others)} of {root} is not read")
    clouds = []
    for name in names:
        top, kind, *rest = name.split("/")
        if rest and top.lower() in SPLITS:
            clouds.append(CloudName(name, kind, SPLITS[top.lower()]))
    return clouds


def _inner_split(root: Path, names: Sequence[str], remarks: list[str]) -> list[CloudName]:
    """Read CLASS/train/FILE and CLASS/test/FILE; nothing unless the folder is laid out so."""
    clouds = []
    for name in names:
        kind, middle, *rest = name.split("/")
        if rest and middle.lower() in SPLITS:
            clouds.append(CloudName(name, kind, SPLITS[middle.lower()]))
    return clouds if len({one.split for one in clouds}) > 1 else []


def _listed_split(root: Path, names: Sequence[str], remarks: list[str]) -> list[CloudName]:
    """Read the split from NAME_train.txt and NAME_test.txt, a file or its name without ending a line."""
    lists = {path.name[: -len("train.txt")]: path for path in sorted(root.glob("*train.txt"))}
    pairs = {prefix: path for prefix, path in lists.items() if (root / f"{prefix}test.txt").is_file()}
    listed = [_read_lists(root, prefix) for prefix in pairs]
    if not listed:
        return []
    lines = max(listed, key=len)  # ModelNet40 comes with the lists of ModelNet10, which are shorter
    prefix = list(pairs)[listed.index(lines)]
    clouds = []
    for name in names:
        path = PurePosixPath(name)
        split = next((lines[key] for key in (name, str(path.with_suffix("")), path.stem) if key in lines), None)
        if split is not None:
            clouds.append(CloudName(name, path.parts[0], split))
    if clouds:
        remarks.append(f"the split is that of {prefix}train.txt and {prefix}test.txt in {root}")
    return clouds


def _read_lists(root: Path, prefix: str) -> dict[str, str]:
    """Return the split of each name in the lists of a prefix; what follows a name on its line is left out."""
    return {
        name: split
        for split in ("train", "val", "test")
        if (root / f"{prefix}{split}.txt").is_file()
        for line in read_lines(root / f"{prefix}{split}.txt", "names of clouds")
        for name in (line, line.split()[0])
    }


def _make_split(clouds: Sequence[CloudName], seed: int, remarks: list[str]) -> list[CloudName]:
    """Take a fifth of each class for the test, at least one; the name of a file decides, without its ending.

    So one object in two formats is never in both parts, and a new file moves no other one, but for a class so small
    that its nearest cloud is taken.
    """
    objects: dict[str, dict[str, None]] = {}
    for one in clouds:
        objects.setdefault(one.kind, {})[str(PurePosixPath(one.name).with_suffix(""))] = None
    chosen = hold_out({kind: list(names) for kind, names in objects.items()}, TEST_SHARE, seed)
    if not chosen:
        raise ValueError(
            "to split clouds into parts to train and to test on, a class must have two clouds, got one each"
        )
    made = [
        CloudName(one.name, one.kind, "test" if str(PurePosixPath(one.name).with_suffix("")) in chosen else "train")
        for one in clouds
    ]
    num_test = sum(one.split == "test" for one in made)
    remarks.append(
        f"there is no split: {num_test} of {len(made)} clouds are taken to test on, chosen by their names and seed "
        f"{seed}"
    )
    return made


def _remark_left_out(names: Sequence[str], clouds: Sequence[CloudName], remarks: list[str]) -> None:
    """Say how many files were left out, and why."""
    taken = {one.name for one in clouds}
    rest = [name for name in names if name not in taken and "/" in name]
    unread = [name for name in rest if _ending(name) in ENDINGS]
    if unread:
        remarks.append(f"{len(unread)} clouds are in no class or no split and were left out, such as {unread[0]}")
    if others := Counter(_ending(name) or "no ending" for name in rest if _ending(name) not in ENDINGS):
        counts = ", ".join(f"{count} {ending}" for ending, count in others.most_common(5))
        remarks.append(f"{others.total()} files are no clouds by their endings and were left out: {counts}")


def _check_folders(root: Path, found: Sequence[Sequence[str]]) -> None:
    """Raise if a folder beside those of the classes holds no cloud, for it may be a class."""
    level = 1 if all(one[0].lower() in SPLITS for one in found) and any(len(one) > 2 for one in found) else 0
    parents = {root / one[0] if level else root for one in found if not level or SPLITS[one[0].lower()] == "train"}
    filled = {root.joinpath(*one[: level + 1]) for one in found}
    for parent in sorted(parents):
        for folder in sorted(parent.iterdir()):
            if folder.is_dir() and not _is_hidden(folder.name) and folder not in filled:
                held = Counter(_ending(name) or "no ending" for name in _walk(folder))
                counts = ", ".join(f"{count} {ending}" for ending, count in held.most_common(3))
                raise FileNotFoundError(
                    f"every class folder of {parent} must hold clouds; {folder.name} holds {counts or 'nothing'}: move "
                    f"it away, or add files that end with {', '.join(ENDINGS)}"
                )


def _check_classes(root: Path, clouds: Sequence[CloudName], remarks: list[str]) -> tuple[str, ...]:
    """Return the classes; raise if one is tested and not trained, or there is only one."""
    by_split = {split: {one.kind for one in clouds if one.split == split} for split in ("train", "val", "test")}
    trained = by_split["train"] or {one.kind for one in clouds}
    for split in ("val", "test"):
        if only := by_split[split] - trained:
            alike = {one for one in trained if one.lower() in {name.lower() for name in only}}
            advice = f"; {_listing(alike)} of the training part differs in upper and lower case" if alike else ""
            raise ValueError(f"the {split} part of {root} has classes that are not trained: {_listing(only)}{advice}")
        if by_split[split] and (missing := trained - by_split[split]):
            remarks.append(f"the {split} part has no cloud of {_listing(missing)}")
    if len(trained) < 2:
        raise ValueError(
            f"folder {root} holds one class, {_listing(trained)}, and a classifier needs two; give the folder that "
            "holds the class folders"
        )
    lower = Counter(name.lower() for name in trained)
    if twins := {name for name in trained if lower[name.lower()] > 1}:
        remarks.append(f"{_listing(twins)} differ in upper and lower case alone, and are classes of their own")
    return tuple(sorted(trained))


def _walk(folder: Path) -> Iterable[str]:
    """List the files below a folder, relative to it with slashes, in the order of their names."""
    for path, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        relative = Path(path).relative_to(folder)
        yield from ((relative / name).as_posix() for name in sorted(files) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__"))


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _top(names: Iterable[str]) -> set[str]:
    return {name.split("/")[0] for name in names}


def _listing(names: Iterable[str], most: int = 5) -> str:
    """List names for a message, the first few of many."""
    ordered = sorted(names)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")
