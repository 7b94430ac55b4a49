"""Semantic FPN: the maps of a backbone become one pyramid, its levels one map, and that the classes of the pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial, reduce
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork

from pointcoc.checks import check_range
from pointcoc.models.config import NetworkConfig
from pointcoc.models.dense import StageMaps, TimmMaps, dense_backbone, own_network, remade_backbone
from pointcoc.models.weights import HubMixin, Kind, changed
from pointcoc.segmentation.prediction import PixelPrediction

PYRAMID_CHANNELS = 256
HEAD_CHANNELS = 128
NORM = partial(nn.GroupNorm, 32)


@dataclass(frozen=True, kw_only=True)
class SemanticFPNConfig:
    """Arguments of `semantic_fpn` that make a model again; config.json holds them.

    Args:
        backbone: name of the backbone.
        num_classes: classes of a pixel.
        centers: centers per axis and region of a preset, or None.
        dropout: probability to zero a channel before the classifier.
        network: fields of the `NetworkConfig` of a backbone that began with weights of its own; None for one that its
            name makes again.
    """

    kind: ClassVar[str] = "semantic_fpn"

    backbone: str
    num_classes: int
    centers: int | None
    dropout: float
    network: Mapping[str, Any] | None = field(default=None, metadata={"fields_of": NetworkConfig})


class SemanticFPN(HubMixin):
    """A feature pyramid on a backbone and the head of Panoptic Feature Pyramid Networks (CVPR 2019), section 3.

    Each level of the pyramid (256 channels) goes through 3x3 convolutions (128 channels) with group norm and ReLU, each
    followed by an upsampling to the level below, until it has 4 pixels per point; the sum is classified by a 1x1
    convolution and enlarged to the size of the image.

    Args:
        backbone: what `pointcoc.models.dense.dense_backbone` makes, or `StageMaps(net)` of a network with weights.
        num_classes: classes of a pixel.
        dropout: probability to zero a channel before the classifier.

    Shapes:
        Input: images (B, C, H, W), any H and W; or a list of images (C, H, W) of any sizes.
        Output: logits (B, num_classes, H, W); for a list, one (num_classes, H, W) per image.

    Raises:
        ValueError: if num_classes or dropout is not allowed.
    """

    config_class = SemanticFPNConfig
    config: SemanticFPNConfig | None = None  # that of `semantic_fpn` with a name; a backbone as it is has none

    def __init__(self, backbone: StageMaps | TimmMaps, num_classes: int, dropout: float = 0.1):
        super().__init__()
        check_range("num_classes", num_classes, 2)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.num_classes = num_classes
        self.backbone = backbone
        self.pyramid = FeaturePyramidNetwork(list(backbone.channels), PYRAMID_CHANNELS)
        self.levels = nn.ModuleList(_level(max(1, level)) for level in range(len(backbone.channels)))
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = _classifier(num_classes)

    @classmethod
    def _empty(cls, config: SemanticFPNConfig) -> Any:
        if config.network is None:
            arguments = asdict(config)
            arguments.pop("network")
            return semantic_fpn(**arguments)  # some of timm's backbones hold tensors that no state names
        model = SemanticFPN(remade_backbone(config.network), config.num_classes, config.dropout)
        model.config = config
        return model

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the last convolution by a new one for `num_classes` classes, at least 2."""
        check_range("num_classes", num_classes, 2)
        self.num_classes = num_classes
        self.config = None if self.config is None else replace(self.config, num_classes=num_classes)
        self.classifier = _classifier(num_classes).to(next(self.parameters()))
        self.weights_info = changed(self.weights_info)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the inside of the backbone's blocks again in backward: less memory, more time."""
        self.backbone.set_grad_checkpointing(enable)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
        """Return the logits of all pixels."""
        if isinstance(images, Tensor):
            return self._classify(self.backbone(images), tuple(images.shape[-2:]))
        each = zip(self.backbone.each(images), images, strict=True)
        # One image at a time: group norm would see the padding of a common map.
        return [self._classify(maps, tuple(image.shape[-2:])).squeeze(0) for maps, image in each]

    def _classify(self, maps: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        pyramid = list(self.pyramid({str(level): one for level, one in enumerate(maps)}).values())
        total = reduce(torch.add, (self._raise(pyramid, level) for level in range(len(pyramid))))
        return _resize(self.classifier(self.dropout(total)), size)

    def _raise(self, pyramid: Sequence[Tensor], level: int) -> Tensor:
        """Bring a level to the finest one, step by step; sides that are odd need the true sizes, not a factor of 2."""
        x = pyramid[level]
        for step, convolve in enumerate(self.levels[level].children()):
            x = convolve(x)
            x = x if level == 0 else _resize(x, tuple(pyramid[level - 1 - step].shape[-2:]))
        return x


def semantic_fpn(
    backbone: str | StageMaps | TimmMaps = "coc_small",
    *,
    num_classes: int,
    centers: int | None = None,
    pretrained: bool = False,
    dropout: float = 0.1,
) -> SemanticFPN:
    """Make a Semantic FPN.

    Args:
        backbone: a preset such as coc_small or coc_medium, weights of a classifier of images as `pointcoc.load` takes
            them, a timm model such as resnet18, or a backbone as it is.
        num_classes: classes of a pixel: 150 for ADE20K.
        centers: centers per axis and region of a preset; 2, 5 and 7 are the 4, 25 and 49 centers of the paper.
        pretrained: start the backbone from weights of classification (see `dense_backbone`).
        dropout: probability to zero a channel before the classifier.

    Raises:
        ValueError: if a name is unknown or a value is not allowed, or a backbone comes with settings of its own making.
        FileNotFoundError: if `pretrained` finds no converted weights.
    """
    made = dense_backbone(backbone, centers, pretrained)
    model = SemanticFPN(made, num_classes, dropout)
    if isinstance(backbone, str):
        model.config = SemanticFPNConfig(
            backbone=backbone,
            num_classes=num_classes,
            centers=centers,
            dropout=dropout,
            network=own_network(backbone, made),
        )
    return model


def _classifier(num_classes: int) -> nn.Conv2d:
    classifier = nn.Conv2d(HEAD_CHANNELS, num_classes, 1)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)  # type: ignore[arg-type]
    return classifier


def _level(count: int) -> nn.Sequential:
    inputs = [PYRAMID_CHANNELS] + [HEAD_CHANNELS] * (count - 1)
    return nn.Sequential(*(Conv2dNormActivation(each, HEAD_CHANNELS, norm_layer=NORM, inplace=None) for each in inputs))


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


KIND = Kind(model=SemanticFPN, predict=PixelPrediction)
