"""Checkpoints are read as plain tensors, and what does not fit is listed."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pointcoc.models.weights.checkpoint_file import differences, fit_state, load_checkpoint, unwrap


def test_differences_are_listed_by_kind() -> None:
    state = {"a": torch.zeros(2), "b": torch.zeros(3, 1, 1), "c": torch.zeros(4)}
    assert differences(state, {"a": (2,), "b": (3,), "c": (4,)}) == ""
    assert differences(state, {"a": (5,), "b": (3,), "d": (1,)}) == (
        "1 missing: d; 1 left over: c; 1 of another shape: a (2,) instead of (5,)"
    )


def test_long_lists_are_cut() -> None:
    expected = {f"n{i}": (1,) for i in range(9)}
    assert differences({}, expected) == "9 missing: n0, n1, n2, n3, n4, n5 and 3 more"


def test_trailing_ones_are_dropped() -> None:
    assert fit_state({"w": torch.zeros(2, 3, 1, 1)}, {"w": (2, 3)}, "no fit")["w"].shape == (2, 3)
    with pytest.raises(ValueError, match=r"no fit; 1 of another shape: w \(2, 3, 2\) instead of \(2, 3\)"):
        fit_state({"w": torch.zeros(2, 3, 2)}, {"w": (2, 3)}, "no fit")


def test_the_command_for_a_file_that_needs_trust_works(tmp_path: Path) -> None:
    path = tmp_path / "coc tiny.pth.tar"
    torch.save({"state_dict": {"w": torch.ones(2)}, "args": SimpleNamespace(lr=1)}, path)
    with pytest.raises(ValueError, match="loading more could run code from the file; if you trust") as error:
        load_checkpoint(path)
    code = re.search(r'python -c "(.*)"; torch says', str(error.value))
    assert code is not None
    exec(code[1])
    loaded = unwrap(load_checkpoint(tmp_path / "coc tiny.plain.pth"))
    assert torch.equal(loaded["w"], torch.ones(2))


def test_options_of_a_training_script_are_harmless(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.ones(2)}, "args": argparse.Namespace(lr=1, opt="adamw")}, tmp_path / "x.pth")
    loaded = load_checkpoint(tmp_path / "x.pth")
    assert vars(loaded["args"]) == {"lr": 1, "opt": "adamw"}
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


def test_the_reason_of_torch_names_what_it_refused(tmp_path: Path) -> None:
    torch.save({"args": SimpleNamespace()}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"torch says: Unsupported .*types\.SimpleNamespace"):
        load_checkpoint(tmp_path / "x.pth")


def test_the_moving_average_is_taken_where_there_are_both() -> None:
    both = {"state_dict": {"w": torch.zeros(1)}, "state_dict_ema": {"w": torch.ones(1)}}
    assert unwrap(both)["w"].item() == 1
    with pytest.raises(ValueError, match="checkpoint holds no tensors"):
        unwrap({0: torch.ones(3)})
