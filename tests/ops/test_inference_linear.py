"""A linear layer and GELU in one pass."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import EagerAndRecordGraphs
from torch.nn import functional as F

from pointcoc.ops import inference_linear as module
from pointcoc.ops.inference_linear import inference_linear

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.03, torch.float16: 0.01}


def parts(shape: tuple[int, ...], out: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    weight = torch.randn(out, shape[-1], dtype=torch.float64) * shape[-1] ** -0.5
    return tuple(one.to(dtype) for one in (torch.randn(shape), weight, torch.randn(out)))  # type: ignore[return-value]


def expected(x: Tensor, weight: Tensor, bias: Tensor, gelu: bool) -> Tensor:
    y = F.linear(*(one.double() for one in (x, weight, bias)))
    return F.gelu(y) if gelu else y


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 16), (1, 1), (0, 4)])
def test_it_is_linear_and_exact_gelu(dtype: torch.dtype, gelu: bool, shape: tuple[int, ...]) -> None:
    given = parts(shape, 6, dtype)
    y = inference_linear(*given, gelu)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), expected(*given, gelu), rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


def test_half_of_a_weight() -> None:
    x, weight, bias = parts((9, 8), 6, torch.float32)
    torch.testing.assert_close(inference_linear(x, weight[3:], bias[3:]), F.linear(x, weight, bias)[:, 3:])


def test_gradients_are_there_where_they_are_asked_for() -> None:
    x, weight, bias = parts((5, 7), 6, torch.float32)
    x.requires_grad_()
    gradient = torch.autograd.grad(inference_linear(x, weight, bias, gelu=True).sum(), x)[0]
    torch.testing.assert_close(gradient, torch.autograd.grad(F.gelu(F.linear(x, weight, bias)).sum(), x)[0])


def test_autocast_decides_the_dtype() -> None:
    given = parts((5, 7), 6, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        assert inference_linear(*given).dtype == torch.bfloat16


def test_torch_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HAS_ONEDNN", False)
    given = parts((5, 7), 6, torch.float32)
    assert torch.equal(inference_linear(*given, gelu=True), F.gelu(F.linear(*given)))


@pytest.mark.parametrize("freezing", [True, False])
def test_graphs_hold_the_operator_where_weights_are_frozen(freezing: bool) -> None:
    """Inductor takes the operator with constant weights only; a graph serves after the setting is taken back."""
    recorder = EagerAndRecordGraphs()
    compiled = torch.compile(module.inference_linear, backend=recorder, fullgraph=True)
    x, weight, bias = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5)
    with torch.no_grad():
        with torch._inductor.config.patch(freezing=freezing):
            y = compiled(x, weight, bias, True)
        torch.testing.assert_close(y, F.gelu(F.linear(x, weight, bias)))
        compiled(x, weight, bias, True)
    assert len(recorder.graphs) == 1
    assert ("_linear_pointwise" in recorder.graphs[0].code) == (freezing and module.HAS_ONEDNN)
