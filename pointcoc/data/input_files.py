"""From words of a command line to files with the names of their results: files, folders, globs."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pointcoc.data.cloud_files import CLOUD_READERS
from pointcoc.data.image_files import ENDINGS, is_hidden, say_unread

GLOB_MARKS = "*?["


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file and the name of what is written about it.

    Args:
        path: the file.
        name: path of the results relative to their folder, without an ending.
    """

    path: Path
    name: str


def find_inputs(words: Sequence[str | Path], is_cloud: bool | None = None) -> list[Input]:
    """Find the files that are meant: files as they are named, all images or clouds in folders, and what globs match.

    Results are named like their file without its ending. Where two files share that name, the folders that tell them
    apart join it, and the ending where it is all that does. Hidden files (.NAME) in folders are left out, and a file
    that is meant twice comes once.

    Args:
        words: files, folders (entered to any depth) or globs.
        is_cloud: whether folders are searched for clouds (True), for images (False) or for both (None).

    Raises:
        ValueError: if there are no words, or the name of a result could not be told from that of another one.
        FileNotFoundError: if a folder holds none of these files, or a glob matches none.
    """
    if not words:
        raise ValueError("files must hold at least one image or cloud, got none")
    found: dict[Path, None] = {}
    for word in words:
        found.update(dict.fromkeys(_expand(Path(word).expanduser(), is_cloud)))
    paths = list(found)
    return [Input(path=path, name=name) for path, name in zip(paths, _names(paths), strict=True)]


def _expand(path: Path, is_cloud: bool | None) -> list[Path]:
    if path.is_dir():
        return _files_in(path, is_cloud)
    if path.exists() or not any(mark in str(path) for mark in GLOB_MARKS):
        return [path]
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    if not matches:
        raise FileNotFoundError(f"no file matches {path}")
    return [one for match in matches for one in ([match] if match.is_file() else _files_in(match, is_cloud))]


def _files_in(folder: Path, is_cloud: bool | None) -> list[Path]:
    """List the clouds or images in a folder and those in it, sorted."""
    endings = (() if is_cloud else ENDINGS) + (() if is_cloud is False else tuple(CLOUD_READERS))
    files = []
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(Path(name)))
        files += [Path(where, name) for name in sorted(names) if not is_hidden(Path(name))]
    if not is_cloud:
        say_unread(files, str(folder))
    found = sorted(path for path in files if path.suffix.lower() in endings)
    if not found:
        what = {True: "clouds", False: "images", None: "images or clouds"}[is_cloud]
        raise FileNotFoundError(f"{folder} holds no {what} ({', '.join(endings)})")
    return found


def _names(paths: Sequence[Path]) -> list[str]:
    """Name files apart: by their last part, else by their folders below the common one, else with their ending."""
    absolute = [Path(os.path.abspath(path)) for path in paths]
    common = Path(os.path.commonpath([path.parent for path in absolute]))
    ways: tuple[Callable[[Path], str], ...] = (
        lambda path: path.stem,
        lambda path: path.relative_to(common).with_suffix("").as_posix(),
        lambda path: path.relative_to(common).as_posix(),
    )
    names = [ways[0](path) for path in absolute]
    for way in ways[1:]:
        count = Counter(name.casefold() for name in names)  # some disks do not tell a.png from A.png
        names = [way(path) if count[name.casefold()] > 1 else name for path, name in zip(absolute, names, strict=True)]
    if twice := [name for name, count in Counter(name.casefold() for name in names).items() if count > 1]:
        raise ValueError(f"results are named like their files, and two of them would be {twice[0]}: predict one by one")
    return names
