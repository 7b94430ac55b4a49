"""The accuracy benchmark trains by the clock, chooses on the validation part, goes on where it stopped; its tables."""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pointcoc import ContextClusterNet

pytest.importorskip("timm")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """Import a module of benchmarks/, as a script there does."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module


@pytest.fixture(scope="module")
def image_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, dark and light, 8 images of 16 x 16 a split."""
    root, random = tmp_path_factory.mktemp("images"), np.random.RandomState(0)
    for split in ("train", "test"):
        for label, name in enumerate(("dark", "light")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                pixels = random.randint(128 * label, 128 * label + 127, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.jpg")
    return root


def words(image_root: Path, tmp_path: Path, *more: str) -> list[str]:
    paths = ["--out", str(tmp_path / "runs.jsonl"), "--results", str(tmp_path)]
    return ["--images", str(image_root), "--only", "coc_pico", "--minutes", "1e-4", *paths, *more]


def test_search_seeds_and_table_and_nothing_runs_twice(module, image_root: Path, tmp_path: Path, capsys) -> None:
    bench = module("accuracy")
    bench.main(words(image_root, tmp_path, "--lr", "4e-3", "--seed", "0"))
    assert not (tmp_path / "accuracy.md").exists()
    bench.main(words(image_root, tmp_path))
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in lines]
    chosen = max([runs[1], runs[2], runs[0]], key=lambda run: run["val"])["lr"]
    expected = [(4e-3, 0), (5e-4, 0), (1.5e-3, 0), (chosen, 1), (chosen, 2)]
    assert [(run["lr"], run["seed"]) for run in runs] == expected
    assert all(run["updates"] >= 1 and run["seconds"] >= 6e-3 for run in runs)
    assert all(run["epochs"] == run["updates"] and 0 <= run["test"] <= 100 for run in runs)  # 6 images, one batch
    report = (tmp_path / "accuracy.md").read_text()
    assert report.count("| coc_pico | 0.74 | ") == 1 and f"| {chosen:g} of 0.0005, 0.0015, 0.004 |" in report
    assert json.loads((tmp_path / "accuracy.json").read_text())["runs"] == runs
    capsys.readouterr()
    bench.main(words(image_root, tmp_path))
    assert (tmp_path / "runs.jsonl").read_text().splitlines() == lines
    assert "seed" not in capsys.readouterr().out.splitlines()[0]


def test_tuning_reads_no_test_set(module, image_root: Path, tmp_path: Path) -> None:
    options = ["--lr", "1e-3", "--seed", "0", "--clock", "cpu", "--overrides", '{"depths": 1, "dims": [8, 8, 8]}']
    module("accuracy").main(words(image_root, tmp_path, *options))
    (run,) = map(json.loads, (tmp_path / "runs.jsonl").read_text().splitlines())
    assert run["test"] is None and 0 <= run["val"] <= 100 and run["parameters"] < 100_000
    assert run["overrides"] == {"depths": 1, "dims": [8, 8, 8]}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--only", "dgcnn"], "--only dgcnn needs --clouds PATH"),
        (["--lr", "1e-3"], "--lr and --seed go together"),
        (["--overrides", '{"depths": 1}'], "--overrides goes with --lr and --seed, and --only names presets of ours"),
        (["--minutes", "0"], "--minutes, --seeds and --points must be above 0"),
        (["--only", "resnet81"], "invalid choice: 'resnet81'"),
    ],
)
def test_a_mistake_gets_a_sentence(module, image_root: Path, tmp_path: Path, more, sentence, capsys) -> None:
    with pytest.raises(SystemExit):
        module("accuracy").parse(words(image_root, tmp_path, *more))
    assert sentence in capsys.readouterr().err


def test_no_data_gets_a_sentence(module, capsys) -> None:
    with pytest.raises(SystemExit):
        module("accuracy").parse([])
    assert "give --images PATH, --clouds PATH or both" in capsys.readouterr().err


def test_the_table_by_hand(module) -> None:
    table = module("tools.accuracy_table")
    one = {"network": "net", "parameters": 1_500_000, "rate": 100.0, "epochs": 2.0}
    runs = [
        {**one, "lr": 1.0, "seed": 0, "val": 70.0, "test": 60.0},
        {**one, "lr": 2.0, "seed": 0, "val": 0.0, "test": 0.0, "error": "loss is nan"},
        {**one, "lr": 1.0, "seed": 1, "val": 0.0, "test": 62.0, "rate": 200.0},
        {**one, "lr": 2.0, "seed": 1, "val": 0.0, "test": 99.0},
    ]
    columns = {"images": {"net": (1.0, 2.0), "other": (1.0,)}}
    lines = table.tables(runs, columns, 3)
    assert lines[0] == "## Images" and len([line for line in lines if line.startswith("| net")]) == 2  # head, one row
    assert lines[4] == "| net | 1.50 | 1 of 1, 2 | 150 | 2.0 | 70.00 % | 61.00 ± 1.41 % | 60.00 to 62.00 % | 2 |"
    assert "- net, validation by learning rate: 1: 70.00 %, 2: loss is nan" in lines
    assert table.tables(runs[:1], columns, 3) == []  # the search is not finished


