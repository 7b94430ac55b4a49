"""A folder that holds a run is neither overwritten nor continued by accident."""

from pathlib import Path

import pytest

from pointcoc.train.checkpoint import save_checkpoint
from pointcoc.train.run_folder import check_same_settings, clear_run, plain_settings, run_to_resume


def test_a_new_folder_is_free(settings) -> None:
    assert run_to_resume(settings()) is None
    assert run_to_resume(settings(overwrite=True)) is None


def test_nothing_to_resume(settings) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing to resume: out must hold a folder epoch-\*, and .*run has n"):
        run_to_resume(settings(resume="must"))


def test_a_run_is_continued_or_removed_only_on_request(settings, tiny) -> None:
    out = settings().out
    save_checkpoint(out, "epoch-0002", tiny(), None, {})
    with pytest.raises(ValueError, match=r"out must not hold a run, got .*run with epoch-0002: add --resume auto"):
        run_to_resume(settings())
    assert run_to_resume(settings(resume="must")) == out / "epoch-0002"
    assert run_to_resume(settings(overwrite=True)) is None
    assert (out / "epoch-0002").is_dir()


def test_clearing_removes_the_run_and_nothing_else(settings, tiny) -> None:
    out = settings().out
    save_checkpoint(out, "epoch-0002", tiny(), None, {})
    for name in ("best.safetensors", "best", "best.replaced", "metrics.jsonl", "notes.txt"):
        (out / name).touch()
    (out / "trackers" / "pointcoc").mkdir(parents=True)
    clear_run(out)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_a_run_continues_with_its_settings(settings) -> None:
    found = plain_settings(settings())
    check_same_settings(Path("run/epoch-0001"), found, plain_settings(settings(epochs=9, workers=2, resume="must")))
    with pytest.raises(ValueError, match=r"settings of the run in run: lr was 0.01, is 0.02; seed was 0, is 1"):
        check_same_settings(Path("run/epoch-0001"), found, plain_settings(settings(lr=0.02, seed=1)))
