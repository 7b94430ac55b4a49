"""Saving and loading networks as folders and on the hub: model.safetensors, config.json and a model card; no pickle."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import safetensors.torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin

from pointcoc.models.card import OFFICIAL_PRESETS, WeightsInfo, config_to_json, model_card, preset_name
from pointcoc.models.checkpoint_file import load_checkpoint
from pointcoc.models.config import NetworkConfig
from pointcoc.models.official_weights import DOWNLOADS, adapt_in_channels, expected_shapes
from pointcoc.models.presets import preset as find_preset
from pointcoc.models.weights_folder import CONFIG, WEIGHTS, build, check_state, find_file, override, read_config

if TYPE_CHECKING:
    from pointcoc.models.network import ContextClusterNet

N = TypeVar("N", bound="ContextClusterNet")


class HubMixin(PyTorchModelHubMixin, tags=["context-clusters"], library_name="pointcoc"):
    """Give a network `save_pretrained`, `from_pretrained` and `push_to_hub`.

    `weights_info` says what nothing in the weights tells (license, source, image transform); set it before saving.
    """

    config: NetworkConfig
    weights_info: WeightsInfo = WeightsInfo()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Show the arguments of `__init__`, not those of `__new__`, to help(), editors and the documentation."""
        super().__init_subclass__(**kwargs)
        signature = inspect.signature(cls.__init__)
        cls.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the object without the copy of the arguments that the mixin would keep beside `config`."""
        return object.__new__(cls)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        config: Any = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write model.safetensors, config.json and, if there is none, a model card README.md.

        Args:
            save_directory: folder to write to; made if it does not exist.
            config: not for use: config.json always is that of the network.
            repo_id: name on the hub, "user/name"; that of the folder if not given.
            push_to_hub: whether to upload the folder, too.
            model_card_kwargs: not for use: the card says what `weights_info` and the configuration say.
            **push_to_hub_kwargs: of `push_to_hub`.

        Returns:
            The address of the commit if something was uploaded.

        Raises:
            ValueError: if `config` or `model_card_kwargs` is given.
        """
        if config is not None or model_card_kwargs:
            raise ValueError(
                "config.json and the model card are written from the network itself; leave out config and "
                "model_card_kwargs, and set weights_info to state license, source and transform"
            )
        return super().save_pretrained(save_directory, repo_id=repo_id, push_to_hub=push_to_hub, **push_to_hub_kwargs)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **overrides: Any,
    ) -> Self:
        """Load a network from a folder or from the hub.

        Args:
            pretrained_model_name_or_path: folder that `save_pretrained` or `pointcoc convert` wrote, or hub name.
            force_download: fetch from the hub even what is there already.
            token: for the hub; by default that of `hf auth login`.
            cache_dir: where files of the hub are kept.
            local_files_only: take only files that were fetched before.
            revision: branch, tag or commit on the hub.
            **overrides: fields of `NetworkConfig` that need no other parameters, such as centers=(5, 5, 5, 5),
                regions, window, normalizer, assignment, iterations, backend or drop_path.

        Returns:
            The network in evaluation mode, in the dtype of the file.

        Raises:
            FileNotFoundError: if it is neither a folder with both files nor on the hub, or the hub cannot be reached.
            ValueError: if a file is broken, does not fit the other, or an override needs other parameters.
        """
        name = str(pretrained_model_name_or_path)
        download = {
            "force_download": force_download,
            "token": token,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
            "revision": revision,
        }
        config, info = read_config(find_file(name, CONFIG, download))
        config = override(config, overrides)
        return build(cls, config, load_checkpoint(find_file(name, WEIGHTS, download)), info)  # type: ignore[type-var]

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Return the model card that `save_pretrained` writes."""
        num_parameters = sum(parameter.numel() for parameter in self.parameters())  # type: ignore[attr-defined]
        data = self._hub_mixin_info.model_card_data
        return ModelCard(model_card(self.config, self.weights_info, num_parameters, data))

    def _save_pretrained(self, save_directory: Path) -> None:
        if {name: tuple(value.shape) for name, value in self.state_dict().items()} != expected_shapes(self.config):  # type: ignore[attr-defined]
            raise ValueError(
                "the network was pruned or changed: its tensors are not those of its config, so that nothing could "
                "load them again; save its state_dict() instead"
            )
        tensors = {name: value.detach().contiguous() for name, value in self.state_dict().items()}  # type: ignore[attr-defined]
        # Another name first: tensors of a file that is being read are that file, mapped into memory.
        temporary = save_directory / f"{WEIGHTS}.temporary"
        safetensors.torch.save_file(tensors, temporary, metadata={"format": "pt"})
        os.replace(temporary, save_directory / WEIGHTS)
        content = config_to_json(self.config, self.weights_info)
        (save_directory / CONFIG).write_text(json.dumps(content, indent=2) + "\n")
        shutil.copymode(save_directory / CONFIG, save_directory / WEIGHTS)  # safetensors hides files from others


def pretrained_folder(preset: str) -> Path:
    """Return the folder for the converted weights of a preset: $POINTCOC_HOME/preset, else ~/.cache/pointcoc/preset."""
    home = os.environ.get("POINTCOC_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "pointcoc") / preset


def load_preset(network_class: type[N], name: str, overrides: Mapping[str, Any]) -> N:
    """Load the converted weights of a preset; see `ContextClusterNet.from_preset`.

    Args:
        network_class: class of the network.
        name: a key of `PRESETS`.
        overrides: fields of `NetworkConfig`; num_classes makes a new classifier, in_channels adapts the first reducer.

    Raises:
        FileNotFoundError: if there are no converted weights; the message holds the download page and the command.
        ValueError: if the preset or a field is unknown, the folder holds something else, or an override needs other
            parameters.
    """
    find_preset(name, **overrides)
    config, info, weights = read_preset(name)
    state = load_checkpoint(weights)
    if overrides.get("in_channels", config.in_channels) != config.in_channels and config.on_lattice:
        check_state(state, config, str(weights))
        first = f"{config.first_layer}.weight"
        state = {**state, first: adapt_in_channels(state[first], overrides["in_channels"], config.coordinate_dim)}
        config, info = config.replace(in_channels=overrides["in_channels"]), replace(info, transform=None)
    body = {field: value for field, value in overrides.items() if field != "num_classes"}
    net = build(network_class, override(config, body), state, info)
    if overrides.get("num_classes", config.num_classes) != config.num_classes:
        net.reset_classifier(overrides["num_classes"])
    return net


def read_preset(name: str) -> tuple[NetworkConfig, WeightsInfo, Path]:
    """Find the converted weights of a preset: their configuration, what is known about them, and the file.

    Args:
        name: a key of `PRESETS`.

    Raises:
        FileNotFoundError: if there are none; the message holds the download page and the command.
        ValueError: if the folder holds something else.
    """
    folder = pretrained_folder(name)
    if not folder.is_dir():
        raise FileNotFoundError(_how_to_get(name, folder))
    config, info = read_config(find_file(str(folder), CONFIG, {}))
    if preset_name(config) != name:
        raise ValueError(f"folder {folder} holds weights of {preset_name(config) or 'no preset'}, not of {name}")
    return config, info, find_file(str(folder), WEIGHTS, {})


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
