"""What a trained model says about files: boxes, masks, classes of pixels and of points. Needs the extra `train`."""

from pointcoc.data.class_colors import class_colors
from pointcoc.data.cloud_files import Labeled, read_points, write_ply
from pointcoc.data.input_files import Input, find_inputs
from pointcoc.deprecation import moved
from pointcoc.predict.base import Prediction
from pointcoc.predict.classes import Classified, ClassPrediction, classify
from pointcoc.predict.files import Predictor, load_model, predict, prediction
from pointcoc.predict.images import draw_classes, draw_objects

__all__ = [
    "ClassPrediction",
    "Classified",
    "Input",
    "Labeled",
    "Prediction",
    "Predictor",
    "class_colors",
    "classify",
    "draw_classes",
    "draw_objects",
    "find_inputs",
    "load_model",
    "predict",
    "prediction",
    "read_points",
    "write_ply",
]
__getattr__ = moved(
    __name__, {"coco_dataset": "pointcoc.detection.coco_dataset", "label_cloud": "pointcoc.segmentation.label_cloud"}
)
