"""Mask R-CNN: torchvision's, on a pyramid over the four stages of a network, with the true sizes of the images."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor

from pointcoc.detection.detectors import DetectorConfig, TrueSizeDetector, make_detector
from pointcoc.detection.prediction import ObjectPrediction
from pointcoc.detection.thin_images import ThinTransform
from pointcoc.detection.true_sizes import SIZE_DIVISIBLE, TrueSizePyramid, TrueSizeRPN, repeat_edges
from pointcoc.models.dense import StageMaps, TimmMaps, dense_backbone
from pointcoc.models.presets import PRESETS
from pointcoc.models.weights import HubMixin, Kind, changed

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


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
    __getattr__: Any  # torchvision's modules have no types
    config: MaskRCNNConfig | None = None  # that of `mask_rcnn` with a name; a backbone as it is has none

    def __init__(
        self,
        backbone: StageMaps | TimmMaps,
        num_classes: int,
        min_size: int = 800,
        max_size: int = 1333,
        box_score_thresh: float = 0.05,
        box_batch_size_per_image: int = 512,
    ):
        _check_rois(box_batch_size_per_image)
        super().__init__(
            TrueSizePyramid(backbone),
            num_classes,
            min_size=min_size,
            max_size=max_size,
            box_score_thresh=box_score_thresh,
            box_batch_size_per_image=box_batch_size_per_image,
            size_divisible=SIZE_DIVISIBLE,
        )
        self.transform: ThinTransform = ThinTransform(self.transform)  # type: ignore[has-type]
        self.rpn: TrueSizeRPN = TrueSizeRPN(self.rpn)  # type: ignore[has-type]
        for pool in (self.roi_heads.box_roi_pool, self.roi_heads.mask_roi_pool):
            # torchvision infers them from the first batch, wrongly for images below about 64 pixels.
            pool.scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
            pool.map_levels = initLevelMapper(2, 5, canonical_scale=224, canonical_level=4)

    @classmethod
    def _empty(cls, config: MaskRCNNConfig) -> Any:
        return mask_rcnn(**asdict(config))  # torchvision holds anchors that no state names

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
    if isinstance(backbone, str) and backbone in RESNETS:
        model = MaskRCNN(_resnet(backbone, centers, pretrained), num_classes, **sizes, **training)
        model.transform = ThinTransform(model.transform)
    else:
        model = TrueSizeMaskRCNN(_backbone(backbone, centers, pretrained), num_classes, **sizes, **training)
    if isinstance(backbone, str):
        # torchvision's class has no such field; `save_model` looks for it.
        model.config = MaskRCNNConfig(backbone=backbone, num_classes=num_classes, centers=centers, **sizes)
    return model


def _backbone(backbone: str | StageMaps | TimmMaps, centers: int | None, pretrained: bool) -> StageMaps | TimmMaps:
    if isinstance(backbone, str) and backbone not in PRESETS:
        presets = [name for name, config in PRESETS.items() if config.strides == (4, 2, 2, 2)]
        raise ValueError(f"unknown backbone {backbone!r}; choose from {', '.join((*presets, *RESNETS))}")
    return dense_backbone(backbone, centers, pretrained)


def _resnet(name: str, centers: int | None, pretrained: bool) -> nn.Module:
    """A ResNet with pyramid; without weights its norms and all its layers are trained, as torchvision does."""
    if centers is not None:
        raise ValueError(f"centers are a setting of our presets, got centers {centers} for {name!r}: leave it out")
    weights: Any = get_model_weights(getattr(resnet, name)).DEFAULT if pretrained else None  # type: ignore[attr-defined]
    norm = FrozenBatchNorm2d if pretrained else nn.BatchNorm2d
    return resnet_fpn_backbone(
        backbone_name=name, weights=weights, norm_layer=norm, trainable_layers=3 if pretrained else 5
    )


def _check_classes(num_classes: int) -> None:
    if num_classes < 2:
        raise ValueError(f"num_classes counts the background and must be at least 2, got {num_classes}")


def _check_rois(box_batch_size_per_image: int) -> None:
    if box_batch_size_per_image < 4:
        raise ValueError(
            "box_batch_size_per_image must be at least 4, so that one proposal in four may lie on an object, got "
            f"{box_batch_size_per_image}"
        )


def _check_targets(targets: Sequence[Mapping[str, Tensor]] | None, num_images: int, is_training: bool) -> None:
    if targets is None and is_training:
        raise ValueError("targets must be given in training, got None; call eval() for detections")
    if targets is not None and len(targets) != num_images:
        raise ValueError(f"targets must hold one entry per image ({num_images}), got {len(targets)}")
    for row, boxes in enumerate(target["boxes"] for target in targets or ()):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes must have shape (n, 4), got {tuple(boxes.shape)} for image {row}")
        flat = (boxes[:, 2:] <= boxes[:, :2]).any(1)
        if bool(flat.any()):
            raise ValueError(f"boxes must have an area, got {boxes[torch.where(flat)[0][0]].tolist()} for image {row}")


KIND = Kind(model=TrueSizeMaskRCNN, predict=ObjectPrediction)
