"""Semantic segmentation: a feature pyramid and its head on the stages of a network. Needs the extra `train`."""

from pointcoc.segmentation.inference import class_map, sliding_logits
from pointcoc.segmentation.metrics import Confusion
from pointcoc.segmentation.semantic_fpn import SemanticFPN, semantic_fpn

__all__ = ["Confusion", "SemanticFPN", "class_map", "semantic_fpn", "sliding_logits"]
