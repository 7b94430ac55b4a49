"""Layers, one a file."""

from pointcoc.deprecation import moved
from pointcoc.nn.block import ClusterBlock
from pointcoc.nn.cluster import ContextCluster
from pointcoc.nn.folded_block import FoldedBlock
from pointcoc.nn.mlp import Mlp
from pointcoc.nn.norm import NORMS, BatchNorm, SetNorm
from pointcoc.nn.reducer import CloudReducer, LatticeReducer, StepReducer
from pointcoc.nn.stage import Stage

__all__ = [
    "NORMS",
    "BatchNorm",
    "CloudReducer",
    "ClusterBlock",
    "ContextCluster",
    "FoldedBlock",
    "LatticeReducer",
    "Mlp",
    "SetNorm",
    "Stage",
    "StepReducer",
]

__getattr__ = moved(__name__, {"FusedBlock": "pointcoc.nn.FoldedBlock"})
