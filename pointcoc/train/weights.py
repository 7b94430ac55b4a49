"""The weights of a run: in training and as a moving average, with what moves them, in shards or not."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from accelerate import Accelerator
from accelerate.utils import broadcast
from timm.utils import ModelEmaV3
from torch import nn

from pointcoc.train import checkpoint
from pointcoc.train.optimization import make_optimizer
from pointcoc.train.settings import Settings
from pointcoc.train.sharding import gather_state, gather_weights, is_sharded, prepare, scatter_state, scatter_weights


@dataclass(kw_only=True)
class Weights:
    """A model in training, the moving average of its weights, and its optimizer.

    `own` is the model that came, and `own_average` another one for the moving average: with FSDP they are copies
    without shards, which what is trained is gathered into; otherwise they are what is trained.
    """

    accelerator: Accelerator
    model: nn.Module
    own: nn.Module
    average: ModelEmaV3 | None
    own_average: nn.Module | None
    optimizer: Any

    @classmethod
    def build(cls, model: nn.Module, settings: Settings, accelerator: Accelerator) -> Self:
        """Put the model on the device and make what trains it.

        Raises:
            ValueError: if the model cannot be recomputed or, in shards, not be compiled, where the settings ask for it.
        """
        own, model = model, copy.deepcopy(model) if is_sharded(accelerator) else model
        model.to(accelerator.device)
        broadcast(model.state_dict())  # in place: the first weights of the first process, whatever each was seeded with
        # A copy: before anything is put around the forward of the model.
        average = ModelEmaV3(model, decay=settings.ema, use_warmup=True) if settings.ema else None
        averaged = None if average is None else average.module
        own_average = copy.deepcopy(averaged) if is_sharded(accelerator) else averaged
        _prepare_forward(model, settings, is_sharded(accelerator))
        model, optimizer = prepare(accelerator, model, make_optimizer(model, settings), averaged)
        return cls(
            accelerator=accelerator, model=model, own=own, average=average, own_average=own_average, optimizer=optimizer
        )

    @property
    def plain(self) -> nn.Module:
        """The model in training, out of accelerate's wrappers."""
        return self.accelerator.unwrap_model(self.model)

    def whole(self) -> nn.Module:
        """The model in training, without shards; all processes call this alike."""
        return gather_weights(self.plain, self.own) if is_sharded(self.accelerator) else self.own

    def whole_average(self) -> nn.Module | None:
        """The moving average, None without one; otherwise as `whole`."""
        if self.average is None or self.own_average is None or not is_sharded(self.accelerator):
            return self.own_average
        return gather_weights(self.average.module, self.own_average)

    def kept(self) -> nn.Module:
        """What is validated and kept, the moving average if there is one; as `whole`."""
        average = self.whole_average()
        return self.whole() if average is None else average

    def move(self, update: int) -> None:
        """Move the weights by their gradients, and the moving average after them.

        Args:
            update: number of this update, from 1.
        """
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.plain, step=update)

    def state(self) -> dict[str, Any]:
        """What moves the weights, as a checkpoint holds it; all processes call this alike."""
        scaler = self.accelerator.scaler
        return {
            "optimizer": gather_state(self.optimizer.state_dict()),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def restore(self, path: Path, state: dict[str, Any]) -> None:
        """Continue from a checkpoint; the model is untouched if it does not fit.

        Args:
            path: folder of the checkpoint.
            state: what it holds, with that of `state`.
        """
        checkpoint.load_checkpoint(path, self.own, self.own_average)
        if is_sharded(self.accelerator):
            scatter_weights(self.own, self.plain)
            if self.average is not None and self.own_average is not None:
                scatter_weights(self.own_average, self.average.module)
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.optimizer.load_state_dict(scatter_state(state["optimizer"], parameters))
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def release(self, settings: Settings) -> None:
        """Give the model back as it came."""
        model = self.plain
        if "_original_forward" in model.__dict__:  # accelerate's, for mixed precision
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            del model.forward
        model._compiled_call_impl = None
        if settings.recompute:
            model.set_grad_checkpointing(False)  # type: ignore[operator]  # it was there at the start
        if self.accelerator.device.type != "cpu":  # the collection of all garbage takes its time
            self.accelerator.free_memory()


def are_finite(model: nn.Module) -> bool:
    """Whether all weights and buffers of a model are finite."""
    return all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())


def _prepare_forward(model: nn.Module, settings: Settings, is_in_shards: bool) -> None:
    if settings.recompute:
        if not hasattr(model, "set_grad_checkpointing"):
            raise ValueError(f"recompute needs a network with set_grad_checkpointing, got {type(model).__name__}")
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    if settings.compile:
        _check_compile(model, is_in_shards)
        model.compile()


def _check_compile(model: nn.Module, is_in_shards: bool) -> None:
    if is_in_shards:
        raise ValueError("compile must be off with FSDP, which exchanges weights within the network")
    config = getattr(model, "config", None)
    if "fps" in (getattr(config, "anchors", None), getattr(config, "proposals", None)):
        # The loop over the points becomes one kernel, as long as there are points, which g++ gives up.
        raise ValueError("compile must be off for a network that chooses farthest points (anchors or proposals 'fps')")
