"""Faster R-CNN: torchvision's, on a pyramid over the four stages of a network, with the true sizes of the images."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torchvision.models.detection import FasterRCNN

from pointcoc.detection.detectors import DetectorConfig, TrueSizeDetector, make_detector
from pointcoc.detection.prediction import ObjectPrediction
from pointcoc.models.dense import StageMaps, TimmMaps
from pointcoc.models.weights import Kind


@dataclass(frozen=True, kw_only=True)
class FasterRCNNConfig(DetectorConfig):
    """Arguments of `faster_rcnn` that make a model again; see `DetectorConfig`."""

    kind: ClassVar[str] = "faster_rcnn"


class TrueSizeFasterRCNN(TrueSizeDetector, FasterRCNN):
    """torchvision's Faster R-CNN where an image in a padded batch has the results that it has alone.

    It finds boxes without masks. See `TrueSizeDetector` for the arguments.

    Shapes:
        Input: a list of images (3, H, W) in [0, 1] of any sizes; in training also their targets: dicts with boxes
            (n, 4) as x1, y1, x2, y2, labels (n,) from 1, n may be 0.
        Output: in training a dict of losses, else for each image a dict of boxes, labels and scores.
    """

    config_class = FasterRCNNConfig
    torchvision_class = FasterRCNN


def faster_rcnn(
    backbone: str | StageMaps | TimmMaps = "coc_small",
    *,
    num_classes: int = 91,
    centers: int | None = None,
    pretrained: bool = False,
    min_size: int = 800,
    max_size: int = 1333,
    box_score_thresh: float = 0.05,
    box_batch_size_per_image: int = 512,
) -> FasterRCNN:
    """Make a Faster R-CNN, which finds boxes without masks.

    Args:
        backbone: a preset such as coc_small or coc_medium, weights of a classifier of images as `pointcoc.load` takes
            them, a ResNet of torchvision for comparison, or a backbone.
        num_classes: classes of an object, the background included: 91 for COCO.
        centers: centers per axis and region of a preset; 2, 5 and 7 are the 4, 25 and 49 centers of the paper.
        pretrained: start the backbone from weights of classification.
        min_size: short side that images are resized to, in pixels.
        max_size: longest side allowed; it wins over `min_size`.
        box_score_thresh: lowest score of a box that is returned.
        box_batch_size_per_image: proposals per image that train, at least 4: at most a quarter lies on objects, and
            those alone train boxes. Fewer train faster.

    Returns:
        `TrueSizeFasterRCNN`; for a ResNet torchvision's own FasterRCNN, as torchvision makes it.

    Raises:
        ValueError: if a name is unknown or a value is not allowed.
        FileNotFoundError: if `pretrained` finds no converted weights of a preset.
    """
    settings: dict[str, Any] = {
        "num_classes": num_classes, "min_size": min_size, "max_size": max_size, "box_score_thresh": box_score_thresh,
    }  # fmt: skip
    training = {"box_batch_size_per_image": box_batch_size_per_image}
    return make_detector(TrueSizeFasterRCNN, FasterRCNN, backbone, centers, pretrained, settings, **training)


KIND = Kind(model=TrueSizeFasterRCNN, predict=ObjectPrediction)
