"""What a trained model of dense prediction says about files: boxes, masks, classes of pixels and of points.

Needs the extra `detection`.
"""

from pointcoc.data.class_colors import class_colors
from pointcoc.data.cloud_files import Labeled, read_points, write_ply
from pointcoc.predict.clouds import label_cloud
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
