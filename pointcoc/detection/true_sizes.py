"""Parts of Mask R-CNN that know the true size of each image, so that the padding of a batch takes part in nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers
from torchvision.ops import FeaturePyramidNetwork

from pointcoc.models.dense import REDUCTIONS, StageMaps, TimmMaps

Sizes = Sequence[tuple[int, int]]
CHANNELS = 256
SIZE_DIVISIBLE = 64
"""Padded sides are multiples of the coarsest level's step: else the step of its anchors would depend on the padding."""


class TrueSizePyramid(nn.Module):
    """A feature pyramid whose levels are zero outside each image, before and after every convolution.

    Args:
        backbone: what `pointcoc.models.dense_backbone` makes, or `StageMaps(net)` of a network with weights.
    """

    out_channels = CHANNELS

    def __init__(self, backbone: StageMaps | TimmMaps):
        super().__init__()
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(list(backbone.channels), CHANNELS)

    def forward(self, images: Tensor, sizes: Sizes) -> OrderedDict[str, Tensor]:
        """Return the levels "0" to "3" and "pool", 4 to 64 pixels per point.

        Args:
            images: padded at the bottom and the right, shape (B, C, H, W), H and W multiples of 64.
            sizes: true (height, width) of each image.
        """
        each = self.backbone.each([image[:, :h, :w] for image, (h, w) in zip(images, sizes, strict=True)])
        shapes = [(images.shape[2] // r, images.shape[3] // r) for r in REDUCTIONS]
        levels = [_batch(maps, shape) for maps, shape in zip(zip(*each, strict=True), shapes, strict=True)]
        masks = [_inside(shape, sizes, r, images) for shape, r in zip(shapes, REDUCTIONS, strict=True)]
        results = self._top_down(levels, masks)
        results.append(F.max_pool2d(results[-1], 1, 2))
        return OrderedDict(zip(("0", "1", "2", "3", "pool"), results, strict=True))

    def _top_down(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        results: list[Tensor] = []
        inner = None
        for level in reversed(range(len(levels))):
            lateral = self.fpn.get_result_from_inner_blocks(levels[level], level)
            inner = lateral if inner is None else lateral + F.interpolate(inner, lateral.shape[-2:], mode="nearest")
            result = self.fpn.get_result_from_layer_blocks(inner * masks[level], level)
            results.insert(0, result * masks[level])
        return results


class TrueSizeRPN(RegionProposalNetwork):
    """Region proposals from anchors inside the images: those in the padding are neither proposed nor trained on.

    Args:
        rpn: the network whose parts and settings it takes over.
    """

    def __init__(self, rpn: RegionProposalNetwork):
        nn.Module.__init__(self)
        self.__dict__.update(rpn.__dict__)  # torchvision keeps no list of the arguments it was made with

    def forward(
        self, images: ImageList, features: Mapping[str, Tensor], targets: Sequence[dict[str, Tensor]] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the proposals of each image, and in training the losses.

        Args:
            images: the batch with the true sizes.
            features: levels of the pyramid.
            targets: boxes of each image, needed in training.
        """
        levels = list(features.values())
        scores, deltas = self.head(levels)
        counts = [score[0].numel() for score in scores]
        anchors = self.anchor_generator(images, levels)
        inside = [_has_center_inside(boxes, size) for boxes, size in zip(anchors, images.image_sizes, strict=True)]
        scores, deltas = concat_box_prediction_layers(scores, deltas)
        proposals = self.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
        # Without area a proposal is dropped, and the lowest score leaves its place to those inside.
        proposals = proposals * torch.stack(inside)[..., None]
        seen = scores.detach().view(len(anchors), -1).masked_fill(~torch.stack(inside), -torch.inf)
        boxes, _ = self.filter_proposals(proposals, seen, images.image_sizes, counts)
        return boxes, self._losses(scores, deltas, anchors, inside, targets) if self.training else {}

    def _losses(
        self,
        scores: Tensor,
        deltas: Tensor,
        anchors: list[Tensor],
        inside: list[Tensor],
        targets: Sequence[dict[str, Tensor]] | None,
    ) -> dict[str, Tensor]:
        assert targets is not None
        labels, boxes = self.assign_targets_to_anchors(anchors, list(targets))
        labels = [label.masked_fill(~mask, -1) for label, mask in zip(labels, inside, strict=True)]
        objectness, box = self.compute_loss(scores, deltas, labels, self.box_coder.encode(boxes, anchors))
        return {"loss_objectness": objectness, "loss_rpn_box_reg": box}


def repeat_edges(features: Mapping[str, Tensor], sizes: Sizes) -> OrderedDict[str, Tensor]:
    """Continue each image by its last row and column into the padding, as RoIAlign does where a map ends.

    Args:
        features: levels of the pyramid, zero outside the images.
        sizes: true (height, width) of each image.
    """
    return OrderedDict(
        (name, torch.stack([_continue(one, h, w, step) for one, (h, w) in zip(level, sizes, strict=True)]))
        for (name, level), step in zip(features.items(), (*REDUCTIONS, SIZE_DIVISIBLE), strict=True)
    )


def _continue(level: Tensor, height: int, width: int, step: int) -> Tensor:
    rows, columns = (
        torch.arange(length, device=level.device).clamp(max=-(-true // step) - 1)
        for length, true in zip(level.shape[1:], (height, width), strict=True)
    )
    return level[:, rows][:, :, columns]


def _batch(maps: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
    """Join maps (1, C, h, w) of several sizes, with zeros below and to the right."""
    return torch.cat([F.pad(one, (0, shape[1] - one.shape[3], 0, shape[0] - one.shape[2])) for one in maps])


def _inside(shape: tuple[int, int], sizes: Sizes, step: int, like: Tensor) -> Tensor:
    """Ones where a level belongs to the image, shape (B, 1, h, w)."""
    true = torch.tensor(sizes, device=like.device)
    rows = torch.arange(shape[0], device=like.device) * step < true[:, :1]
    columns = torch.arange(shape[1], device=like.device) * step < true[:, 1:]
    return (rows[:, None, :, None] & columns[:, None, None, :]).to(like.dtype)


def _has_center_inside(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    return (center[:, 0] < size[1]) & (center[:, 1] < size[0])
