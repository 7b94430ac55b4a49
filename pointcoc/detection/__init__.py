"""Detection: Mask R-CNN and Faster R-CNN on the stages of a network. Needs the extra `detection`."""

from pointcoc.detection.coco_scores import coco_records, coco_scores
from pointcoc.detection.faster_rcnn import FasterRCNNConfig, TrueSizeFasterRCNN, faster_rcnn
from pointcoc.detection.found import Found, find_objects
from pointcoc.detection.mask_rcnn import MaskRCNNConfig, TrueSizeMaskRCNN, mask_rcnn
from pointcoc.detection.prediction import ObjectPrediction, coco_dataset
from pointcoc.detection.true_sizes import TrueSizePyramid, TrueSizeRPN

__all__ = [
    "FasterRCNNConfig",
    "Found",
    "MaskRCNNConfig",
    "ObjectPrediction",
    "TrueSizeFasterRCNN",
    "TrueSizeMaskRCNN",
    "TrueSizePyramid",
    "TrueSizeRPN",
    "coco_dataset",
    "coco_records",
    "coco_scores",
    "faster_rcnn",
    "find_objects",
    "mask_rcnn",
]
