"""Files and folders: writing them whole or not at all, the cache folder, and the first line of an error."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path, is_shared: bool = False) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` at the end, remove it if anything fails.

    A file is replaced in one step. A folder steps aside first: for that moment it is NAME.replaced, which a kill leaves
    behind whole.

    Args:
        path: file or folder to write or to replace.
        is_shared: whether several processes may write it at once, so that each needs a temporary name of its own.
    """
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}" if is_shared else f"{path.name}.temporary")
    aside = replaced(path)
    remove(temporary)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        flush(temporary)
        if path.is_dir():
            remove(aside)
            os.replace(path, aside)
        os.replace(temporary, path)
        flush(path.parent)
    except BaseException:
        remove(temporary)
        if aside.is_dir() and not path.exists():
            os.replace(aside, path)
        raise
    remove(aside)


def replaced(path: Path) -> Path:
    """Return where a folder stands while `atomic` puts another one in its place."""
    return path.with_name(f"{path.name}.replaced")


def flush(path: Path) -> None:
    """Ask the disk to hold what was written, so that a rename never overtakes the content (POSIX only)."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def cache_folder(*names: str) -> Path:
    """Return a path for what the library keeps between runs: in $POINTCOC_HOME, or in `pointcoc` in the user's cache.

    The user's cache is $XDG_CACHE_HOME, or ~/.cache where that is not set.

    Args:
        *names: parts of the path below it.
    """
    if home := os.environ.get("POINTCOC_HOME"):
        return Path(home, *names)
    usual = Path.home() / ".cache"
    path, before = (Path(cache, "pointcoc", *names) for cache in (os.environ.get("XDG_CACHE_HOME") or usual, usual))
    # Weights and libraries did not follow $XDG_CACHE_HOME at first.
    return before if before.exists() and not path.exists() else path


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
