"""The processes of a run: which one this is, what knows them and the device, and how they part."""

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, parse_flag_from_env

from pointcoc.train import sharding
from pointcoc.train.settings import Precision

SUPPORTED = ("NO", "MULTI_CPU", "MULTI_GPU", "FSDP")


def make_accelerator(precision: Precision) -> Accelerator:
    """Make what knows device, precision and processes.

    Raises:
        ValueError: if accelerate was set up for something else than one process, DDP or FSDP 2, or for fp16 on a CPU.
    """
    _forget_settings()
    accelerator = Accelerator(mixed_precision=precision, cpu=_is_on_cpu())
    if accelerator.distributed_type not in [DistributedType[name] for name in SUPPORTED]:
        raise ValueError(
            f"accelerate must be set up for one process, for DDP (multi-GPU or multi-CPU) or for FSDP, got "
            f"{accelerator.distributed_type.value}"
        )
    if precision == "fp16" and accelerator.scaler is None:  # accelerate would compute in float32 without a word
        raise ValueError(f"precision fp16 needs a GPU, got the device {accelerator.device.type}; use bf16 there")
    if sharding.is_asked_for() and accelerator.num_processes > 1:
        sharding.switch_on(accelerator)
    return accelerator


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints, also before a run has begun."""
    return PartialState(cpu=_is_on_cpu()).is_main_process


def place_of_process() -> tuple[int, int]:
    """Number of this process, from 0, and how many there are; also before a run has begun."""
    state = PartialState(cpu=_is_on_cpu())
    return state.process_index, state.num_processes


def say(sentence: str) -> None:
    """Print a sentence, once whatever the number of processes."""
    if is_main_process():
        print(sentence)


def leave_processes() -> None:
    """End the connection to the other processes of a run, if there are any; without that some backends wait at exit."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _forget_settings() -> None:
    """Forget what accelerate was last asked for; a process may train several networks, each with its own precision."""
    AcceleratorState._reset_state()
    shared = PartialState._shared_state
    if shared.get("distributed_type") == DistributedType.FSDP:  # accelerate keeps it, and then takes no configuration
        shared["distributed_type"] = DistributedType.MULTI_CPU if _is_on_cpu() else DistributedType.MULTI_GPU


def _is_on_cpu() -> bool:
    """Whether to train on the CPU; accelerate has to be told whenever it is asked first, or each process is alone."""
    return parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
