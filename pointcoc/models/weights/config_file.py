"""The content of config.json: what makes a model again, and what is known about its weights."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from pointcoc.models.weights.info import WeightsInfo, find_transform, preset_name
from pointcoc.models.weights.kinds import find_kind
from pointcoc.models.weights.policy import read_settings
from pointcoc.models.weights.transforms import transform_from_json
from pointcoc.version import __version__


def config_to_json(config: Any, info: WeightsInfo) -> dict[str, Any]:
    """Return the content of config.json.

    Args:
        config: settings of the model, a dataclass; None for a model without, whose weights no function can open.
        info: about the weights.
    """
    transform = info.transform or find_transform(config, info)
    return {
        "library_name": "pointcoc",
        "pointcoc_version": __version__,
        "kind": getattr(config, "kind", None),
        "preset": preset_name(config),
        **asdict(info),
        "transform": None if transform is None else asdict(transform),
        "config": asdict(config) if is_dataclass(config) and not isinstance(config, type) else None,
    }


def config_from_json(content: Any, where: str) -> tuple[Any, WeightsInfo]:
    """Read what `config_to_json` returned, after a way through JSON.

    Args:
        content: the content of a config.json, or what earlier versions wrote (see `current_layout`).
        where: its name, for errors.

    Returns:
        The settings of the model, an object of the `config_class` of its kind, and what is known about the weights.

    Raises:
        ValueError: if it was not written by pointcoc, names no known kind, has fields this version does not know, or
            values that are not allowed.
        ImportError: if a package is missing that models of this kind need.
    """
    content = current_layout(content, where)
    config_class, values = find_kind(content["kind"], where).model.config_class, content["config"]
    unknown = [name for name in values if name not in {field.name for field in fields(config_class)}]
    if unknown:
        raise ValueError(
            f"{where} has settings that pointcoc {__version__} does not know: {', '.join(unknown)}; pointcoc "
            f"{content.get('pointcoc_version', 'of another version')} wrote it: install that version or a later one"
        )
    try:
        return read_settings(config_class, values, where), info_from_json(content)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{where} holds a value that is not allowed: {error}") from error


def current_layout(content: Any, where: str) -> dict[str, Any]:
    """Bring what earlier versions wrote into the layout of `config_to_json`.

    `save_pretrained` wrote the fields of a `NetworkConfig` among those of the info. The header of a file of
    `pointcoc.train.save_weights` held the settings, the info, and the notes of the recipe beside them.

    Raises:
        ValueError: if pointcoc did not write it.
    """
    if not isinstance(content, Mapping) or not content.keys() & {"pointcoc_version", "config"}:
        raise ValueError(
            f"{where} was not written by pointcoc: it must have a header, or a config.json with pointcoc_version "
            "beside it, as save_pretrained writes, that says which model it belongs to"
        )
    if "kind" in content:
        return dict(content)
    if "config" not in content:
        about = ("library_name", "pointcoc_version", "preset", "license", "source", "transform")
        config = {name: value for name, value in content.items() if name not in about}
        return {**content, "kind": "classifier", "config": config}
    config, notes = dict(content["config"] or {}), dict(content)
    kind = config.pop("kind", None) or next((kind for field, kind in TELLING.items() if field in config), None)
    info = notes.pop("weights_info", None) or {}
    notes.pop("config")
    return {**info, "kind": kind, "config": config, "class_names": notes.pop("classes", None), "notes": notes}


def info_from_json(content: Mapping[str, Any]) -> WeightsInfo:
    """Read the fields of a `WeightsInfo` after a way through JSON."""
    stated = {name: content[name] for name in WeightsInfo.__dataclass_fields__ if content.get(name) is not None}
    if "transform" in stated:
        stated["transform"] = transform_from_json(stated["transform"])
    return WeightsInfo(**stated)


TELLING = {"heads": "classifier", "embed_dim": "pointmlp_coc"}  # settings that named no kind
