"""Networks, their configurations and weights."""

from pointcoc.deprecation import moved
from pointcoc.models.clusters import Centers, StageClusters
from pointcoc.models.config import NetworkConfig
from pointcoc.models.dense import StageMaps, TimmMaps, dense_backbone
from pointcoc.models.folded_network import FoldedNet
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.pointmlp_coc import PointMLPCoC
from pointcoc.models.pointmlp_config import PointMLPConfig
from pointcoc.models.presets import PRESETS, preset
from pointcoc.models.transfer import Transfer, copy_stages, open_network, with_stages_of
from pointcoc.models.weights import CloudTransform, ImageTransform, WeightsInfo, load, save_model

__all__ = [
    "PRESETS",
    "Centers",
    "CloudTransform",
    "ContextClusterNet",
    "FoldedNet",
    "ImageTransform",
    "NetworkConfig",
    "PointMLPCoC",
    "PointMLPConfig",
    "StageClusters",
    "StageMaps",
    "TimmMaps",
    "Transfer",
    "WeightsInfo",
    "copy_stages",
    "dense_backbone",
    "load",
    "open_network",
    "preset",
    "save_model",
    "with_stages_of",
]

__getattr__ = moved(__name__, {"FusedNet": "pointcoc.models.FoldedNet"})
