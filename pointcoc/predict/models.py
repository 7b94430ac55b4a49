"""From a file of weights to the model that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from pointcoc.detection import mask_rcnn
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.weights_policy import read_settings
from pointcoc.segmentation import PointSegmenter, semantic_fpn
from pointcoc.train.checkpoint import load_weights, read_weights, weights_file


def load_model(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """Make the model of detection or segmentation whose weights a file holds.

    Args:
        path: a file that `pointcoc.train.save_weights` wrote of such a model, or the folder of a run with its
            best.safetensors.

    Returns:
        The model in evaluation mode, and the notes beside the weights, such as `classes`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds the weights of another kind of model.
    """
    file = weights_file(Path(path))
    config = read_weights(file)[1].get("config")
    model = _build(config, file)
    return model.eval(), load_weights(model, file)


def _build(config: Any, file: Path) -> nn.Module:
    kind = config.get("kind") if isinstance(config, Mapping) else None
    if kind not in BUILDERS:
        raise ValueError(
            f"{file} must hold the weights of {', '.join(BUILDERS)}, with the settings that make the model again, as "
            f"examples/coco.py, ade20k.py, shapenetpart.py and s3dis.py write; got {_describe(config)}"
        )
    arguments = {name: value for name, value in config.items() if name != "kind"}
    try:
        if "network" in arguments:
            arguments["network"] = read_settings(arguments["network"], str(file))
        return BUILDERS[kind](arguments)
    except TypeError as error:  # a field that this version does not know
        raise ValueError(f"{file} has settings of {kind} that this version does not know: {error}") from error


def _describe(config: Any) -> str:
    if not isinstance(config, Mapping):
        return "weights without settings"
    return f"those of {config['kind']}" if "kind" in config else "those of a network for classification"


def _point_segmentation(arguments: dict[str, Any]) -> nn.Module:
    return PointSegmenter(ContextClusterNet(arguments.pop("network")), **arguments)


BUILDERS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "mask_rcnn": lambda arguments: mask_rcnn(**arguments),
    "semantic_fpn": lambda arguments: semantic_fpn(**arguments),
    "point_segmentation": _point_segmentation,
}
