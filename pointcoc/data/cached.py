"""A cache of parsed files: named arrays in one .npz file, good as long as facts and sources are the same."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pointcoc.files import atomic

VERSION = 1
"""Version of the form of these files; another one is parsed anew."""
KEY = "key"
UNREADABLE = (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""Errors of a damaged file; RuntimeError is zipfile's for flags and methods of compression that it does not know."""


def cached(
    folder: str | Path | None,
    item: str | Path,
    sources: Iterable[str | Path],
    facts: Mapping[str, Any],
    parse: Callable[[], Mapping[str, np.ndarray]],
    *,
    only: Collection[str] | None = None,
) -> dict[str, np.ndarray]:
    """Return the arrays of an item: those of its cache file, or what `parse` returns, which is then kept.

    The file is named by the path of the item and by the facts; it holds, too, path, size and modification time of every
    source. Where one of them differs, or the file is damaged, it is parsed anew and replaced. The sources are looked at
    before they are parsed, so that one edited meanwhile is parsed again the next time. Several processes may write the
    same file at once.

    Args:
        folder: folder of the cache, made where it is missing; None keeps nothing.
        item: file or folder that was parsed; its name begins the name of the cache file.
        sources: all files that the arrays come from.
        facts: all else that they depend on, such as names of classes and columns and the version of the parser; what
            JSON holds.
        parse: reads the sources; its arrays hold numbers, booleans or text (dtype "U"), and none is named "key".
        only: names of the arrays to read; all if None.

    Returns:
        Arrays by name, with the dtypes that `parse` gave them.

    Raises:
        FileNotFoundError: if a source is missing.
        ValueError: if `parse` returns arrays of Python objects.
    """
    if folder is None:
        return _chosen(parse(), only)
    path = cache_file(folder, item, facts)
    key = json.dumps([VERSION, dict(facts), fingerprint(sources)], sort_keys=True)
    found = _read(path, key, only)
    if found is None:
        arrays = parse()
        _write(path, key, arrays)
        found = _chosen(arrays, only)
    return found


def cache_file(folder: str | Path, item: str | Path, facts: Mapping[str, Any]) -> Path:
    """Return the path of the cache file of an item, which its real path and the facts decide.

    Args:
        folder: folder of the cache.
        item: file or folder that is parsed.
        facts: see `cached`.
    """
    real = Path(item).resolve()
    digest = hashlib.sha256(json.dumps([str(real), dict(facts)], sort_keys=True).encode()).hexdigest()
    return Path(folder).expanduser() / f"{real.name}-{digest[:20]}.npz"


def fingerprint(sources: Iterable[str | Path]) -> list[tuple[str, int, int]]:
    """Return real path, size in bytes and modification time in nanoseconds of files, sorted.

    Args:
        sources: the files.

    Raises:
        FileNotFoundError: if one is missing.
    """
    real = sorted(Path(source).resolve() for source in sources)
    return [(str(path), (state := path.stat()).st_size, state.st_mtime_ns) for path in real]


def _read(path: Path, key: str, only: Collection[str] | None) -> dict[str, np.ndarray] | None:
    """Arrays of a cache file; None if it is missing, damaged or of another key."""
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, Mapping):
                return None
            stored, names = json.loads(arrays[KEY].tobytes())
            return {name: arrays[name] for name in (names if only is None else only)} if stored == key else None
    except UNREADABLE:
        return None


def _write(path: Path, key: str, arrays: Mapping[str, np.ndarray]) -> None:
    assert KEY not in arrays
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"{name} must be an array of numbers, booleans or text to be cached, got {array.dtype}")
    with atomic(path, is_shared=True) as temporary, temporary.open("wb") as file:
        head = json.dumps([key, list(arrays)]).encode()  # with the names, so that an array that is lost is missed
        np.savez(file, allow_pickle=False, **{KEY: np.frombuffer(head, np.uint8), **arrays})


def _chosen(arrays: Mapping[str, np.ndarray], only: Collection[str] | None) -> dict[str, np.ndarray]:
    return {name: arrays[name] for name in (arrays if only is None else only)}
