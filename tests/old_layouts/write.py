"""Write the files of this folder, with pointcoc as it was at commit 7e94d5c: see README.md."""

import shutil
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset

from pointcoc import ContextClusterNet, NetworkConfig, PointMLPCoC
from pointcoc.detection import mask_rcnn
from pointcoc.models import ImageTransform, WeightsInfo
from pointcoc.segmentation import point_segmentation, semantic_fpn
from pointcoc.train import Settings, fit, save_weights

TINY = NetworkConfig(
    num_classes=3, depths=(1, 1, 1, 1), dims=(8, 12, 16, 16), heads=2, head_dims=4, mlp_ratios=2, regions=(2, 1, 1, 1)
)  # fmt: skip
CLOUD = {"depths": (1, 1), "dims": (8, 12), "heads": 2, "head_dims": 4, "mlp_ratios": 1, "strides": 2,
         "neighbors": 4, "regions": 1, "centers": 2, "center_neighbors": 4}  # fmt: skip


class Images(Dataset):
    """Noise of three classes."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(index)), index % 3


def draw(model: torch.nn.Module) -> torch.nn.Module:
    """Give a model numbers of order one, so that every tensor shows in the logits."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.3)
    return model.eval()


def main(out: Path) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 20, 24)
    cloud = torch.rand(1, 24, 3)
    expected = {"image": image, "cloud": cloud}

    net = ContextClusterNet(TINY.replace(layer_scale=1.0))
    loaders = [DataLoader(Images(), batch_size=3, shuffle=shuffle) for shuffle in (True, False)]
    fit(net, *loaders, Settings(epochs=1, warmup_epochs=0, ema=0.9, out=out / "run"))
    for extra in ("curves.png", "trackers"):
        path = out / "run" / extra
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    expected["run"] = net.eval()(image)

    net = draw(ContextClusterNet(TINY))
    net.weights_info = WeightsInfo(license="mit", source="noise", transform=ImageTransform(input_size=(16, 16)))
    save_weights(out / "classifier.safetensors", net, epoch=2, val={"accuracy": 0.5})
    net.save_pretrained(out / "pretrained")
    expected["classifier"] = expected["pretrained"] = net(image)

    points = draw(PointMLPCoC.from_preset(
        "pointmlp_coc", num_classes=3, embed_dim=4, depths=(1, 1, 1, 1), group_depths=1, dims=(8, 12, 12, 16),
        strides=2, neighbors=2, hidden_dims=(8, 8)))  # fmt: skip
    save_weights(out / "pointmlp_coc.safetensors", points, epoch=1, val=None)
    expected["pointmlp_coc"] = points(cloud)

    backbone = ContextClusterNet.from_preset("coc_points_small", num_classes=0, dense=True, **CLOUD)
    segmenter = draw(point_segmentation(backbone, num_classes=5, num_categories=2))
    save_weights(
        out / "point_segmentation.safetensors", segmenter, categories=("bag", "cap"), parts=((0, 1), (2, 3, 4))
    )
    expected["point_segmentation"] = segmenter(cloud, torch.tensor([1]))
    save_file({name: value.detach().clone() for name, value in expected.items()}, out / "expected.safetensors")

    # These two have millions of parameters: of them the header alone is kept.
    pixels = semantic_fpn("coc_tiny", num_classes=3, centers=5)
    save_weights(out / "whole.safetensors", pixels, classes=["sky", "sea", "sand"], first_class=1, short_side=32)
    keep_header(out / "whole.safetensors", out / "semantic_fpn.safetensors")
    boxes = mask_rcnn("coc_tiny", num_classes=3, centers=5, min_size=32, max_size=64)
    save_weights(out / "whole.safetensors", boxes, classes={1: "cat", 2: "dog"})
    keep_header(out / "whole.safetensors", out / "mask_rcnn.safetensors")


def keep_header(whole: Path, kept: Path) -> None:
    with safe_open(whole, framework="pt") as file:
        save_file({"nothing": torch.zeros(1)}, kept, metadata=file.metadata())
    whole.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
