"""DGCNN on torch_geometric's EdgeConv, the other network that point-cloud benchmarks compare with.

The classifier of "Dynamic Graph CNN for Learning on Point Clouds" (ACM TOG 2019), as its authors set it for ModelNet40:
four edge convolutions of 64, 64, 128 and 256 channels over the 20 nearest points in feature space, all four outputs
joined to 1,024 channels, maximum and mean over the points, two hidden layers of 512 and 256.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import MLP, EdgeConv

from pointcoc import PointSet

# B sets of P points each, N = B P points, K neighbors, C channels.
LEAKY = {"act": "leaky_relu", "act_kwargs": {"negative_slope": 0.2}}


class DGCNN(nn.Module):
    """DGCNN classifier of clouds of one size; reads positions only.

    Args:
        num_classes: number of logits.
        neighbors: nearest points of each point, itself among them, K.
        dims: channels of the edge convolutions.
    """

    def __init__(self, num_classes: int, neighbors: int = 20, dims: tuple[int, ...] = (64, 64, 128, 256)) -> None:
        super().__init__()
        self.neighbors = neighbors
        ins = (3, *dims[:-1])
        self.convs = nn.ModuleList(
            EdgeConv(MLP([2 * i, o], plain_last=False, **LEAKY), aggr="max") for i, o in zip(ins, dims, strict=True)
        )
        self.joined = MLP([sum(dims), 1024], plain_last=False, **LEAKY)
        self.head = MLP([2048, 512, 256, num_classes], dropout=0.5, **LEAKY)

    def forward(self, points: PointSet) -> Tensor:
        """Classify clouds.

        Args:
            points: clouds of one size with positions in three dimensions; their features are not read.

        Returns:
            Logits (B, num_classes).

        Raises:
            ValueError: if the clouds differ in size or have fewer points than there are neighbors.
        """
        num_sets, x, outputs = points.num_sets, points.pos, []
        if len(x) % num_sets or not bool((points.batch.bincount() == len(x) // num_sets).all()):
            raise ValueError(f"clouds must have one size, got {points.batch.bincount().tolist()} points")
        for conv in self.convs:
            x = conv(x, nearest(x, num_sets, self.neighbors))
            outputs.append(x)
        x = self.joined(torch.cat(outputs, dim=1)).unflatten(0, (num_sets, -1))
        return self.head(torch.cat([x.amax(1), x.mean(1)], dim=1))


@torch.no_grad()
def nearest(x: Tensor, num_sets: int, neighbors: int) -> Tensor:
    """Edges (2, N K) to each point from the K nearest of its set.

    torch_geometric.nn.knn, which DynamicEdgeConv calls, refuses to run without pyg-lib.

    Args:
        x: features (N, C) of sets of one size.
        num_sets: B.
        neighbors: K, not above the points of a set.

    Raises:
        ValueError: if sets have fewer than K points.
    """
    sets = x.float().unflatten(0, (num_sets, -1))
    size = sets.shape[1]
    if size < neighbors:
        raise ValueError(f"clouds must have at least {neighbors} points, the neighbors, got {size}")
    with torch.autocast(x.device.type, enabled=False):
        near = torch.cdist(sets, sets).topk(neighbors, dim=2, largest=False, sorted=False).indices  # (B, P, K)
    near = near + size * torch.arange(num_sets, device=x.device)[:, None, None]
    to = torch.arange(len(x), device=x.device).repeat_interleave(neighbors)
    return torch.stack([near.flatten(), to])
