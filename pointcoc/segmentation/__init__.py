"""Semantic segmentation of images and clouds on the stages of a network. Needs the extra `train`."""

from pointcoc.segmentation.class_weights import class_weights
from pointcoc.segmentation.inference import class_map, sliding_logits
from pointcoc.segmentation.metrics import Confusion
from pointcoc.segmentation.part_scores import PartScores, choose_parts
from pointcoc.segmentation.points import PointSegmenter, PointSegmenterConfig, point_segmentation
from pointcoc.segmentation.prediction import PixelPrediction, PointPrediction, label_cloud
from pointcoc.segmentation.propagation import Propagation, propagation, propagations
from pointcoc.segmentation.scene_views import SceneViews, scene_scores
from pointcoc.segmentation.semantic_fpn import SemanticFPN, SemanticFPNConfig, semantic_fpn

__all__ = [
    "Confusion",
    "PartScores",
    "PixelPrediction",
    "PointPrediction",
    "PointSegmenter",
    "PointSegmenterConfig",
    "Propagation",
    "SceneViews",
    "SemanticFPN",
    "SemanticFPNConfig",
    "choose_parts",
    "class_map",
    "class_weights",
    "label_cloud",
    "point_segmentation",
    "propagation",
    "propagations",
    "scene_scores",
    "semantic_fpn",
    "sliding_logits",
]
