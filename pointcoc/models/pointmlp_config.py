"""The configuration and the presets of `PointMLPCoC`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pointcoc.models.fields import COUNTS, check_fields, fill_stages, replace_settings, setting

PER_STAGE = ("depths", "group_depths", "dims", "strides", "neighbors")


@dataclass(frozen=True, kw_only=True)
class PointMLPConfig:
    """Settings of a `PointMLPCoC`; the defaults are those of the preset pointmlp_coc.

    Entries per stage are tuples of one length; one value stands for all stages.

    Args:
        num_classes: outputs of the classifier; 0 for none.
        in_channels: features of a point; 3 for its coordinates, as in the official network.
        embed_dim: channels of the points before the first stage.
        depths: blocks on the anchors per stage.
        group_depths: blocks in the groups of the anchors per stage.
        dims: channels of the anchors per stage.
        strides: points per anchor per stage; a set of n points has floor(n / stride) anchors.
        neighbors: nearest points in the group of an anchor per stage.
        hidden_dims: channels of the layers before the classifier.
        dropout: probability to drop a feature after each of these layers while training.

    Raises:
        ValueError: if a value is not allowed; the message names the field, what came and what is allowed.
    """

    kind: ClassVar[str] = "pointmlp_coc"

    num_classes: int = setting(15, "head", "be an integer of at least 0")
    in_channels: int = setting(3, "input", "be an integer of at least 1")
    embed_dim: int = setting(64, "stages", "be an integer of at least 1")
    depths: tuple[int, ...] = setting((2, 2, 2, 2), "stages", COUNTS)
    group_depths: tuple[int, ...] = setting((2, 2, 2, 2), "stages", COUNTS)
    dims: tuple[int, ...] = setting((128, 256, 512, 1024), "stages", COUNTS)
    strides: tuple[int, ...] = setting((2, 2, 2, 2), "positions", COUNTS)
    neighbors: tuple[int, ...] = setting((24, 24, 24, 24), "positions", COUNTS)
    hidden_dims: tuple[int, ...] = setting((512, 256), "head", COUNTS)
    dropout: float = setting(0.5, "training", "be in [0, 1)")

    def __post_init__(self) -> None:
        fill_stages(self, PER_STAGE)
        if not isinstance(self.hidden_dims, Sequence):
            raise ValueError(
                f"hidden_dims must hold the channels of each layer before the classifier, got {self.hidden_dims!r}"
            )
        object.__setattr__(self, "hidden_dims", tuple(self.hidden_dims))
        check_fields(self)

    @property
    def num_stages(self) -> int:
        """Number of stages, the length of `depths`."""
        return len(self.depths)

    @property
    def points_needed(self) -> tuple[int, ...]:
        """Fewest points of a set, for the neighbors of each stage, and for an anchor after the last."""
        return tuple(k * math.prod(self.strides[:s]) for s, k in enumerate((*self.neighbors, 1)))

    def replace(self, **overrides: Any) -> Self:
        """Return a copy with other values; one value for an entry per stage stands for all stages.

        Raises:
            ValueError: if a name is not a field.
        """
        return replace_settings(self, overrides)


POINTMLP_PRESETS: dict[str, PointMLPConfig] = {"pointmlp_coc": PointMLPConfig()}
