"""A folder of results: what a command wrote there it may replace, anything else only if it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pointcoc.files import atomic

RECORD = ".pointcoc-outputs.json"
MOST_NAMES = 5


class OutFolder:
    """A folder that receives files.

    The hidden file `RECORD` in it lists those that were written, with
    size and time of change, a line each.

    Args:
        path: the folder; made with the first file.
        overwrite: whether files may be replaced that are not in that list, or were changed since.
    """

    def __init__(self, path: str | Path, overwrite: bool = False) -> None:
        self.path = Path(path).expanduser()
        self.overwrite = overwrite
        self._made = self._read()

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file in the folder."""
        return self.path / name

    def check(self, names: Iterable[str]) -> None:
        """Raise if one of these files is there and was not written by an earlier call; before any work.

        Args:
            names: paths relative to the folder.

        Raises:
            FileExistsError: the message holds the files and what to do.
            NotADirectoryError: if the folder is a file.
        """
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"the folder of the results must be a folder, but {self.path} is a file")
        foreign = [] if self.overwrite else [name for name in names if self._is_foreign(name)]
        if foreign:
            more = f" and {len(foreign) - MOST_NAMES} more" if len(foreign) > MOST_NAMES else ""
            raise FileExistsError(
                f"{', '.join(str(self / name) for name in foreign[:MOST_NAMES])}{more} would be replaced: these files "
                "are no results of an earlier call; choose another folder, or --overwrite to replace them"
            )

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Yield a temporary path for a file, which takes its name at the end, and note it in the record.

        Args:
            name: path relative to the folder, with the ending of the file.

        Raises:
            FileExistsError: if the file is there and was not written by an earlier call.
        """
        self.check([name])
        target = self / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic(target) as temporary:
            # writers look at the ending
            named = temporary.with_name(f"{temporary.name}{target.suffix}")
            yield named
            named.rename(temporary)
        self.note(name)

    def note(self, name: str) -> None:
        """Note a file that was written into the folder."""
        self._made[name] = _state(self / name)
        with (self / RECORD).open("a", encoding="utf-8") as file:  # line by line: a kill loses nothing
            file.write(json.dumps([name, *self._made[name]]) + "\n")

    def _read(self) -> dict[str, list[int]]:
        try:
            lines = [json.loads(line) for line in (self / RECORD).read_text(encoding="utf-8").splitlines()]
            return {name: [size, changed] for name, size, changed in lines}
        except (OSError, ValueError, TypeError):  # no record, or a damaged one: nothing here is ours
            return {}

    def _is_foreign(self, name: str) -> bool:
        return (self / name).exists() and self._made.get(name) != _state(self / name)


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
