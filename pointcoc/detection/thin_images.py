"""Images of a few pixels in width or height: torchvision would scale their short side to nothing."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes


class ThinTransform(GeneralizedRCNNTransform):
    """torchvision's transform, in which the short side of an image keeps at least one pixel.

    Args:
        transform: the one whose settings it takes over.
    """

    def __init__(self, transform: Any):
        super().__init__(
            transform.min_size[-1],
            transform.max_size,
            transform.image_mean,
            transform.image_std,
            size_divisible=transform.size_divisible,
        )
        self.min_size = transform.min_size

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Resize an image and its target; see torchvision.

        Args:
            image: shape (3, H, W).
            target: boxes and, or not, masks of it.
        """
        height, width = image.shape[-2:]
        scale = min(self.min_size[-1] / min(height, width), self.max_size / max(height, width))
        if scale * min(height, width) >= 1:
            return super().resize(image, target)
        size = [max(1, int(scale * side)) for side in (height, width)]
        image = F.interpolate(image[None], size, mode="bilinear")[0]
        if target is None:
            return image, target
        target = {**target, "boxes": resize_boxes(target["boxes"], [height, width], size)}
        if "masks" in target:
            target["masks"] = F.interpolate(target["masks"][:, None].float(), size)[:, 0].to(target["masks"].dtype)
        return image, target
