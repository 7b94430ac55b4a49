"""Detection and instance segmentation: Mask R-CNN on the stages of a network. Needs the extra `detection`."""

from pointcoc.detection.coco_scores import coco_records, coco_scores
from pointcoc.detection.mask_rcnn import MaskRCNNConfig, TrueSizeMaskRCNN, mask_rcnn
from pointcoc.detection.prediction import ObjectPrediction, coco_dataset
from pointcoc.detection.true_sizes import TrueSizePyramid, TrueSizeRPN

__all__ = [
    "MaskRCNNConfig",
    "ObjectPrediction",
    "TrueSizeMaskRCNN",
    "TrueSizePyramid",
    "TrueSizeRPN",
    "coco_dataset",
    "coco_records",
    "coco_scores",
    "mask_rcnn",
]
