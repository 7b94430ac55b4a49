"""Networks as backbones of dense prediction: four maps with 4, 8, 16 and 32 pixels per point and axis."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pointcoc.models.config import NetworkConfig
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.presets import PRESETS
from pointcoc.models.transfer import open_network

REDUCTIONS = (4, 8, 16, 32)


class StageMaps(nn.Module):
    """The outputs of the four stages of a network of images, as maps.

    Args:
        net: network of images with strides 4, 2, 2, 2, as the official presets; its classifier is removed.

    Shapes:
        Input: images (B, C, H, W), any H and W, or a list of (C, H, W).
        Output: four maps (B, dim, ceil(H / r), ceil(W / r)), r = 4, 8, 16, 32; for a list such maps of each image.

    Raises:
        ValueError: if the network has other strides or reads no images.
    """

    def __init__(self, net: ContextClusterNet):
        super().__init__()
        config = net.config
        if not config.reads_images or config.strides != (4, 2, 2, 2):
            raise ValueError(
                "dense prediction needs a network of images with strides (4, 2, 2, 2), as coc_small has, got anchors "
                f"{config.anchors!r}, pos_dim {config.pos_dim} and strides {config.strides}"
            )
        if not config.dense:
            raise ValueError("dense prediction reads every stage: make the network with dense=True, got dense=False")
        if config.num_classes:
            net.reset_classifier(0)
        self.net = net
        self.channels = tuple(config.dims)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the inside of blocks again in backward instead of keeping it."""
        self.net.set_grad_checkpointing(enable)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images of one size, finest first."""
        return self.net.forward_intermediates(images)  # type: ignore[return-value]

    def each(self, images: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return the four maps (1, dim, h, w) of each image of a list; only batch norms in training mix images."""
        stages = self.net.forward_intermediates(list(images))
        split = [[one.to_maps() for one in stage.split()] for stage in stages]  # type: ignore
        return [list(maps) for maps in zip(*split, strict=True)]


class TimmMaps(nn.Module):
    """The maps with 4 to 32 pixels per point of a model that timm made with `features_only=True`.

    Args:
        model: returns a list of maps (B, C, H, W) and has timm's `feature_info`.

    Raises:
        ValueError: if the model has no maps of all four reductions.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        found = list(model.feature_info.reduction())  # type: ignore
        if not set(REDUCTIONS) <= set(found):
            raise ValueError(f"a backbone must have maps of reductions {REDUCTIONS}, got {found}")
        channels = model.feature_info.channels()  # type: ignore
        self.model = model
        self._rows = [found.index(reduction) for reduction in REDUCTIONS]
        self.channels = tuple(channels[row] for row in self._rows)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the inside of stages again in backward, where timm's model knows how."""
        self.model.set_grad_checkpointing(enable)  # type: ignore[operator]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images of one size, finest first."""
        maps = self.model(images)
        return [maps[row] for row in self._rows]

    def each(self, images: Sequence[Tensor]) -> list[list[Tensor]]:
        """Return the four maps of each image of a list, one image at a time."""
        return [self(image[None]) for image in images]


def dense_backbone(
    name: str | StageMaps | TimmMaps, centers: int | None = None, pretrained: bool = False
) -> StageMaps | TimmMaps:
    """Make the backbone of a dense model.

    Args:
        name: a preset of images such as coc_small, weights of a classifier of images as `pointcoc.load` takes them, or
            any timm model with maps of reductions 4 to 32, such as resnet18; a backbone is returned as it is.
        centers: centers per axis and region of a preset: 2, 5 and 7 are the 4, 25 and 49 centers of the paper; those of
            the preset by default.
        pretrained: start from weights of classification: those that `pointcoc convert` wrote, or timm's.

    Raises:
        ValueError: if the name is unknown or does not fit, or `centers` is given for weights or a timm model,
            `pretrained` for weights, or one of them for a backbone.
        FileNotFoundError: if a preset has no converted weights.
    """
    if not isinstance(name, str):
        if centers is not None or pretrained:
            raise ValueError("centers and pretrained make a backbone from a name: leave them out where it is a module")
        return name
    if name in PRESETS:
        overrides: dict[str, Any] = {} if centers is None else {"centers": centers}
        net = ContextClusterNet.from_preset(name, num_classes=0, dense=True, **overrides)
        return StageMaps(_with_classification_weights(net, name) if pretrained else net)
    if centers is not None:
        raise ValueError(f"centers are a setting of our presets, got centers {centers} for {name!r}: leave it out")
    if _are_weights(name):
        if pretrained:
            raise ValueError(f"pretrained has no effect on {name!r}, which are weights themselves: leave it out")
        return StageMaps(_dense_copy(open_network(name)))
    return TimmMaps(_timm_features(name, pretrained))


def own_network(name: str | StageMaps | TimmMaps, backbone: nn.Module) -> dict[str, Any] | None:
    """Return the settings that make the network of a backbone again where its name does not: that of weights.

    Args:
        name: what `dense_backbone` was given.
        backbone: what it returned.
    """
    is_own = isinstance(name, str) and name not in PRESETS and isinstance(backbone, StageMaps)
    net: Any = getattr(backbone, "net", None)
    return asdict(net.config) if is_own else None


def remade_backbone(network: Mapping[str, Any]) -> StageMaps:
    """Make the backbone of what `own_network` returned, with new weights."""
    return StageMaps(ContextClusterNet(NetworkConfig(**network)))


def _are_weights(name: str) -> bool:
    """Whether a name is that of weights on the disk, or has the form of one on the hub."""
    return Path(name).expanduser().exists() or name.count("/") == 1


def _dense_copy(net: ContextClusterNet) -> ContextClusterNet:
    """Return a network whose stages can be read, with the weights of a classifier; the norms of the stages are new."""
    dense = ContextClusterNet(net.config.replace(dense=True, num_classes=0))
    _copy_shared(dense, net)
    return dense


def _timm_features(name: str, pretrained: bool) -> nn.Module:
    import timm  # optional, and slow to import

    if not timm.is_model(name):
        presets = ", ".join(name for name, one in PRESETS.items() if one.reads_images and one.strides == (4, 2, 2, 2))
        raise ValueError(f"unknown backbone {name!r}; choose from {presets}, or a model that timm.list_models() names")
    return timm.create_model(name, features_only=True, pretrained=pretrained)


def _with_classification_weights(net: ContextClusterNet, name: str) -> ContextClusterNet:
    """Copy all that classification shares; the norms of the stages are new."""
    _copy_shared(net, ContextClusterNet.from_preset(name, pretrained=True))
    return net


def _copy_shared(net: ContextClusterNet, source: ContextClusterNet) -> None:
    """Copy all that a dense network shares with one that classifies, or with another dense one."""
    own = net.state_dict()
    shared = {key: value for key, value in source.state_dict().items() if key in own}
    new = {key: value for key, value in own.items() if key.startswith("stage_norms.")}
    net.load_state_dict(new | shared)
