"""A device that cannot do what is asked for, a configuration that is not known, and sentences that are said once."""

import pytest
from accelerate.utils import DistributedType

from pointcoc.train import evaluate, fit
from pointcoc.train.processes import is_main_process, make_accelerator, say


def test_fp16_is_refused_on_a_cpu(tiny, train_loader, settings, monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    with pytest.raises(ValueError, match="precision fp16 needs a GPU, got the device cpu; use bf16 there"):
        fit(tiny(), train_loader, None, settings(precision="fp16"))
    with pytest.raises(ValueError, match="precision fp16 needs a GPU"):
        evaluate(tiny(), train_loader, "fp16")


def test_another_kind_of_processes_is_refused(monkeypatch) -> None:
    monkeypatch.setattr("accelerate.Accelerator.distributed_type", DistributedType.DEEPSPEED)
    with pytest.raises(ValueError, match=r"for one process, for DDP .* or for FSDP, got DEEPSPEED"):
        make_accelerator("no")


def test_only_the_main_process_speaks(monkeypatch, capsys) -> None:
    assert is_main_process()
    say("heard")
    monkeypatch.setattr("pointcoc.train.processes.is_main_process", lambda: False)
    say("not heard")
    assert capsys.readouterr().out == "heard\n"
