"""A stage: blocks on the same points, which enter region order once and leave it once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pointcoc.geometry import StagePlan
from pointcoc.ops import Assignment


class Stage(nn.ModuleList):
    """The blocks of one stage; points enter region order once and leave it once."""

    grad_checkpointing = False

    def forward(self, x: Tensor, plan: StagePlan, is_watched: bool = False) -> tuple[Tensor, list[Assignment]]:
        """Map the rows of the anchors (A, dim) to rows of the same order; assignments stay in region order.

        Args:
            x: the rows.
            plan: positions of the stage.
            is_watched: whether somebody reads the assignments; none are returned if not.
        """
        order = plan.regions.order
        x = x if order is None else order.enter(x)
        x, assignments = self.run(x, plan, is_watched)
        return x if order is None else order.leave(x), assignments

    def run(self, x: Tensor, plan: StagePlan, is_watched: bool) -> tuple[Tensor, list[Assignment]]:
        """Do what `forward` does, on rows that are in region order and stay in it.

        Args:
            x: the rows.
            plan: positions of the stage.
            is_watched: whether somebody reads the assignments.
        """
        assignments = []
        for block in self:
            x, assignment = self._run_block(block, x, plan)
            if is_watched:  # else its memory serves the next block, while a cache still holds it
                assignments.append(assignment.rows())
        return x, assignments

    def _run_block(self, block: nn.Module, x: Tensor, plan: StagePlan) -> tuple[Tensor, Assignment]:
        if self.grad_checkpointing and torch.is_grad_enabled():
            return checkpoint(block, x, plan.sets, plan.regions, use_reentrant=False)
        return block(x, plan.sets, plan.regions)
