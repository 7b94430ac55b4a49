"""The first signal is noted, the second Ctrl-C interrupts, and the handlers come back."""

import os
import signal
from pathlib import Path
from threading import Thread

import pytest

from pointcoc.train.stopping import Stopped, StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted(number: int) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.number is None
        os.kill(os.getpid(), number)
        assert stop.number == number
    assert signal.getsignal(number) is before


def test_the_second_ctrl_c_interrupts_at_once() -> None:
    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.number == signal.SIGTERM


def test_elsewhere_than_in_the_main_thread_nothing_changes() -> None:
    before, entered = signal.getsignal(signal.SIGTERM), []

    def enter() -> None:
        with StopRequest() as stop:
            entered.append((stop.number, signal.getsignal(signal.SIGTERM)))

    thread = Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [(None, before)]


def test_the_sentence_names_signal_and_checkpoint() -> None:
    stop = Stopped(signal.SIGTERM, Path("run/epoch-0003"))
    assert str(stop) == "stopped by SIGTERM, saved run/epoch-0003; the same command with --resume auto continues"
    assert "SIGINT, nothing was there to save" in str(Stopped(signal.SIGINT, None))
