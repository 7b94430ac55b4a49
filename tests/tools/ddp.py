"""Training runs in float64, each in one or in several gloo processes: for test_ddp.py.

    python tests/tools/ddp.py RUNS

RUNS is a JSON list: for each run `processes`, `out`, `kind` (of ddp_kinds.py; images by default), `stop_at` (the update
in which the last process is sent SIGTERM), `fsdp` (the version of FSDP, 0 for DDP) and settings. Processes are forks of
this one, which itself never trains.
"""

import json
import multiprocessing
import os
import signal
import socket
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from ddp_kinds import make

from pointcoc.train import Settings, Stopped, fit


def train(process: int, processes: int, port: int, out: Path, fields: dict) -> None:
    """Train as process number `process`, or alone."""
    warnings.simplefilter("ignore")
    os.environ["ACCELERATE_USE_CPU"] = "true"
    if processes > 1:
        os.environ.update(RANK=str(process), LOCAL_RANK=str(process), WORLD_SIZE=str(processes))
        os.environ.update(LOCAL_WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    if version := fields.pop("fsdp", 0):
        os.environ.update(ACCELERATE_USE_FSDP="true", FSDP_VERSION=str(version))
        os.environ.update(FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP")
    torch.manual_seed(process)  # the first weights are those of the first process all the same
    kind = make(fields.pop("kind", "images"))
    stop_at = fields.pop("stop_at", 0)
    if process == processes - 1:
        terminate_at(kind.model, stop_at)
    settings = replace(
        Settings(epochs=2, warmup_epochs=1, batch_size=8, log_every=1, trackers=("none",), out=out), **fields
    )
    try:
        fit(kind.model, *kind.loaders(settings), settings, task=kind.task)
    except Stopped as stop:
        print(stop, flush=True)
    if processes > 1:
        torch.distributed.destroy_process_group()


def terminate_at(net: torch.nn.Module, stop_at: int) -> None:
    """Send this process SIGTERM in a forward pass of training, counted from 1."""
    calls = iter(range(1, 1000))
    net.register_forward_pre_hook(
        lambda module, _: os.kill(os.getpid(), signal.SIGTERM) if module.training and next(calls) == stop_at else None
    )


def main(processes: int, out: Path, fields: dict) -> None:
    """Do one run.

    Once, and not again in some 50 further runs with shards on a CPU, a process died of a corrupted heap in torch's
    collectives over gloo. A run in shards that a signal ended (not an error of ours) has a second chance, and says so.
    """
    codes = run(processes, out, fields)
    if fields.get("fsdp") and min(codes) < 0:
        print(f"exit codes {codes}: begun again", flush=True)
        codes = run(processes, out, fields)
    if any(codes):
        raise SystemExit(f"exit codes {codes}")


def run(processes: int, out: Path, fields: dict) -> list[int]:
    """Start the processes of a run; return their exit codes, below 0 for signals."""
    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    running = [
        fork.Process(target=train, args=(n, processes, port, out, dict(fields)), daemon=True) for n in range(processes)
    ]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
        if process.is_alive():
            raise SystemExit("a process hangs")
    return [process.exitcode or 0 for process in running]


if __name__ == "__main__":
    for one in json.loads(sys.argv[1]):
        main(one.pop("processes"), Path(one.pop("out")), one)
