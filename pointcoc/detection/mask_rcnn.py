"""Mask R-CNN: torchvision's, on a pyramid over the four stages of a network, with the true sizes of the images."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor

from pointcoc.detection.detectors import DetectorConfig, TrueSizeDetector, make_detector
from pointcoc.detection.prediction import ObjectPrediction
from pointcoc.models.dense import StageMaps, TimmMaps
from pointcoc.models.weights import Kind


@dataclass(frozen=True, kw_only=True)
class MaskRCNNConfig(DetectorConfig):
    """Arguments of `mask_rcnn` that make a model again; see `DetectorConfig`."""

    kind: ClassVar[str] = "mask_rcnn"


class TrueSizeMaskRCNN(TrueSizeDetector, MaskRCNN):
    """torchvision's Mask R-CNN where an image in a padded batch has the results that it has alone.

    See `TrueSizeDetector` for the arguments.

    Shapes:
        Input: a list of images (3, H, W) in [0, 1] of any sizes; in training also their targets: dicts with boxes
            (n, 4) as x1, y1, x2, y2, labels (n,) from 1, masks (n, H, W), n may be 0.
        Output: in training a dict of losses, else for each image a dict of boxes, labels, scores and masks
            (n, 1, H, W).
    """

    config_class = MaskRCNNConfig
    torchvision_class = MaskRCNN

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last layers of classes, boxes and masks by new ones.

        Args:
            num_classes: classes of an object, the background included, at least 2.
        """
        super().reset_classifier(num_classes)
        masks = self.roi_heads.mask_predictor
        channels = (masks.conv5_mask.in_channels, masks.conv5_mask.out_channels)
        logits = MaskRCNNPredictor(*channels, num_classes).mask_fcn_logits
        masks.mask_fcn_logits = logits.to(next(self.parameters()))


def mask_rcnn(
    backbone: str | StageMaps | TimmMaps = "coc_small",
    *,
    num_classes: int = 91,
    centers: int | None = None,
    pretrained: bool = False,
    min_size: int = 800,
    max_size: int = 1333,
    box_score_thresh: float = 0.05,
    box_batch_size_per_image: int = 512,
) -> MaskRCNN:
    """Make a Mask R-CNN.

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
            those alone train boxes and masks. Fewer train faster.

    Returns:
        `TrueSizeMaskRCNN`; for a ResNet torchvision's own MaskRCNN, as torchvision makes it.

    Raises:
        ValueError: if a name is unknown or a value is not allowed.
        FileNotFoundError: if `pretrained` finds no converted weights of a preset.
    """
    settings: dict[str, Any] = {
        "num_classes": num_classes, "min_size": min_size, "max_size": max_size, "box_score_thresh": box_score_thresh,
    }  # fmt: skip
    training = {"box_batch_size_per_image": box_batch_size_per_image}
    return make_detector(TrueSizeMaskRCNN, MaskRCNN, backbone, centers, pretrained, settings, **training)


KIND = Kind(model=TrueSizeMaskRCNN, predict=ObjectPrediction)
