"""What asks a kind of model about files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from pointcoc.data.image_files import read_image
from pointcoc.data.input_files import Input, find_inputs
from pointcoc.models.weights import WeightsInfo, load
from pointcoc.outputs import OutFolder

READING_ERRORS = (ValueError, OSError)
"""What an answer about a file that cannot be read raises."""
Write = Callable[[Input, Any], str | None]
"""Writes the answer about an input; returns a line that says so, or None."""


@dataclass(frozen=True, kw_only=True)
class Prediction(ABC):
    """A model, and how it is asked about files; a subclass for each kind of model has its options as further fields.

    Args:
        model: in evaluation mode.

    Attributes:
        needs_out: whether answers can only be written into a folder.
        common: names of the files of a folder of answers that hold those about all inputs.
    """

    needs_out: ClassVar[bool] = True
    common: ClassVar[tuple[str, ...]] = ()

    model: Any

    @property
    def kind(self) -> str:
        """Kind of the model."""
        return self.model.config.kind

    @property
    def reads_clouds(self) -> bool:
        """Whether inputs are clouds, not images."""
        return False

    @property
    def info(self) -> WeightsInfo:
        """What is known about the weights, such as names of classes."""
        return getattr(self.model, "weights_info", WeightsInfo())

    def read_image(self, file: Path) -> Tensor:
        """Read an image (see `pointcoc.data.image_files`) onto the device of the model."""
        return read_image(file).to(next(self.model.parameters()).device)

    @abstractmethod
    def answer(self, file: Path) -> Any:
        """Ask the model about a file.

        Raises:
            FileNotFoundError: if it is missing.
            ValueError: if it cannot be read.
        """

    def answers(self, files: Iterable[Path]) -> Iterator[Any]:
        """Ask the model about files, in order; a file that cannot be read gives the error in place of the answer."""
        for file in files:
            try:
                yield self.answer(file)
            except READING_ERRORS as error:
                yield error

    def outputs(self, one: Input) -> tuple[str, ...]:
        """Return the names of the files that the answer about an input becomes, apart from the `common` ones."""
        return ()

    @abstractmethod
    def writing(self, out: OutFolder | None, shown: bool = False) -> AbstractContextManager[Write]:
        """Open the folder of answers: yields what writes them one after the other; at its end all is written.

        Args:
            out: the folder; None where the kind of model needs none and none is wanted.
            shown: whether the lines about the answers are printed.
        """

    def write(
        self, files: Sequence[str | Path], out: str | Path | None = None, overwrite: bool = False, shown: bool = False
    ) -> None:
        """Write what the model says about files into a folder, one after the other; memory does not grow with them.

        Args:
            files: images or clouds, folders or globs of them, see `find_inputs`.
            out: folder to write; made if it is not there. Classifiers need none.
            overwrite: whether files may be replaced that no earlier call wrote.
            shown: show a bar and print the lines about the answers.

        Raises:
            FileExistsError: before any work, if a file would be replaced that no earlier call wrote.
            FileNotFoundError: if a folder or a glob holds nothing to read.
            ValueError: if there is no folder where one is needed; after all others are done, if files could not be
                read: the message lists them with their reasons.
        """
        inputs = find_inputs(files, self.reads_clouds)
        folder = None if out is None else OutFolder(out, overwrite)
        if folder is not None:
            folder.check([*self.common, *(name for one in inputs for name in self.outputs(one))])
        elif self.needs_out:
            raise ValueError("out must be a folder for what the model says about the files, got none")
        failures = self._write_all(inputs, folder, shown)
        if failures:
            raise ValueError(_tell(failures, len(inputs)))

    def _write_all(self, inputs: Sequence[Input], folder: OutFolder | None, shown: bool) -> dict[Path, str]:
        from tqdm import tqdm  # optional

        failures: dict[Path, str] = {}
        bar = tqdm(inputs, unit="file", disable=None if shown and len(inputs) > 1 else True)
        with bar, self.writing(folder, shown) as write:
            for one, answer in zip(inputs, self.answers(one.path for one in inputs), strict=True):
                if isinstance(answer, Exception):
                    failures[one.path] = str(answer)
                elif (line := write(one, answer)) is not None and shown:
                    tqdm.write(line)
                bar.update()
        return failures


def load_for_prediction(weights: str | Path) -> Any:
    """Load a model in float32, on the GPU if there is one."""
    return load(weights).float().to("cuda" if torch.cuda.is_available() else "cpu")


def _tell(failures: dict[Path, str], total: int) -> str:
    """Say which files could not be read and why."""
    if total == 1:
        return next(iter(failures.values()))
    others = "the others are done" if len(failures) < total else "nothing was written about them"
    lines = "".join(
        f"\n  {reason if str(path) in reason else f'{path}: {reason}'}" for path, reason in failures.items()
    )
    return f"{len(failures)} of {total} files could not be read; {others}:{lines}"
