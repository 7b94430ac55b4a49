"""What a trained model of dense prediction says about files: boxes, masks, classes of pixels and of points.

Needs the extra `detection`.
"""

from pointcoc.predict.clouds import Labeled, label_cloud, read_points, write_ply
from pointcoc.predict.colors import class_colors
from pointcoc.predict.files import Predictor, predict
from pointcoc.predict.images import coco_dataset, draw_classes, draw_objects
from pointcoc.predict.models import load_model

__all__ = [
    "Labeled",
    "Predictor",
    "class_colors",
    "coco_dataset",
    "draw_classes",
    "draw_objects",
    "label_cloud",
    "load_model",
    "predict",
    "read_points",
    "write_ply",
]
