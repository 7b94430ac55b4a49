"""Where the numbers of a run go: metrics.jsonl always, and the trackers that accelerate knows."""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from accelerate import Accelerator

from pointcoc.train.metrics import METRICS, append_metrics, read_metrics
from pointcoc.train.run_folder import TRACKERS, plain_settings
from pointcoc.train.settings import Settings
from pointcoc.train.trackers import TENSORBOARD, trackers_of

PROJECT = "pointcoc"


class Report:
    """metrics.jsonl and trackers, open: what the main process writes goes to all of them, others are mute.

    The log of TensorBoard is made from metrics.jsonl when a run continues, so that it holds what that file holds. What
    other trackers received cannot be taken back: the file `sent` in their folder lists it, and nothing is sent again.

    Args:
        accelerator: starts the trackers.
        settings: `out` and `trackers` are read; all are stored where a tracker has a place for them.
        replay: whether this is the start of a run, new or continued, whose lines so far are in metrics.jsonl.

    Raises:
        ImportError: if the package of a tracker is missing.
    """

    def __init__(self, accelerator: Accelerator, settings: Settings, *, replay: bool = False) -> None:
        is_main, folder = accelerator.is_main_process, settings.out / TRACKERS
        settings.out.mkdir(parents=True, exist_ok=True)
        self._file = (settings.out / METRICS if is_main else Path(os.devnull)).open("a")
        self._sent_file = folder / "sent"
        self._sent = set(self._sent_file.read_text().splitlines()) if self._sent_file.exists() else set()
        names = trackers_of(settings.trackers) if is_main else []
        if replay and names:
            shutil.rmtree(folder / PROJECT, ignore_errors=True)
        self._trackers: Sequence[Any] = _started(accelerator, settings, names) if names else ()
        if replay and self._trackers:
            _describe(self._trackers, settings)
            for record in read_metrics(settings.out / METRICS):
                self._show(record)

    def write(self, split: str, epoch: int, values: Mapping[str, Any]) -> None:
        """Write a line to metrics.jsonl, then to the trackers.

        Args:
            split: "update", "train", "val" or "test".
            epoch: counted from 1.
            values: numbers by name; `update`, the updates so far, is the step of the trackers.
        """
        record = append_metrics(self._file, split, epoch, values)
        self._show(record)
        if self._trackers and (name := f"{split} {record['update']}") not in self._sent:
            self._sent.add(name)
            with self._sent_file.open("a") as file:  # before it is sent: better not at all than twice
                file.write(f"{name}\n")
            for tracker in self._trackers:
                if tracker.name != TENSORBOARD:
                    tracker.log(_scalars(record), step=record["update"])

    def _show(self, record: Mapping[str, Any]) -> None:
        """Write a line of metrics.jsonl to TensorBoard, with the time at which it was known."""
        for tracker in self._trackers:
            if tracker.name == TENSORBOARD and "update" in record:
                tracker.log(_scalars(record), step=record["update"], walltime=record.get("time"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        for tracker in self._trackers:
            tracker.finish()


def _started(accelerator: Accelerator, settings: Settings, names: list[str]) -> Sequence[Any]:
    """Start trackers; one run of wandb lasts over all resumes."""
    folder = settings.out / TRACKERS
    folder.mkdir(parents=True, exist_ok=True)
    identity = folder / "id"
    if not identity.exists():
        identity.write_text(uuid.uuid4().hex)
    accelerator.log_with = names  # type: ignore[assignment]  # accelerate looks them up by name
    accelerator.project_configuration.logging_dir = str(folder)
    wandb = {"name": settings.out.name, "dir": str(folder), "id": identity.read_text(), "resume": "allow"}
    accelerator.trackers = []
    accelerator.init_trackers(PROJECT, init_kwargs={"wandb": wandb} if "wandb" in names else None)
    return accelerator.trackers


def _describe(trackers: Sequence[Any], settings: Settings) -> None:
    """Store the settings: as a table in TensorBoard, as the configuration of the run elsewhere."""
    plain = plain_settings(settings)
    table = "\n".join(["| setting | value |", "| --- | --- |", *(f"| {name} | {plain[name]} |" for name in plain)])
    for tracker in trackers:
        if tracker.name == TENSORBOARD:
            tracker.log({"settings": table}, step=0)
        else:
            tracker.store_init_configuration(plain)


def _scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line, named by split; one that is not finite is left out."""
    return {
        f"{record['split']}/{name}": float(value)
        for name, value in record.items()
        if isinstance(value, (int, float)) and name not in ("update", "time")
    }
