"""Layers, one a file."""

from pointcoc.nn.block import ClusterBlock
from pointcoc.nn.cluster import ContextCluster
from pointcoc.nn.fused_block import FusedBlock
from pointcoc.nn.mlp import Mlp
from pointcoc.nn.norm import SetNorm
from pointcoc.nn.reducer import CloudReducer, LatticeReducer, StepReducer

__all__ = [
    "CloudReducer",
    "ClusterBlock",
    "ContextCluster",
    "FusedBlock",
    "LatticeReducer",
    "Mlp",
    "SetNorm",
    "StepReducer",
]
