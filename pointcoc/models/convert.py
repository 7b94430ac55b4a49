"""Converting an official checkpoint once, to a folder that `from_pretrained` reads."""

import hashlib
from dataclasses import replace
from pathlib import Path

from pointcoc.files import atomic, cache_folder
from pointcoc.models.config import NetworkConfig
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.presets import PRESETS
from pointcoc.models.weights import (
    CARD,
    CONFIG,
    OFFICIAL_WEIGHTS,
    WEIGHTS,
    find_dialect,
    load_checkpoint,
    preset_name,
    unwrap,
)


def convert_official(
    checkpoint: str | Path,
    out: str | Path | None = None,
    preset: str | None = None,
    normalizer: str | None = None,
    force: bool = False,
) -> tuple[Path, ContextClusterNet]:
    """Write the weights of an official checkpoint as model.safetensors, config.json and a model card.

    The folder appears whole or not at all.

    Args:
        checkpoint: file of the authors (.pth.tar, .pth or .safetensors).
        out: folder to write; by default the one where `from_preset(..., pretrained=True)` looks.
        preset: the preset the weights belong to; found by the shapes if there is just one.
        normalizer: "similarity" for the weights of 2024, "count" for earlier ones. Only the names of 2023 tell; for
            any other file it must be given.
        force: replace a folder that was written before.

    Returns:
        The folder and the network.

    Raises:
        ValueError: if the normalizer is needed, or the checkpoint cannot be read (see `from_official`).
        FileNotFoundError: if there is no such checkpoint.
        FileExistsError: if the folder exists and `force` is false, or it holds other files.
    """
    checkpoint = Path(checkpoint)
    loaded = load_checkpoint(checkpoint)
    if normalizer is None and find_dialect(unwrap(loaded)) == "2024":
        raise ValueError(
            "nothing in this checkpoint tells its normalizer, and the wrong one gives wrong logits, not an error: give "
            "normalizer (--normalizer) 'similarity' for the weights of 2024, 'count' for earlier ones"
        )
    # Names of 2023 tell "count"; from_official refuses all other names.
    net = ContextClusterNet.from_official(loaded, preset=preset, normalizer=normalizer or "count")
    with checkpoint.open("rb") as file:
        fingerprint = f"{checkpoint.name}, sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    net.weights_info = replace(OFFICIAL_WEIGHTS, source=f"{OFFICIAL_WEIGHTS.source}; {fingerprint}")
    folder = Path(out).absolute() if out is not None else _default_folder(net.config)
    _check_free(folder, force)
    with atomic(folder) as temporary:
        net.save_pretrained(temporary)
    return folder, net


def _default_folder(config: NetworkConfig) -> Path:
    name = preset_name(config)
    if name is None or config.num_classes != PRESETS[name].num_classes:
        raise ValueError(
            "these weights are not those of a preset with its classes (dense, or another classifier): give the folder "
            "to write, OUT"
        )
    return cache_folder(name)


def _check_free(folder: Path, force: bool) -> None:
    if not folder.exists():
        return
    if not force:
        raise FileExistsError(f"{folder} exists; give force (--force) to replace it, or another folder")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {"a file"}
    others = sorted(names - {CARD, CONFIG, WEIGHTS})
    if others:
        raise FileExistsError(
            f"{folder} holds what this command did not write ({', '.join(others[:3])}) and is not replaced; give "
            "another folder"
        )
