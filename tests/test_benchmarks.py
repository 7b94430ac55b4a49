"""The benchmarks run, save what they print, and measure what they say."""

from __future__ import annotations

import ast
import json
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("timm")
pytest.importorskip("matplotlib")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CPU = torch.device("cpu")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """Import a module of benchmarks/, as a script there does."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module


@pytest.fixture
def bench(module) -> ModuleType:
    return module("bench")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")  # of others
def test_quick_prints_and_saves_every_section(bench, tmp_path: Path, capsys) -> None:
    bench.main(["--quick", "--device", "cpu", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "quick-cpu.json").read_text())
    report = (tmp_path / "quick-cpu.md").read_text()
    for section in ("networks", *bench.SECTIONS[:-1]):
        assert results[section], section
        assert f"## {bench.render_section(results, section)[0].removeprefix('## ')}\n" in report
    for line in report.splitlines():
        assert not line.startswith("| ") or line in printed
    assert results["command"] == f"python benchmarks/bench.py --quick --device cpu --out {tmp_path}"
    assert {"load_before", "load_after", "date"} <= results.keys()
    assert {"processor", "torch", "timm", "commit"} <= results["machine"].keys()
    assert "No GPU was used" in report
    assert (tmp_path / "quick-cpu.png").read_bytes().startswith(b"\x89PNG")
    timed = [*results["inference"], *results["training"], *results["detection"], *results["clouds"]]
    assert all(row["low"] <= row["seconds"] <= row["high"] for row in timed)
    assert {row["mode"] for row in results["inference"] if row["network"] == "resnet18"} == {"eager"}
    assert len(results["shares"]) == 4
    assert [row["network"] for row in results["detection"]][-1] == "resnet50"
    assert all(row["peak_bytes"] > 4 * row["parameters"] for row in results["detection"])  # at least the gradients


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--paper", "--device", "cpu"], "--paper needs a GPU"),
        (["--sections", "triton", "--device", "cpu"], "section triton needs a GPU"),
        (["--networks", "coc_tinny"], "unknown network 'coc_tinny'; choose from coc_tiny"),
        (["--networks", "coc_points"], "unknown network 'coc_points'"),
        (["--turns", "0"], "--batch, --size and --turns must be at least 1"),
        (["--batch", "0"], "must be at least 1"),
        (["--sections", "speed"], "invalid choice: 'speed'"),
    ],
)
def test_a_mistake_gets_a_sentence(bench, words: list[str], sentence: str, capsys) -> None:
    with pytest.raises(SystemExit):
        bench.parse(words)
    assert sentence in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(bench, capsys) -> None:
    with pytest.raises(SystemExit):
        bench.parse(["--device", "cuda"])
    assert "--device cuda needs a GPU, and torch finds none" in capsys.readouterr().err


def test_cases_that_are_asked_for(bench) -> None:
    options = bench.parse(["--device", "cpu", "--batch", "2", "4", "--size", "32", "64", "--modes", "eager", "frozen"])
    found = bench.cases_of(options)
    assert [(case.batch, case.size) for case in found] == [(2, (32, 64)), (4, (32, 64))]
    assert found[0].inference == ["eager", "frozen"] and found[0].training == ["eager"]
    sizes = [(case.batch, *case.size) for case in bench.cases_of(bench.parse(["--device", "cpu"]))]
    assert sorted(sizes) == [(1, 224, 224), (1, 800, 1344), (8, 224, 224)]


def test_turns_alternate_and_the_first_does_not_count(module) -> None:
    timing = module("tools.timing")
    calls: list[str] = []
    seconds = timing.take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, CPU)
    assert calls == ["a", "b"] * 3
    assert {key: len(times) for key, times in seconds.items()} == {"a": 2, "b": 2}
    found = timing.summary([3.0, 1.0, 2.0], units=8)
    assert found == {"seconds": 2.0, "low": 1.5, "high": 2.5, "turns": 3, "per_second": 4.0}
    assert timing.summary([2.0])["low"] == 2.0


def test_operations_and_bytes_by_hand(module) -> None:
    costs = module("tools.costs")
    layer, x = nn.Linear(3, 5), torch.randn(7, 3)
    assert costs.operations(layer, x) == 2 * 7 * 3 * 5
    assert costs.moved_bytes(nn.ReLU(), x) == 2 * x.nbytes
    assert costs.moved_bytes(nn.Flatten(0), x) == 0
    net = nn.Sequential(layer, nn.ReLU(), nn.Linear(5, 2))
    assert costs.saved_bytes(net, x) == x.nbytes + 4 * 7 * 5  # the input, and the output of ReLU once


def test_operations_of_the_inference_form_count_onednn(module) -> None:
    from pointcoc.ops.inference_linear import inference_linear

    class Layer(nn.Linear):
        def forward(self, x):
            return inference_linear(x, self.weight, self.bias, gelu=True)

    assert module("tools.costs").operations(Layer(3, 5), torch.randn(7, 3)) == 2 * 7 * 3 * 5


def test_saved_bytes_grow_with_images_and_shrink_by_checkpointing(module) -> None:
    costs = module("tools.costs")
    row = costs.memory_row("coc_nano", (16, 16), "float32", CPU)
    assert 0 < row["saved_bytes_recompute"] < row["saved_bytes"] / 4


def test_the_peak_of_live_bytes(module) -> None:
    x = torch.randn(500, 500)
    peak = module("tools.costs").peak_bytes(lambda: (x + 1).mul(2).relu(), CPU)
    assert 2 * x.nbytes <= peak < 2.1 * x.nbytes


def test_a_network_that_fails_leaves_a_sentence(module, monkeypatch: pytest.MonkeyPatch) -> None:
    images, report = module("tools.images"), module("tools.report")

    class Broken(nn.Module):
        def forward(self, x):
            raise RuntimeError("no such kernel")

    networks = {"coc_tiny": nn.Identity(), "resnet18": nn.Flatten(), "resnet50": Broken()}
    monkeypatch.setattr(images, "make_network", lambda name, size: networks[name])
    rows = images.inference_rows(images.Case(1, (8, 8), ("eager",), (), 2), "float32", list(networks), CPU)
    text = "\n".join("\n".join(lines) for lines in report.inference_tables({"inference": rows}))
    assert "| resnet50 | fails |" in text
    assert "- resnet50, eager: RuntimeError: no such kernel" in text
    assert "| best mode / best mode | resnet18 |" in text


def test_shares_of_the_limits(module) -> None:
    same = {"network": "net", "height": 8, "width": 8}
    row = {**same, "batch": 2, "dtype": "float32", "mode": "eager", "per_second": 10.0}
    results = {
        "networks": [{**same, "inference_gflops": 3.0, "moved_bytes_float32": 4e9}],
        "inference": [row, {**row, "mode": "frozen", "per_second": 20.0}, {**row, "mode": "compiled", "error": "no"}],
        "limits": {"copy": {"per_second": 160e9}, "float32": {"per_second": 100e9}},
    }
    del results["inference"][2]["per_second"]
    (share,) = module("tools.limits").share_rows(results)
    assert share["mode"] == "frozen"
    assert share["gflops_per_second"] == pytest.approx(60)
    assert (share["matmul_share"], share["copy_share"]) == (pytest.approx(0.6), pytest.approx(0.5))


def test_the_protocol_of_the_paper_and_its_networks(module) -> None:
    images, backbones = module("tools.images"), module("tools.backbones")
    for name in (*backbones.PAPER_OURS, *backbones.PAPER_PEERS, *backbones.OURS, *backbones.PEERS):
        backbones.check_network(name)
    rows = images.paper_rows(["coc_nano"], 1, 2, CPU)
    assert [row["mode"] for row in rows] == ["unfused", "eager"]
    assert rows[0]["per_second"] == pytest.approx(1 / rows[0]["seconds"])


def test_the_backends_of_the_cluster_operation(module) -> None:
    rows = module("tools.triton_op").triton_rows("coc_nano", 2, 16, 1, CPU, backends=("reference",))
    assert len(rows) == 3 * 2 * 2
    forward, both = rows[:2]
    assert (forward["step"], both["step"]) == ("forward", "forward and backward")
    assert 0 < forward["bytes"] < both["bytes"]
    module("tools.report").triton_tables({"triton": rows})


def test_pointnet2_is_left_out_without_torch_cluster(module, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    clouds = module("tools.clouds")
    monkeypatch.setattr(clouds, "extension", lambda name: None)
    assert set(clouds.cloud_networks()) == set(clouds.OURS)
    assert "PointNet++ is left out: it needs torch-cluster" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["unfused", "eager"])
def test_operators_add_up(module, mode: str, capsys) -> None:
    module("operators").main(["coc_nano", "--mode", mode, "--size", "32", "--batch", "2", "--runs", "1"])
    printed = capsys.readouterr().out
    milliseconds = [float(line.split(" | ")[1]) for line in printed.splitlines() if line.endswith("% |")]
    assert sum(milliseconds[:-1]) == pytest.approx(milliseconds[-1], abs=0.01 * len(milliseconds))
    assert "GFLOP/s in all" in printed


def test_scene_memory_measures_a_step_of_training(module) -> None:
    scene_memory = module("scene_memory")
    row = scene_memory.one_step(2000, recompute=True, device=CPU)
    assert 50 * 2**20 < row["before"] <= row["peak"]
    assert 0 < row["loss"] < 10
    rows = [{"points": 1024, "before": 2**20, "peak": 3 * 2**20}]
    assert scene_memory.table(rows)[-1] == "| 1,024 | 1 | 3 | 2.00 |"


@pytest.mark.parametrize("case", ["farthest", "cloud", "room", "box"])
def test_large_sets_measures_each_case(module, case: str) -> None:
    large_sets = module("large_sets")
    row = large_sets.measure(case, 300)
    assert 50 * 2**20 < row["before"] <= row["after_plan"] <= row["after_network"]
    assert 0 < row["plan"] < 60


def test_large_sets_prints_a_line_for_each_process(module, capsys: pytest.CaptureFixture[str]) -> None:
    module("large_sets").main(["--cases", "farthest", "--points", "300", "--threads", "1"])
    header, _, row, *_ = capsys.readouterr().out.splitlines()
    assert header.count("|") == row.count("|")
    assert row.startswith("| farthest | 300 | 1 |")


def test_the_readme_has_every_question() -> None:
    rows = re.findall(r"^\| `(\w+)\.py` \| (.*\?) \|$", (BENCHMARKS / "README.md").read_text(), re.MULTILINE)
    asked = {path.stem: ast.get_docstring(ast.parse(path.read_text())) or "" for path in BENCHMARKS.glob("*.py")}
    questions = {name: text.removeprefix("Question: ") for name, text in asked.items() if text.startswith("Question: ")}
    assert dict(rows).keys() == questions.keys()
    for name, question in rows:
        assert questions[name].casefold().startswith(question.replace("`", "").casefold()), name


def test_tools_import_no_question() -> None:
    questions = {path.stem for path in BENCHMARKS.glob("*.py")}
    for path in (BENCHMARKS / "tools").glob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not {node.module for node in nodes} & questions, path


def test_a_forest_names_points_above_the_ground(module, tmp_path: Path, capsys) -> None:
    random = np.random.default_rng(0)
    for area in ("Area_1", "Area_2"):
        (tmp_path / area).mkdir()
        pos = random.uniform(0, 1, (2000, 3)) * (50, 50, 0)
        is_above = ((pos[:, :2] > 20) & (pos[:, :2] < 26)).all(1)
        pos[is_above, 2] += 4
        np.save(tmp_path / area / "field.npy", np.column_stack([pos, 0 * pos, is_above]))
    baseline = module("scene_baseline")
    areas = {"train_areas": ("Area_1",), "test_areas": ("Area_2",), "classes": ("ground", "object")}
    found = baseline.main(baseline.BaselineSettings(data=tmp_path, **areas, trees=5))
    assert found["mean_iou"] > 0.9
    assert "random forest: mean IoU" in capsys.readouterr().out
