"""Which configurations of FSDP are refused; what shards compute is compared with one process by test_ddp.py."""

from types import SimpleNamespace

import pytest
import torch

from pointcoc.train import fit
from pointcoc.train.sharding import gather_state, is_asked_for, scatter_state, switch_on


@pytest.mark.parametrize(
    ("configuration", "sentence"),
    [
        ({"FSDP_VERSION": "1"}, r"FSDP must have version 2 .*FSDP_VERSION=2.*, got 1"),
        ({"FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "true"}, "FSDP must have fsdp_offload_params: false"),
        ({"FSDP_VERSION": "2", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true"}, "fsdp_cpu_ram_efficient_loading: false"),
    ],
)
def test_other_configurations_are_refused(monkeypatch, configuration: dict[str, str], sentence: str) -> None:
    for name, value in configuration.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=sentence):
        switch_on(SimpleNamespace(mixed_precision="no"))


def test_one_process_has_no_shards(tiny, train_loader, settings, monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert is_asked_for()
    assert fit(tiny(), train_loader, None, settings(epochs=1)).updates == 3


def test_what_has_no_shards_stays_as_it_is() -> None:
    state = {"state": {0: {"step": torch.tensor(3.0), "mean": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    assert gather_state(state) == state
    assert scatter_state(state, [torch.zeros(2)]) == state