def test_the_rate_follows_the_share_of_the_time(module) -> None:
    rate_share = module("tools.timed_training").rate_share
    assert [rate_share(share, 0.2) for share in (0.0, 0.1, 0.2, 1.0, 1.1)] == pytest.approx([0, 0.5, 1, 0, 0])
    assert rate_share(0.6, 0.2) == pytest.approx(0.5)


def test_training_ends_with_its_time_and_names_a_loss_that_is_not_finite(module, monkeypatch) -> None:
    timed = module("tools.timed_training")
    clock = iter(range(100))
    monkeypatch.setitem(timed.CLOCKS, "wall", lambda: float(next(clock)))
    train = timed.Split(torch.randn(10, 3), torch.arange(10) % 2)
    seen: list[int] = []
    recipe = timed.Recipe(augment=lambda x: seen.append(len(x)) or x, batch=4)
    done = timed.train_for(nn.Linear(3, 2), train, recipe, lr=0.1, seconds=5, seed=0)
    assert (done.seconds, done.updates, done.items, seen) == (5.0, 5, 20, [4] * 5)
    assert math.isfinite(done.loss)
    recipe = timed.Recipe(augment=lambda x: x * math.nan, batch=4)
    with pytest.raises(FloatingPointError, match=r"loss is nan at update 0 with lr 0\.1"):
        timed.train_for(nn.Linear(3, 2), train, recipe, lr=0.1, seconds=5, seed=0)


def test_accuracy_by_hand(module) -> None:
    timed = module("tools.timed_training")
    split = timed.Split(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 1, 1]))
    recipe = timed.Recipe(augment=lambda x: x, batch=1)
    assert timed.accuracy(nn.Identity(), split, recipe) == pytest.approx(200 / 3)


def test_images_are_shifted_and_mirrored(module) -> None:
    torch.manual_seed(0)
    data = module("tools.small_data")
    image = torch.arange(1.0, 1 + 2 * 8 * 8).view(1, 2, 8, 8)
    many = data.augment_images(image.expand(300, -1, -1, -1))
    wide = [nn.functional.pad(one, [4] * 4)[0] for one in (image, image.flip(3))]
    windows = {tuple(w[:, i : i + 8, j : j + 8].flatten().tolist()) for w in wide for i in range(9) for j in range(9)}
    found = {tuple(one.flatten().tolist()) for one in many}
    assert found <= windows and len(found) > 100


def test_clouds_are_stretched_and_moved(module) -> None:
    torch.manual_seed(0)
    clouds = torch.randn(50, 7, 3)
    found = module("tools.small_data").augment_clouds(clouds)
    factor = (found[:, 1:] - found[:, :1]) / (clouds[:, 1:] - clouds[:, :1])
    assert torch.allclose(factor, factor[:, :1].expand_as(factor), rtol=1e-3)
    assert 1 / 1.501 < float(factor.min()) < 0.8 and 1.2 < float(factor.max()) < 1.501
    assert float((found - clouds * factor[:, :1]).abs().max()) < 0.201


def test_the_vit_has_the_parameters_of_our_preset(module) -> None:
    networks = module("tools.accuracy_networks")
    small, vit, resnet = (
        sum(p.numel() for p in networks.NETWORKS[name].build(10).parameters())
        for name in (networks.SMALL_PRESET, "vit", "resnet18")
    )
    assert 0.95 < vit / small < 1.05 and resnet > 11e6


@pytest.mark.parametrize("name", ["coc_points", "dgcnn", "pointnet2"])
def test_clouds_train(module, name: str) -> None:
    if name == "pointnet2":
        pytest.importorskip("torch_cluster")
    bench, timed = module("accuracy"), module("tools.timed_training")
    torch.manual_seed(0)
    split = timed.Split(torch.randn(6, 128, 3), torch.arange(6) % 3)
    net = module("tools.accuracy_networks").NETWORKS[name].build(3)
    recipe = bench.recipe_of("clouds")
    done = timed.train_for(net, split, recipe, lr=1e-3, seconds=1e-3, seed=0)
    assert (done.updates, done.items) == (1, 6) and math.isfinite(done.loss)
    assert 0 <= timed.accuracy(net, split, recipe) <= 100


