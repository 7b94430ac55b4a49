"""Saving and loading models as folders and on the hub: model.safetensors, config.json and a model card; no pickle."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import torch
from torch import nn

from pointcoc.checks import import_extra
from pointcoc.models.weights.card import model_card
from pointcoc.models.weights.checkpoint_file import shapes_of
from pointcoc.models.weights.folder import CARD, save_model
from pointcoc.models.weights.info import WeightsInfo
from pointcoc.models.weights.loading import find_weights, import_hub, open_model


class HubMixin(nn.Module):
    """Give a model `save_pretrained`, `from_pretrained` and `push_to_hub`.

    `weights_info` says what nothing in the weights tells (license, source, image transform); set it before saving.

    Attributes:
        config_class: dataclass of the settings of the model, with the name of its kind in `kind`.
        config: the settings, which make the model again; None for one that nothing makes again.
        weights_info: what is known about the weights.
    """

    config_class: ClassVar[type[Any]]
    config: Any
    weights_info: WeightsInfo = WeightsInfo()

    @classmethod
    def _empty(cls, config: Any) -> Self:
        """Make a model whose tensors are about to be replaced."""
        with torch.device("meta"):
            return cls(config)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write model.safetensors, config.json and, if there is none, a model card README.md.

        Args:
            save_directory: folder to write to; made if it does not exist.
            repo_id: name on the hub, "user/name"; that of the folder if not given.
            push_to_hub: whether to upload the folder, too.
            **push_to_hub_kwargs: of `push_to_hub`.

        Returns:
            The address of the commit if something was uploaded.

        Raises:
            ValueError: if nothing could load the tensors again, since they are not those of the config.
        """
        self._check_whole()
        folder = Path(save_directory)
        save_model(folder, self)
        if not (folder / CARD).exists():
            (folder / CARD).write_text(self.generate_model_card())
        return self.push_to_hub(repo_id or folder.name, **push_to_hub_kwargs) if push_to_hub else None

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
        """Load a model of this class from a folder or from the hub.

        Args:
            pretrained_model_name_or_path: folder that `save_pretrained` or `pointcoc convert` wrote, or hub name, or
                whatever else `pointcoc.load` takes.
            force_download: fetch from the hub even what is there already.
            token: for the hub; by default that of `hf auth login`.
            cache_dir: where files of the hub are kept.
            local_files_only: take only files that were fetched before.
            revision: branch, tag or commit on the hub.
            **overrides: fields of the config that need no other parameters; of a `NetworkConfig` for example
                centers=(5, 5, 5, 5), regions, window, normalizer, assignment, iterations, backend or drop_path.

        Returns:
            The model in evaluation mode, in the dtype of the file.

        Raises:
            FileNotFoundError: if it is neither a folder with both files nor on the hub, or the hub cannot be reached.
            ValueError: if a file is broken, does not fit the other, or an override needs other parameters.
            ImportError: if it is a name on the hub and huggingface_hub is not installed.
        """
        download = {
            "force_download": force_download,
            "token": token,
            "cache_dir": cache_dir,
            "local_files_only": local_files_only,
            "revision": revision,
        }
        return open_model(find_weights(pretrained_model_name_or_path, download), overrides, cls)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Push model using pointcoc",
        private: bool | None = None,
        token: str | bool | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        allow_patterns: list[str] | str | None = None,
        ignore_patterns: list[str] | str | None = None,
        delete_patterns: list[str] | str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes to the hub.

        Args:
            repo_id: name on the hub, "user/name"; made if it is not there.
            commit_message: of the upload.
            private: whether others may not see what is made; None for the setting of the owner.
            token: for the hub; by default that of `hf auth login`.
            branch: where to commit; "main" by default.
            create_pr: whether to open a pull request instead of a commit.
            allow_patterns: upload only files whose names fit one.
            ignore_patterns: upload no file whose name fits one.
            delete_patterns: delete files on the hub whose names fit one.

        Returns:
            The address of the commit.

        Raises:
            ImportError: if huggingface_hub is not installed.
        """
        hub = import_hub(repo_id).HfApi(token=token)
        repo_id = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
                allow_patterns=allow_patterns,
                ignore_patterns=ignore_patterns,
                delete_patterns=delete_patterns,
            )

    def predict(self, files: Any, **options: Any) -> Any:
        """Ask the model about files, as `pointcoc predict` does; the mode of the model is left as it is.

        Args:
            files: an image or a cloud by its path, or a sequence of paths.
            **options: those of the kind of model, see `pointcoc.predict.predict`.

        Returns:
            For one path the answer, for a sequence a list: `pointcoc.predict.Classified` of classifiers, `Objects` of
            detectors, `PixelClasses` and `Labeled` of segmenters.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file cannot be read, or an option does not belong to the model.
            ImportError: if a package is missing that predictions need.
        """
        asked = import_extra("pointcoc.predict", "detection", "predictions need").prediction(self, **options)
        was_training = self.training
        self.eval()
        try:
            if isinstance(files, (str, Path)):
                return asked.answer(Path(files))
            return [asked.answer(Path(file)) for file in files]
        finally:
            self.train(was_training)

    def generate_model_card(self) -> str:
        """Return the model card that `save_pretrained` writes."""
        num_parameters = sum(parameter.numel() for parameter in self.parameters())
        return model_card(self.config, self.weights_info, num_parameters)

    def _check_whole(self) -> None:
        if self.config is None:
            raise ValueError("the model was made of a module that no name tells, so that nothing could load it again")
        with torch.random.fork_rng(devices=[]):
            expected = shapes_of(self._empty(self.config))
        if shapes_of(self) != expected:
            raise ValueError(
                "the network was pruned or changed: its tensors are not those of its config, so that nothing could "
                "load them again; save its state_dict() instead"
            )
