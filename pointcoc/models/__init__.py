"""Networks, their configurations and weights."""

from pointcoc.models.config import NetworkConfig
from pointcoc.models.network import ContextClusterNet, StageClusters
from pointcoc.models.presets import PRESETS, preset

__all__ = ["PRESETS", "ContextClusterNet", "NetworkConfig", "StageClusters", "preset"]
