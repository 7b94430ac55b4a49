"""What ddp.py trains: for each kind a small network in float64, its data, its task, and what joins items."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Data
from torchvision.transforms.functional import to_tensor

from pointcoc import ContextClusterNet
from pointcoc.data import IGNORE, ShardImages, collate_parts
from pointcoc.detection.task import DetectionTask, collate_images
from pointcoc.pointset import PointSet
from pointcoc.segmentation.tasks import PartTask, PixelTask
from pointcoc.train import Settings, Task, make_stream_loader

PARTS = ((0, 1), (2, 3, 4))
BOX = torch.tensor([[4.0, 3.0, 12.0, 13.0]]).double()


class Kind(NamedTuple):
    model: nn.Module
    data: Dataset | None  # None: the tar shards in the folder shards
    task: Task | None
    collate_fn: Callable | None

    def loaders(self, settings: Settings) -> tuple[DataLoader, DataLoader]:
        """Make what is trained on, and what is measured."""
        if self.data is None:
            learn = ShardImages("shards", "train", noisy_color, is_training=True)
            return make_stream_loader(learn, settings), make_stream_loader(
                ShardImages("shards", "val", color), settings
            )
        options = {"shuffle": True, "collate_fn": self.collate_fn}
        return DataLoader(self.data, settings.batch_size, **options), DataLoader(self.data, 7, **options)


def color(image: Any) -> Tensor:
    """The gray values of an image, in float64 and larger."""
    return to_tensor(image).double().repeat(1, 4, 4)[:, :16, :16]


def noisy_color(image: Any) -> Tensor:
    return color(image) + 0.1 * torch.randn(3, 16, 16).double()


class Images(Dataset):
    """Images of two classes with noise that differs at each visit."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        image = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(index)).double() + index % 2
        return self.pair(image + 0.1 * torch.randn(3, 16, 16).double(), index)

    def pair(self, image: Tensor, index: int) -> Any:
        return image, index % 2


class Masks(Images):
    """Each image has other rows that do not count."""

    def pair(self, image: Tensor, index: int) -> tuple[Tensor, Tensor]:
        mask = (image[0] > 0.5).long()
        mask[: index % 5] = IGNORE
        return image, mask


class Objects(Images):
    """Clouds of 20 to 26 points with the parts of two categories."""

    def pair(self, image: Tensor, index: int) -> Data:
        pos = image.flatten(1).T[: 20 + index % 7]
        return Data(pos=pos, y=2 * (index % 2) + (pos[:, 0] > 0.5).long(), category=torch.tensor([index % 2]))


class Boxes(Images):
    def pair(self, image: Tensor, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        return image, {"boxes": BOX, "image_id": torch.tensor(index)}


class PartNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.kind = nn.Linear(3, 5), nn.Embedding(2, 5)

    def forward(self, points: PointSet, category: Tensor) -> Tensor:
        return self.layer(points.x.double()) + self.kind(category)[points.batch]


class BoxNet(nn.Module):
    """One box an image, with losses in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None) -> Any:
        boxes = torch.stack([16 * self.layer(image.mean((1, 2))).sigmoid() for image in images])
        if targets is not None:
            return {"loss_box": (boxes - torch.cat([one["boxes"] for one in targets])).square().mean() / 100}
        masks, one = torch.ones(1, 1, 16, 16), torch.ones(1)
        return [{"boxes": box[None], "labels": one.long(), "scores": box[:1] / 16, "masks": masks} for box in boxes]


def annotations() -> Any:
    from pycocotools.coco import COCO

    x, y, right, bottom = BOX[0].tolist()
    box = {"bbox": [x, y, right - x, bottom - y], "area": 80.0, "category_id": 1, "iscrowd": 0}
    outline = [[x, y, right, y, right, bottom, x, bottom]]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number, "height": 16, "width": 16} for number in range(40)],
            "annotations": [{"id": 1 + n, "image_id": n, "segmentation": outline, **box} for n in range(40)],
            "categories": [{"id": 1}],
        }
        coco.createIndex()
    return coco


def make(kind: str) -> Kind:
    """Make what one run trains; torch's generator draws the weights."""
    if kind in ("images", "shards"):
        data, num_classes = (Images(), 2) if kind == "images" else (None, 3)
        net = ContextClusterNet.from_preset("coc_nano", num_classes=num_classes, layer_scale=1.0)
        return Kind(net.double(), data, None, None)
    if kind == "masks":
        layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
        return Kind(layers.double(), Masks(), PixelTask(2), None)
    if kind == "parts":
        return Kind(PartNet().double(), Objects(), PartTask(PARTS), collate_parts)
    return Kind(BoxNet().double(), Boxes(), DetectionTask(annotations()), collate_images)
