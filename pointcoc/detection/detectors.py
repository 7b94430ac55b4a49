"""What Mask R-CNN and Faster R-CNN share: torchvision's detectors on a pyramid over the stages of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights, resnet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.poolers import initLevelMapper

from pointcoc.detection.thin_images import ThinTransform
from pointcoc.detection.true_sizes import SIZE_DIVISIBLE, TrueSizePyramid, TrueSizeRPN, repeat_edges
from pointcoc.models.config import NetworkConfig
from pointcoc.models.dense import StageMaps, TimmMaps, dense_backbone, own_network, remade_backbone
from pointcoc.models.presets import PRESETS
from pointcoc.models.weights import HubMixin, changed

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Arguments that make a detector again; config.json holds them.

    Args:
        backbone: name of the backbone.
        num_classes: classes of an object, the background included.
        centers: centers per axis and region of a preset, or None.
        min_size: short side that images are resized to, in pixels.
        max_size: longest side allowed.
        box_score_thresh: lowest score of a box that is returned.
        network: fields of the `NetworkConfig` of a backbone that began with weights of its own; None for one that its
            name makes again.
    """

    backbone: str
    num_classes: int
    centers: int | None
    min_size: int
    max_size: int
    box_score_thresh: float
    network: Mapping[str, Any] | None = field(default=None, metadata={"fields_of": NetworkConfig})


class TrueSizeDetector(HubMixin):
    """A detector of torchvision where an image in a padded batch has the results that it has alone.

    The base, beside a class of torchvision, of `TrueSizeMaskRCNN` and `TrueSizeFasterRCNN`.

    Args:
        backbone: backbone of `pointcoc.models.dense_backbone`, or `StageMaps(net)` of a network with weights.
        num_classes: classes of an object, the background included: 91 for COCO.
        min_size: short side that images are resized to, in pixels.
        max_size: longest side allowed; it wins over `min_size`.
        box_score_thresh: lowest score of a box that is returned.
        box_batch_size_per_image: proposals per image that train, at least 4: at most a quarter lies on objects, and
            those alone train boxes and masks.
    """

    # torchvision's modules have no types
    __getattr__: Any
    backbone: Any
    transform: Any
    roi_heads: Any
    config: Any = None  # that of a detector made by the name of a backbone; a backbone as it is has none
    torchvision_class: ClassVar[Any]

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
        self.transform = ThinTransform(self.transform)
        self.rpn: TrueSizeRPN = TrueSizeRPN(self.rpn)  # type: ignore[has-type]
        for pool in (self.roi_heads.box_roi_pool, self.roi_heads.mask_roi_pool):
            if pool is None:
                continue
            # torchvision infers them from the first batch, wrongly for images below about 64 pixels.
            pool.scales = [1 / 4, 1 / 8, 1 / 16, 1 / 32]
            pool.map_levels = initLevelMapper(2, 5, canonical_scale=224, canonical_level=4)

    @classmethod
    def _empty(cls, config: Any) -> Any:
        settings = asdict(config)  # torchvision holds anchors that no state names
        network, name, centers = settings.pop("network"), settings.pop("backbone"), settings.pop("centers")
        if network is None:
            return make_detector(cls, cls.torchvision_class, name, centers, False, settings)
        model: Any = cls(remade_backbone(network), **settings)
        model.config = config
        return model

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last layers of classes, and of what depends on them, by new ones.

        Args:
            num_classes: classes of an object, the background included, at least 2.
        """
        check_classes(num_classes)
        self.config = None if self.config is None else replace(self.config, num_classes=num_classes)
        like, heads = next(self.parameters()), self.roi_heads
        heads.box_predictor = FastRCNNPredictor(heads.box_predictor.cls_score.in_features, num_classes).to(like)
        self.weights_info = changed(self.weights_info)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the inside of the backbone's blocks again in backward: less memory, more time."""
        self.backbone.backbone.set_grad_checkpointing(enable)

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Return losses in training, detections else.

        Args:
            images: (3, H, W) each.
            targets: needed in training (see the class).

        Raises:
            ValueError: if targets are missing in training, or a box has no area.
        """
        _check_targets(targets, len(images), self.training)
        originals = [(image.shape[-2], image.shape[-1]) for image in images]
        batch, targets = self.transform(list(images), None if targets is None else [dict(one) for one in targets])
        features = self.backbone(batch.tensors, batch.image_sizes)
        proposals, losses = self.rpn(batch, features, targets)
        features = repeat_edges(features, batch.image_sizes)
        detections, more = self.roi_heads(features, proposals, batch.image_sizes, targets)
        if self.training:
            return losses | more
        return self.transform.postprocess(detections, batch.image_sizes, originals)


def make_detector(
    own: Any,
    other: Any,
    backbone: str | StageMaps | TimmMaps,
    centers: int | None,
    pretrained: bool,
    settings: Mapping[str, Any],
    **training: Any,
) -> Any:
    """Make a detector.

    Args:
        own: subclass of `TrueSizeDetector`.
        other: torchvision's class, for its own backbones.
        backbone: see `mask_rcnn`.
        centers: see `mask_rcnn`.
        pretrained: see `mask_rcnn`.
        settings: those of the configuration besides.
        **training: what only training reads.
    """
    _check_rois(training.get("box_batch_size_per_image", 4))
    check_classes(settings["num_classes"])
    network = None
    if isinstance(backbone, str) and backbone in RESNETS:
        model = other(_resnet(backbone, centers, pretrained), **settings, **training)
        model.transform = ThinTransform(model.transform)
    else:
        made = _backbone(backbone, centers, pretrained)
        model, network = own(made, **settings, **training), own_network(backbone, made)
    if isinstance(backbone, str):
        # torchvision's class has no such field; `save_model` looks for it.
        model.config = own.config_class(backbone=backbone, centers=centers, network=network, **settings)
    return model


def _backbone(backbone: str | StageMaps | TimmMaps, centers: int | None, pretrained: bool) -> StageMaps | TimmMaps:
    try:
        made = dense_backbone(backbone, centers, pretrained)
    except ValueError as error:
        if isinstance(backbone, str) and str(error).startswith("unknown backbone"):
            raise _unknown(backbone) from error
        raise
    if isinstance(backbone, str) and not isinstance(made, StageMaps):
        raise _unknown(backbone)
    return made


def _unknown(backbone: str) -> ValueError:
    presets = [name for name, config in PRESETS.items() if config.strides == (4, 2, 2, 2)]
    return ValueError(
        f"unknown backbone {backbone!r}; choose from {', '.join((*presets, *RESNETS))}, or weights of a classifier"
    )


def _resnet(name: str, centers: int | None, pretrained: bool) -> nn.Module:
    """A ResNet with pyramid; without weights its norms and all its layers are trained, as torchvision does."""
    if centers is not None:
        raise ValueError(f"centers are a setting of our presets, got centers {centers} for {name!r}: leave it out")
    weights: Any = get_model_weights(getattr(resnet, name)).DEFAULT if pretrained else None  # type: ignore[attr-defined]
    norm = FrozenBatchNorm2d if pretrained else nn.BatchNorm2d
    return resnet_fpn_backbone(
        backbone_name=name, weights=weights, norm_layer=norm, trainable_layers=3 if pretrained else 5
    )


def check_classes(num_classes: int) -> None:
    """Raise ValueError unless there is a class besides the background."""
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
