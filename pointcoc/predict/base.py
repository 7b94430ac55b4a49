"""What asks a kind of model about files."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from pointcoc.data.image_files import read_image
from pointcoc.models.weights import WeightsInfo, load


@dataclass(frozen=True, kw_only=True)
class Prediction(ABC):
    """A model, and how it is asked about files; a subclass for each kind of model has its options as further fields.

    Args:
        model: in evaluation mode.

    Attributes:
        needs_out: whether `write` needs a folder.
    """

    needs_out: ClassVar[bool] = True

    model: Any

    @property
    def kind(self) -> str:
        """Kind of the model."""
        return self.model.config.kind

    @property
    def info(self) -> WeightsInfo:
        """What is known about the weights, such as names of classes."""
        return getattr(self.model, "weights_info", WeightsInfo())

    def read_image(self, file: Path) -> Tensor:
        """Read an image (see `pointcoc.data.image_files`) onto the device of the model."""
        return read_image(file).to(next(self.model.parameters()).device)

    @abstractmethod
    def write(self, files: Sequence[Path], out: Any) -> None:
        """Write what the model says about files into a folder.

        Args:
            files: images or clouds.
            out: the folder; None where the kind of model needs none and none is wanted.
        """


def load_for_prediction(weights: str | Path) -> Any:
    """Load a model in float32, on the GPU if there is one."""
    return load(weights).float().to("cuda" if torch.cuda.is_available() else "cpu")
