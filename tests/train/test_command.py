"""Options come from the settings; a mistake of the user ends with a sentence and code 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pointcoc.train import Settings, run_command


def run(main, *args: str) -> None:
    run_command(main, Settings(epochs=7, out=Path("somewhere")), "A recipe.", args)


def test_options_start_from_the_default(capsys) -> None:
    seen: list[Settings] = []
    run(seen.append, "--lr", "0.5", "--warmup-epochs", "0.5")
    assert seen == [Settings(epochs=7, out=Path("somewhere"), lr=0.5, warmup_epochs=0.5)]
    run(seen.append, "--smoke")
    assert (seen[1].epochs, seen[1].warmup_epochs) == (2, 0)


def test_help_shows_the_text_of_every_field(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        run(print, "--help")
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    for text in ("A recipe.", "--clip-grad", "Decay of the moving average"):
        assert text in shown


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--epcohs", "3"), "--epcohs"),
        (("--epochs", "many"), "many"),
        (("--epochs", "0"), "epochs must be at least 1, got 0"),
        (("--precision", "fp8"), "fp8"),
    ],
)
def test_a_wrong_option_is_named(capsys, args: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(SystemExit) as stop:
        run(print, *args)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("error", [ValueError, FileNotFoundError, FloatingPointError])
def test_a_mistake_of_the_user_ends_with_its_sentence(capsys, error: type[Exception]) -> None:
    def main(settings: Settings) -> None:
        raise error("data must be a folder")

    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: data must be a folder\n"


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    def main(settings: Settings) -> None:
        raise TypeError("ours")

    with pytest.raises(TypeError, match="ours"):
        run(main)


def test_ctrl_c_says_how_to_continue(capsys) -> None:
    def main(settings: Settings) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run(main)
    assert stop.value.code == 130
    assert "--resume auto continues" in capsys.readouterr().err


@dataclass(frozen=True)
class Own:
    """Settings of a recipe that cannot be continued."""

    steps: int = 1
    """Steps."""

    def shrink(self) -> Own:
        return self


def test_ctrl_c_promises_nothing_where_nothing_can_be_continued(capsys) -> None:
    def main(settings: Own) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        run_command(main, Own(), "A recipe.", [])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "stopped\n"
