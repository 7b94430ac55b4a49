"""Kill -9 at random moments: a resumed run ends with the bits of one never stopped, and no checkpoint is unreadable.

    python tests/tools/faults.py              # 20 kills, about a minute; `make faults`
    python tests/tools/faults.py --kills 3    # as the test suite does

A run is a cluster network with drop path on augmented clouds, with moving average and a checkpoint after every second
update; with one kill in two, the resumed run has two workers. Each run is a fork of this process, which itself never
trains: so that starting one costs no import.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import Data

from pointcoc import ContextClusterNet
from pointcoc.data import collate_sets
from pointcoc.models.weights.loading import weights_in
from pointcoc.train import Settings, checkpoint, fit

NAMES = ("best/model.safetensors", "epoch-0004/model.safetensors", "epoch-0004/ema.safetensors")


class Clouds(Dataset):
    """Three classes of noise with another extent, moved at random at each visit."""

    def __init__(self, num_clouds: int) -> None:
        self.labels = torch.arange(num_clouds) % 3

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Data:
        fixed = torch.Generator().manual_seed(index)
        pos = torch.randn(32, 3, generator=fixed) * (torch.arange(3) == self.labels[index]).add(0.5)
        return Data(pos=pos + 0.1 * torch.randn(3) + 0.02 * torch.randn_like(pos), y=self.labels[index : index + 1])


def train(out: Path, workers: int) -> None:
    """Begin the run in a folder, or continue it."""
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process
    net = ContextClusterNet.from_preset("coc_points_small", num_classes=3, drop_path=0.2)
    loaders = [
        DataLoader(Clouds(num), batch_size=8, shuffle=num == 48, num_workers=workers, collate_fn=collate_sets)
        for num in (48, 12)
    ]
    fit(net, *loaders, Settings(epochs=4, warmup_epochs=1, ema=0.9, save_every=2, keep=3, resume="auto", out=out))


def start(out: Path, workers: int = 0) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=train, args=(out, workers))
    process.start()
    return process


def finish(out: Path, workers: int = 0) -> float:
    """Run to the end; returns the seconds."""
    begin = time.perf_counter()
    process = start(out, workers)
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"the run in {out} ended with code {process.exitcode}")
    return time.perf_counter() - begin


def kill_after(out: Path, seconds: float) -> bool:
    """Begin a run and kill it; returns whether it was still running."""
    process = start(out)
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode == -9


def read_checkpoints(out: Path) -> list[str]:
    """Names of the checkpoints, each of which is read whole."""
    found = checkpoint.checkpoints(out)
    for path in found:
        checkpoint.read_state(path)
        for part in (checkpoint.WEIGHTS, checkpoint.AVERAGE):
            checkpoint.read_tensors(path / part)
    best = weights_in(out)
    if best is not None:
        checkpoint.read_tensors(best)
        assert checkpoint.read_notes(best)["epoch"] <= 4
    return [path.name for path in found]


def digests(out: Path) -> list[str]:
    """Hashes of the bits of all tensors of a file."""
    return [digest(checkpoint.read_tensors(out / name)) for name in NAMES]


def digest(tensors: dict[str, torch.Tensor]) -> str:
    bits = hashlib.sha256()
    for name in sorted(tensors):
        bits.update(name.encode() + tensors[name].numpy().tobytes())
    return bits.hexdigest()


def main(kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        seconds = finish(whole)
        print(f"never killed: {seconds:.1f} s, {digests(whole)[1][:12]}")
        for number in range(1, kills + 1):
            out, moment = Path(folder) / str(number), moments.uniform(0, seconds)
            while not kill_after(out, moment):  # it was faster this time: that is no kill
                shutil.rmtree(out)
                moment *= 0.9
            found = read_checkpoints(out)
            finish(out, workers=2 * (number % 2))
            is_same = digests(out) == digests(whole)
            last = found[-1] if found else "none yet"
            print(f"{number:3d} killed after {moment:.2f} s, last checkpoint {last}, same: {is_same}", flush=True)
            if not is_same:
                raise SystemExit("the weights differ from those of the run never killed")
    print(f"{kills} kills: every checkpoint readable, final weights, average and best weights bit-identical")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    main(**vars(parser.parse_args()))
