"""The networks that bench.py times, and the modes in which they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pointcoc import PRESETS, ContextClusterNet

OURS = ("coc_tiny", "coc_tiny_plain", "coc_small", "coc_medium")
PEERS = (
    "resnet18",
    "resnet50",
    "deit_tiny_patch16_224",
    "deit_small_patch16_224",
    "swin_tiny_patch4_window7_224",
    "pvt_v2_b1",
    "convnext_tiny",
    "poolformer_s12",
)
# Table 1 of the paper. timm has PVT in its second version only, and neither T2T-ViT-7, ConvMixer-512/16 nor
# ConvMixer-1024/12; ViT is that of images of 384 pixels, as its operations in the table say.
PAPER_OURS = ("coc_tiny", "coc_tiny2", "coc_small", "coc_medium")
PAPER_PEERS = (
    "resmlp_12_224",
    "resmlp_24_224",
    "mixer_b16_224",
    "mixer_l16_224",
    "gmlp_ti16_224",
    "gmlp_s16_224",
    "vit_base_patch16_384",
    "vit_large_patch16_384",
    "deit_tiny_patch16_224",
    "deit_small_patch16_224",
    "swin_tiny_patch4_window7_224",
    "resnet18",
    "resnet50",
    "convmixer_768_32",
)
# Only ours: "unfused" is eager without net.fuse(), "native" is net.fuse(kernels="native"), for bfloat16 on CPUs.
INFERENCE_MODES = ("unfused", "eager", "compiled", "frozen", "native")
TRAINING_MODES = ("eager", "compiled")
DTYPES = ("float32", "bfloat16")
Run = Callable[[], object]
Size = tuple[int, int]


def is_ours(name: str) -> bool:
    """Whether a network is a preset for images."""
    return name in PRESETS and PRESETS[name].reads_images


def check_network(name: str) -> None:
    """Raise ValueError for a name that is neither a preset for images nor a model of timm."""
    if not is_ours(name) and not timm.is_model(name):
        presets = ", ".join(preset for preset in PRESETS if is_ours(preset))
        raise ValueError(f"unknown network {name!r}; choose from {presets}, or a model of timm (timm.list_models())")


def make_network(name: str, size: Size) -> nn.Module:
    """Make a network with random weights for 1,000 classes and images of a size, in training mode."""
    check_network(name)
    if is_ours(name):
        return ContextClusterNet.from_preset(name, num_classes=1000)
    if timm.get_pretrained_cfg(name).fixed_input_size:  # positions or windows of a size that is set once
        return timm.create_model(name, img_size=size)
    return timm.create_model(name)


def own_size(name: str) -> int:
    """Side of the images that a network was made for."""
    return 224 if is_ours(name) else timm.get_pretrained_cfg(name).input_size[1]


def modes_of(name: str, modes: Sequence[str], images: Tensor) -> list[str]:
    """Leave out what a network does not have, or not for the dtype and the device of the images."""
    is_native = images.dtype == torch.bfloat16 and images.device.type == "cpu"
    lacks = {"unfused", "native"} if not is_ours(name) else set() if is_native else {"native"}
    return [mode for mode in modes if mode not in lacks]


def form_of(network: nn.Module, mode: str) -> nn.Module:
    """Return what runs in a mode of inference: the network in evaluation mode, or one of its inference forms."""
    network = network.eval()
    if mode == "unfused" or not isinstance(network, ContextClusterNet):
        return network
    return network.fuse(kernels="native" if mode == "native" else "torch")


def inference_run(network: nn.Module, mode: str, images: Tensor) -> Run:
    """Bring a network into a mode and run it once, so that compiling and filling caches are not timed.

    Args:
        network: in evaluation mode, in the dtype of the images.
        mode: one of INFERENCE_MODES; all but "compiled" and "frozen" run it as it is.
        images: the batch.
    """
    network(images)  # constants of the size are made outside the graph
    if mode not in ("compiled", "frozen"):
        return lambda: network(images)
    is_frozen = mode == "frozen"  # the option names the mode; dynamo reads the setting, to make weights constants
    compiled = torch.compile(network, dynamic=False, options={"freezing": is_frozen})
    with torch._inductor.config.patch(freezing=is_frozen):
        compiled(images)
    return lambda: compiled(images)


def training_run(network: nn.Module, mode: str, images: Tensor, dtype: str) -> Run:
    """Return one step of training, run once: forward, backward, AdamW. bfloat16 is by autocast, weights are float32.

    Args:
        network: in training mode, float32.
        mode: one of TRAINING_MODES; the optimizer is torch's fused one in each.
        images: the batch, float32.
        dtype: "float32" or "bfloat16".
    """
    labels = torch.arange(len(images), device=images.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    forward = torch.compile(network, dynamic=False) if mode == "compiled" else network

    def step() -> None:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    return step
