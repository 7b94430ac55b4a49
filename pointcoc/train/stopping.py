"""Ctrl-C and SIGTERM: the update that is being computed ends, the run is saved, one exception says so."""

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A run was asked to stop, and was saved.

    Args:
        number: the signal that asked.
        checkpoint: where the run continues from, None if there is nothing yet.
    """

    def __init__(self, number: int, checkpoint: Path | None) -> None:
        saved = f"saved {checkpoint}" if checkpoint else "nothing was there to save"
        super().__init__(
            f"stopped by {signal.Signals(number).name}, {saved}; the same command with --resume auto continues"
        )
        self.number = number
        self.checkpoint = checkpoint


class StopRequest:
    """While it is entered, the first Ctrl-C or SIGTERM is noted; the second Ctrl-C interrupts at once, as ever.

    Only the main thread receives signals: elsewhere nothing changes.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = self.number or number
