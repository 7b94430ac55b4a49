"""The function `pointcoc.load`: any model of this library from a folder, a run, a name, or an old file."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from pointcoc.files import cache_folder, first_line
from pointcoc.models.presets import PRESETS
from pointcoc.models.weights.config_file import config_from_json
from pointcoc.models.weights.folder import CONFIG, WEIGHTS, build, override, read_content, read_tensors
from pointcoc.models.weights.info import OFFICIAL_PRESETS, WeightsInfo, preset_name
from pointcoc.models.weights.kinds import find_kind
from pointcoc.models.weights.official_weights import DOWNLOADS

BEST, OLD_BEST = "best", "best.safetensors"  # what a run of `fit` leaves, and left once
IN_FOLDER = (WEIGHTS, f"{BEST}/{WEIGHTS}", f"{BEST}.replaced/{WEIGHTS}", OLD_BEST)
SHIPPED = {name: Path(__file__).parent / "shipped" / name / WEIGHTS for name in ("image", "cloud")}
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def load(source: str | Path, **overrides: Any) -> nn.Module:
    """Load any model of this library.

    Args:
        source: the folder of a run of `pointcoc.train.fit`; a folder that `save_pretrained`, `save_model` or
            `pointcoc convert` wrote; a name on the hub, OWNER/NAME; a preset whose weights were converted; "image" or
            "cloud", the small networks that ship with the package; or a file best.safetensors of an earlier version.
        **overrides: settings of the model that need no other parameters, such as centers=5 of a `ContextClusterNet`.

    Returns:
        A `ContextClusterNet`, `PointMLPCoC`, `SemanticFPN`, `PointSegmenter` or Mask R-CNN in evaluation mode, in the
        dtype of the file, on the CPU. Its `weights_info` says what else is known.

    Raises:
        FileNotFoundError: if there is nothing of the kind, or the hub cannot be reached.
        ValueError: if a file is damaged or not of this library, or an override is unknown or needs other parameters.
        ImportError: if a package is missing that the hub or this kind of model needs.
    """
    return open_model(find_weights(source), overrides)


def open_model(file: Path, overrides: Mapping[str, Any], model_class: type[Any] | None = None) -> Any:
    """Make the model that a file of weights belongs to; see `load`.

    Args:
        file: the weights, with config.json beside it; or an old file with a header.
        overrides: settings of the model.
        model_class: class of the model, if another kind or class shall be refused.
    """
    config, info = read_info(file)
    kind = find_kind(config.kind, str(file)).model
    if model_class is not None and not issubclass(model_class, kind):
        raise ValueError(f"{file} holds a {kind.__name__}, not a {model_class.__name__}; pointcoc.load loads either")
    model = (model_class or kind)._empty(override(config, overrides))
    return build(model, read_tensors(file), info)


def read_info(file: Path) -> tuple[Any, WeightsInfo]:
    """Return the settings of the model that a file of weights belongs to, and what is known about the weights."""
    content, where = read_content(file)
    return config_from_json(content, str(where))


def find_weights(source: str | Path, download: Mapping[str, Any] | None = None) -> Path:
    """Return the file of weights that a source names (see `load`), after a download if it is a name on the hub.

    Args:
        source: as for `load`.
        download: options of `huggingface_hub.hf_hub_download`.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is a file that this library did not write.
    """
    path, name = Path(source).expanduser(), str(source)
    if path.exists():
        return _file_of(path)
    if name in PRESETS:
        return converted_weights(name)
    if name in SHIPPED:
        return SHIPPED[name]
    if HUB_NAME.fullmatch(name):
        return _fetch(name, download or {})
    raise FileNotFoundError(_nothing_at(path))


def weights_in(folder: Path) -> Path | None:
    """Return the file of weights in the folder of a model or of a run, None if there is none."""
    return next((folder / name for name in IN_FOLDER if (folder / name).is_file()), None)


def converted_weights(preset: str) -> Path:
    """Find the converted weights of a preset.

    Args:
        preset: a key of `PRESETS`.

    Raises:
        FileNotFoundError: if there are none; the message holds the download page and the command.
        ValueError: if the folder holds something else.
    """
    folder = cache_folder(preset)
    if not folder.is_dir():
        raise FileNotFoundError(_how_to_get(preset, folder))
    file = _file_of(folder)
    found = preset_name(read_info(file)[0])
    if found != preset:
        raise ValueError(f"folder {folder} holds weights of {found or 'no preset'}, not of {preset}")
    return file


def _file_of(path: Path) -> Path:
    file = weights_in(path) if path.is_dir() else path
    if file is None:
        raise FileNotFoundError(_nothing_at(path))
    if file.suffix != ".safetensors":
        raise ValueError(
            f"{file} is no file that pointcoc wrote; an official one becomes a folder by: pointcoc convert"
        )
    return file


def _fetch(name: str, download: Mapping[str, Any]) -> Path:
    hub = import_hub(name)
    try:
        hub.hf_hub_download(name, CONFIG, **download)
        return Path(hub.hf_hub_download(name, WEIGHTS, **download))
    except Exception as error:  # of the hub, of its HTTP client, of the system: other classes in each version
        raise FileNotFoundError(
            f"{name} is neither a folder nor could it be fetched from the hub ({first_line(error)}): check the name "
            "and the network, or give a folder that save_pretrained wrote"
        ) from error


def import_hub(name: str) -> Any:
    """Import huggingface_hub, which nothing but names on the hub needs.

    Args:
        name: what is asked of the hub, for the error.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            f"{name!r} is a name on the hub, which needs huggingface_hub; install it with: pip install huggingface_hub"
        ) from error
    return huggingface_hub


def _nothing_at(path: Path) -> str:
    return (
        f"no weights at {path}: give a folder with {WEIGHTS} and {CONFIG}, the folder of a run, a preset whose weights "
        f"were converted ({', '.join(PRESETS)}), a network that ships ({', '.join(SHIPPED)}), or a name on the hub "
        "(OWNER/NAME)"
    )


def _how_to_get(name: str, folder: Path) -> str:
    if name not in OFFICIAL_PRESETS:
        return (
            f"no weights of preset {name} in {folder}, and none are published: save_pretrained your own there, or take "
            f"one of {', '.join(OFFICIAL_PRESETS)}"
        )
    return (
        f"no converted weights of preset {name} in {folder}: download its checkpoint (listed at {DOWNLOADS}) and run "
        f"`pointcoc convert {name}.pth.tar --preset {name} --normalizer similarity` ('count' for weights from before "
        "2024)"
    )
