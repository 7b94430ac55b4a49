"""The comparison of the paper's Figure 4: what networks of three families look at in one image."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from pointcoc.checks import check_filled, import_extra
from pointcoc.models import ImageTransform
from pointcoc.models.network import ContextClusterNet
from pointcoc.pointset import PointSet, image_to_points
from pointcoc.viz.figures import show
from pointcoc.viz.inputs import image_input
from pointcoc.viz.maps import overlay
from pointcoc.viz.trace import trace

VIT_BLOCKS = (2, 5, 8, 11)
HEAT = 0.55
Row = tuple[str, list[Tensor], list[str]]  # title, maps, the place in the network of each


def figure4(picture: Tensor, models: Mapping[str, nn.Module], target: int | None = None) -> Figure:
    """Draw what networks look at in one image, early to late from left to right.

    Context Clusters (ICLR 2023), Figure 4. A ViT of timm gets a row of attention (the cosine between the class token
    and each patch after blocks 3, 6, 9 and 12), a ResNet of timm one of class activation maps (Grad-CAM) of its four
    stages, a `ContextClusterNet` one of class activation maps and one of clusters: last block of each stage, first
    head.

    Args:
        picture: red, green, blue in [0, 1], shape (H, W, 3); of a size that all networks take, 224 x 224 mostly.
        models: titles and networks, with whatever weights they have.
        target: class that activation maps are of; that which each network finds most likely if not given.

    Raises:
        ValueError: if there is no network, or one is of another family.
        ImportError: if the package grad-cam is needed and not installed.
    """
    check_filled("models", models, "network")
    rows = [row for title, model in models.items() for row in _rows(picture, title, model, target)]
    columns = 1 + max(len(maps) for _, maps, _ in rows)
    height = 2.0 * picture.shape[0] / picture.shape[1]
    figure = Figure(figsize=(2.0 * columns, (height + 0.25) * len(rows)), layout="constrained")
    for r, (title, maps, places) in enumerate(rows):
        for c, shown in enumerate([picture, *maps]):
            show(figure, (len(rows), columns, r * columns + c + 1), shown.double(), (title, *places)[c])
    return figure


@torch.no_grad()
def attention_maps(model: nn.Module, images: Tensor, blocks: Sequence[int] = VIT_BLOCKS) -> list[Tensor]:
    """Return the cosine between the class token and each patch of a ViT of timm.

    Args:
        model: a `timm.models.VisionTransformer` with a class token.
        images: shape (1, 3, H, W).
        blocks: after which blocks, 0 first.

    Returns:
        One map (h, w) of patches a block, in [-1, 1].
    """
    outputs = model.forward_intermediates(  # type: ignore[operator]
        images, indices=list(blocks), return_prefix_tokens=True, intermediates_only=True
    )
    return [F.cosine_similarity(maps[0], prefix[0, 0, :, None, None], dim=0) for maps, prefix in outputs]


def activation_maps(model: nn.Module, images: Tensor, target: int | None = None) -> list[Tensor]:
    """Return class activation maps of the four stages of a ResNet of timm or of all of a `ContextClusterNet`.

    Grad-CAM (ICCV 2017), computed by the package grad-cam.

    Args:
        model: the network.
        images: shape (1, C, H, W).
        target: the class; the most likely one if not given.

    Returns:
        One map (H, W) a stage, in [0, 1].
    """
    gradcam, targets_of = (
        import_extra(module, "viz", "class activation maps need")
        for module in ("pytorch_grad_cam", "pytorch_grad_cam.utils.model_targets")
    )
    targets = None if target is None else [targets_of.ClassifierOutputTarget(target)]
    model = copy.deepcopy(model)  # gradients stay in the copy
    tapped = _Tapped(model) if isinstance(model, ContextClusterNet) else model
    maps = []
    layers = tapped.taps if isinstance(tapped, _Tapped) else [getattr(model, f"layer{s}")[-1] for s in (1, 2, 3, 4)]
    for s, layer in enumerate(layers):
        reshape = tapped.maps_of(s) if isinstance(tapped, _Tapped) else None
        with gradcam.GradCAM(tapped, [layer], reshape_transform=reshape) as cam, torch.enable_grad():
            maps.append(torch.from_numpy(cam(images, targets)[0]))
    return maps


class _Tapped(nn.Module):
    """A network whose stage outputs pass through a layer each, where grad-cam finds them."""

    def __init__(self, net: ContextClusterNet):
        super().__init__()
        self.net, self.taps = net, nn.ModuleList(nn.Identity() for _ in net.stages)
        self.grids: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        outputs: list[PointSet] = self.net.forward_intermediates(image_to_points(images), norm=True)  # type: ignore
        self.grids = [points.lattice or () for points in outputs]
        for tap, points in zip(self.taps, outputs, strict=True):
            tap(points.x)  # gives the very tensor that later layers read
        return self.net.forward_head(outputs[-1])

    def maps_of(self, s: int):  # type: ignore[no-untyped-def]
        """Return the function from rows (h * w, C) of stage s to maps (1, C, h, w)."""
        return lambda rows: rows.view(1, *self.grids[s], -1).permute(0, 3, 1, 2)


def _rows(picture: Tensor, title: str, model: nn.Module, target: int | None) -> list[Row]:
    model = copy.deepcopy(model).eval() if model.training else model
    images = image_input(picture, model) if isinstance(model, ContextClusterNet) else _normalized(picture, model)
    if hasattr(model, "cls_token") and hasattr(model, "blocks"):
        maps = [(one + 1) / 2 for one in attention_maps(model, images)]
        heat = _heat(picture, [(one - one.min()) / (one.max() - one.min()) for one in maps])
        return [(f"{title}, attention", heat, [f"block {block + 1}" for block in VIT_BLOCKS])]
    if not isinstance(model, ContextClusterNet) and not hasattr(model, "layer4"):
        raise ValueError(
            f"{title} is a {type(model).__name__}; figure4 knows ContextClusterNet, timm's VisionTransformer and ResNet"
        )
    heat = _heat(picture, activation_maps(model, images, target))
    rows = [(f"{title}, activation", heat, [f"stage {s + 1}" for s in range(len(heat))])]
    if isinstance(model, ContextClusterNet):
        (traced,) = trace(model, images, picture)
        clusters = [overlay(traced, s) for s in range(len(traced.stages))]
        counts = [f"stage {s + 1}: {len(traced.cluster(s).unique())} clusters" for s in range(len(clusters))]
        rows.append((f"{title}, clusters", clusters, counts))
    return rows


def _heat(picture: Tensor, maps: list[Tensor]) -> list[Tensor]:
    """Lay maps of values in [0, 1] over the picture, dark to yellow."""
    large = [F.interpolate(one[None, None].float(), picture.shape[:2], mode="bilinear")[0, 0] for one in maps]
    colors = [torch.from_numpy(colormaps["inferno"](one.clamp(0, 1).numpy())[..., :3]) for one in large]
    return [HEAT * one + (1 - HEAT) * picture.double() for one in colors]


def _normalized(picture: Tensor, model: nn.Module) -> Tensor:
    """Normalize as a network of timm says it was trained."""
    settings = getattr(model, "pretrained_cfg", None) or {}
    mean, std = (torch.tensor(settings.get(name, getattr(ImageTransform, name))) for name in ("mean", "std"))
    return ((picture - mean) / std).permute(2, 0, 1)[None].to(next(model.parameters()))
