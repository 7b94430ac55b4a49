"""What proposes the centers of uniform regions: the mean of some of their points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pointcoc.geometry.regions import UniformRegions

# R regions, n points in each, m proposals of centers per region.


class Proposals(NamedTuple):
    """Averages over the points of a region.

    Args:
        mean: the matrix that averages the points of each proposal, (m, n), or (R, m, n) where regions differ.
        exists: False for proposals without points, (m, 1) or (R, m, 1); None if there are none.
    """

    mean: Tensor
    exists: Tensor | None

    @classmethod
    def of(cls, regions: UniformRegions, dtype: torch.dtype) -> Proposals:
        """Read the proposals of regions; where all are alike, one matrix serves them.

        Args:
            regions: where points are clustered.
            dtype: of the matrix.
        """
        members = regions.members.to(dtype)
        members = members[0] if members.shape[0] == 1 else members
        count = members.sum(-1, keepdim=True)
        return cls(members / count.clamp(min=1), None if regions.all_exist else count > 0)