def test_the_nearest_points_by_hand(module) -> None:
    pytest.importorskip("torch_geometric")
    nearest = module("tools.dgcnn").nearest
    x = torch.tensor([[0.0], [1.0], [3.0], [3.0], [2.9], [0.0]])  # two sets of three
    edges = {(int(to), int(near)) for near, to in nearest(x, 2, 2).T}
    assert edges == {(0, 0), (0, 1), (1, 1), (1, 0), (2, 2), (2, 1), (3, 3), (3, 4), (4, 4), (4, 3), (5, 5), (5, 4)}
    with pytest.raises(ValueError, match="clouds must have at least 4 points, the neighbors, got 3"):
        nearest(x, 2, 4)


def test_dgcnn_does_not_depend_on_the_order_of_points(module) -> None:
    from pointcoc.pointset import cloud_to_points

    torch.manual_seed(0)
    net = module("tools.dgcnn").DGCNN(5, neighbors=4, dims=(8, 8)).eval()
    clouds = torch.randn(3, 16, 3)
    logits = net(cloud_to_points(clouds))
    assert logits.shape == (3, 5)
    assert torch.allclose(logits, net(cloud_to_points(clouds[:, torch.randperm(16)])), atol=1e-5)


@pytest.mark.parametrize("domain", ["images", "clouds"])
def test_stages_move_to_the_other_domain(module, image_root: Path, tmp_path: Path, capsys, domain: str) -> None:
    from pointcoc.data import write_shapes

    clouds = write_shapes(tmp_path / "shapes", num_train=20, num_test=10, num_points=64)
    words = ["--images", str(image_root), "--clouds", str(clouds), "--points", "64", "--to", domain, "--seeds", "2"]
    module("transfer").main([*words, "--source-minutes", "1e-4", "--minutes", "1e-4"])
    lines = capsys.readouterr().out.splitlines()
    runs = [line for line in lines if line.startswith("0.0001 minutes, seed ")]
    assert [line.split(": ")[0].split("stages ")[1] for line in runs] == ["random", "copied"] * 2
    random, copied = ([float(line.split(": ")[1].split()[0]) for line in runs[first::2]] for first in (0, 1))
    cells = [f"{np.mean(one):.2f} ± {np.std(one, ddof=1):.2f} %" for one in (random, copied)]
    assert f"| 0.0001 | {cells[0]} | {cells[1]} |" in lines


def test_the_control_differs_in_the_stages_alone(module) -> None:
    transfer = module("transfer")
    source = ContextClusterNet.from_preset("coc_pico", num_classes=2)
    random, copied = (transfer.target(source, 5, "clouds", 3, copies=copies) for copies in (False, True))
    assert random.config == copied.config and random.config.dims == source.config.dims
    ours, theirs, first = copied.state_dict(), random.state_dict(), source.state_dict()
    for name, value in ours.items():
        is_copied = name.startswith(("stages.", "norm.")) or torch.equal(value, first.get(name, torch.empty(0)))
        assert torch.equal(value, first[name] if is_copied else theirs[name]), name
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours if name.startswith("stages."))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if name.startswith(("reducers.0.", "head.")))


def test_the_pipeline_counts_images(module, image_root: Path, tmp_path: Path, capsys) -> None:
    options = ["--network", "coc_pico", "--size", "32", "--batch", "2", "--batches", "2", "--turns", "1"]
    module("pipeline").main(["--data", str(image_root), "--results", str(tmp_path), "--workers", "0", "1", *options])
    results = json.loads((tmp_path / "pipeline.json").read_text())
    steps = [f"{kind}, {dtype}" for dtype in ("float32", "bfloat16") for kind in ("inference", "training")]
    assert list(results["rows"]) == ["loader, 0 workers", "loader, 1 workers", *steps]
    assert results["files"] == 16
    for name, row in results["rows"].items():
        assert row["per_second"] == pytest.approx((4 if name.startswith("loader") else 2) / row["seconds"])
    report = (tmp_path / "pipeline.md").read_text()
    rows = results["rows"]
    ratio = rows["loader, 1 workers"]["per_second"] / rows["inference, float32"]["per_second"]
    assert f"| loader, 1 workers | {ratio:.2f} |" in report and report in capsys.readouterr().out


def test_a_folder_without_photographs(module, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--data must be a folder with JPEG files"):
        module("pipeline").Files(tmp_path, 4, 32)
