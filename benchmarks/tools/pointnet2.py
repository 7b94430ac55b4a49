"""PointNet++ on torch_geometric's layers, the network that point-cloud benchmarks compare with.

The classifier of torch_geometric's `examples/pointnet2_classification.py`: two levels that halve and quarter the points
(1,024 -> 512 -> 128), one level over the whole set, three linear layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import MLP, PointNetConv, global_max_pool

from pointcoc import PointSet

try:  # torch_geometric.nn.fps refuses to run without pyg-lib, even where torch-cluster is installed
    import torch_cluster
except ImportError as error:
    raise ImportError("the PointNet++ benchmark needs torch-cluster: pip install torch-cluster") from error

# N points and E edges of a batch, A anchors, C channels, B sets.


class SetAbstraction(nn.Module):
    """One level: anchors by farthest points, each the maximum of a network over the points within a radius.

    PointNet++ (NeurIPS 2017), section 3.2:  x_i = max_{j: |p_j - p_i| < r} mlp([x_j, p_j - p_i]).

    Args:
        ratio: share of the points that become anchors.
        radius: units of `pos`.
        mlp: network of C + 3 input channels, C those of the points.
        max_neighbors: most points of one anchor; of more, the first found.
    """

    def __init__(self, ratio: float, radius: float, mlp: MLP, max_neighbors: int = 64) -> None:
        super().__init__()
        self.ratio, self.radius, self.max_neighbors = ratio, radius, max_neighbors
        self.conv = PointNetConv(mlp, add_self_loops=False)

    def forward(self, x: Tensor | None, pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map points (N, C) to anchors (A, C'), with positions (A, 3) and sets (A,).

        The first anchor of a set is random in training and its first point in evaluation.

        Args:
            x: features (N, C), or None for positions alone.
            pos: positions (N, 3).
            batch: set of each point (N,), ascending.

        Returns:
            Features, positions and sets of the anchors.
        """
        anchors = torch_cluster.fps(pos, batch, ratio=self.ratio, random_start=self.training)
        anchor, point = torch_cluster.radius(
            pos, pos[anchors], self.radius, batch, batch[anchors], max_num_neighbors=self.max_neighbors
        )
        edges = torch.stack([point, anchor])  # (2, E)
        x_anchor = None if x is None else x[anchors]
        return self.conv((x, x_anchor), (pos, pos[anchors]), edges), pos[anchors], batch[anchors]


class PointNet2(nn.Module):
    """PointNet++ classifier of clouds; reads positions only, meant for clouds in the unit ball.

    Args:
        num_classes: number of logits.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.level1 = SetAbstraction(0.5, 0.2, MLP([3, 64, 64, 128]))
        self.level2 = SetAbstraction(0.25, 0.4, MLP([128 + 3, 128, 128, 256]))
        self.whole = MLP([256 + 3, 256, 512, 1024])
        self.head = MLP([1024, 512, 256, num_classes], dropout=0.5, norm=None)

    def forward(self, points: PointSet) -> Tensor:
        """Classify clouds.

        Args:
            points: clouds with positions in three dimensions; their features are not read.

        Returns:
            Logits (B, num_classes).

        Raises:
            ValueError: if the positions are not in three dimensions.
        """
        if points.pos.shape[1] != 3:
            raise ValueError(f"points.pos must have 3 coordinates, got {points.pos.shape[1]}")
        x, pos, batch = self.level1(None, points.pos, points.batch)
        x, pos, batch = self.level2(x, pos, batch)
        x = self.whole(torch.cat([x, pos], dim=1))
        return self.head(global_max_pool(x, batch, size=points.num_sets))
