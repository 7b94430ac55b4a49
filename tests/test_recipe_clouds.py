"""The recipe of clouds: ScanObjectNN, points chosen anew, several seeds, votes, weights, stages of images."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from damage import write_damaged
from recipes import example, records, run
from torch_geometric.data import Data

from pointcoc import ContextClusterNet, PointSet
from pointcoc.data import PrepareCloud, collate_sets, write_shapes

QUICK = ("--smoke", "--epochs", 1, "--num-points", 32, "--preset", "coc_points_small")


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("clouds") / "shapes", num_train=20, num_test=10, num_points=48)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the files of OBJ_ONLY."""
    folder = tmp_path_factory.mktemp("h5_files") / "main_split_nobg"
    folder.mkdir()
    random = np.random.default_rng(0)
    for word, count in (("training", 30), ("test", 15)):
        with h5py.File(folder / f"{word}_objectdataset.h5", "w") as file:
            file["data"] = random.random((count, 40, 3)).astype(np.float32)
            file["label"] = np.arange(count) % 15
            file["mask"] = np.zeros((count, 40), np.int32)
    return folder.parent


def settings(**fields):
    module = example("modelnet40")
    plain = {
        "data": Path("x"), "scale": 1.0, "shift": 0.0, "resample": False, "center": "none", "scale_to": "none",
    }  # fmt: skip
    return module, replace(module.CLOUDS, **{**plain, **fields})


def test_scans_train_and_report_both_accuracies(scans: Path, tmp_path: Path, capsys) -> None:
    run("modelnet40", "--data", scans, "--variant", "OBJ_ONLY", *QUICK, "--out", tmp_path / "run", "--votes", 3)
    headline, voted = capsys.readouterr().out.splitlines()[-2:]
    assert headline.startswith("test accuracy ")
    assert "mean over classes" in headline
    assert voted.startswith("with votes of 3 views, which is not the result above: ")
    lines = records(tmp_path / "run")
    assert [line["split"] for line in lines[-2:]] == ["test", "test-votes"]
    assert lines[-1]["votes"] == 3


def test_a_damaged_file_is_named_with_its_row_and_can_be_left_out(clouds: Path, tmp_path: Path, capsys) -> None:
    folder = shutil.copytree(clouds, tmp_path / "clouds")
    file = folder / "ply_data_train0.h5"
    with h5py.File(file, "r") as whole:
        data, labels = whole["data"][()], whole["label"][()]
    write_damaged(file, data, labels, rows=(3,))
    options = ("--data", folder, *QUICK, "--out", tmp_path / "run")
    with pytest.raises(SystemExit) as stop:
        run("modelnet40", *options)
    assert stop.value.code == 2
    assert f"error: data of {file} cannot be read in row 3 (" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    run("modelnet40", *options, "--max-bad", 1)
    assert f"left out: {file} row 3: Can't synchronously read data (" in capsys.readouterr().out


def test_defaults_follow_variant_and_weights() -> None:
    module = example("modelnet40")
    assert module.default_settings(["--data", "x", "--variant", "OBJ_BG"]) is module.SCANS
    started = module.default_settings(["--data", "x", "--weights", "y"])
    assert (started.preset, started.weights, started.epochs) == (None, "y", 200)


def training(module, chosen):
    """What a recipe does to a training cloud."""
    return module.augmented(chosen, chosen.transform())


def test_each_epoch_takes_other_points_and_measuring_the_same_ones() -> None:
    module, chosen = settings(num_points=4, resample=True)
    stored = Data(pos=torch.arange(30.0).view(10, 3), y=torch.tensor([1]))
    torch.manual_seed(0)
    seen = [training(module, chosen)(stored).pos for _ in range(40)]
    rows = [frozenset((one[:, 0] / 3).round().int().tolist()) for one in seen]
    assert all(len(one) == 4 for one in rows)
    assert frozenset.union(*rows) == set(range(10))
    assert len(set(rows)) > 20
    measured = [PrepareCloud(chosen.transform())(stored).pos for _ in range(3)]
    assert len(measured[0]) == 4
    assert all(torch.equal(one, measured[0]) for one in measured)
    whole = replace(chosen, num_points=10)
    assert torch.equal(training(module, whole)(stored).pos, stored.pos)  # nothing to choose from: the order stays
    assert torch.equal(training(module, replace(chosen, resample=False))(stored).pos, measured[0])


def test_points_are_dropped_up_to_a_share_and_some_remain() -> None:
    module, chosen = settings(num_points=40, drop_points=0.75)
    stored = Data(pos=torch.arange(150.0).view(50, 3), y=torch.tensor([1]))
    torch.manual_seed(0)
    seen = [training(module, chosen)(stored).pos for _ in range(300)]
    sizes = torch.tensor([len(one) for one in seen])
    assert (sizes.min(), sizes.max()) == (10, 40)
    assert (sizes - 25).abs().float().mean().item() == pytest.approx(7.5, abs=1)  # uniform over 10 to 40
    measured = PrepareCloud(chosen.transform())(stored).pos
    drawn = set((measured[:, 0] / 3).round().int().tolist())
    for one in seen:
        rows = (one[:, 0] / 3).round().int().tolist()
        assert len(set(rows)) == len(one)
        assert set(rows) <= drawn  # of those that are measured, as without dropping
    assert len(training(module, replace(chosen, drop_points=0.999))(stored).pos) >= 1
    assert len(measured) == 40


def test_sets_of_other_sizes_train(clouds: Path, tmp_path: Path, capsys) -> None:
    run("modelnet40", "--data", clouds, *QUICK, "--drop-points", 0.9, "--out", tmp_path / "run")
    assert "test accuracy" in capsys.readouterr().out


def test_axes_stretch_apart_or_together() -> None:
    module, apart = settings(scale=2.0, num_points=5)
    cloud = Data(pos=torch.ones(5, 3), y=torch.tensor([0]))
    torch.manual_seed(0)
    each = torch.cat([training(module, apart)(cloud).pos[:1] for _ in range(200)])
    assert each.min() >= 0.5
    assert each.max() <= 2
    assert not torch.equal(each[:, 0], each[:, 1])
    together = torch.cat([training(module, replace(apart, same_scale=True))(cloud).pos[:1] for _ in range(200)])
    assert torch.equal(together[:, 0], together[:, 1])
    assert together[:, 0].std() > 0.2


def test_votes_are_the_mean_probability_over_fixed_views() -> None:
    module, voting = settings(votes=3, scale=1.5, rotate=180.0, num_points=32)
    net = ContextClusterNet.from_preset("coc_points_small", num_classes=5).eval()
    points, _ = collate_sets([Data(pos=torch.rand(size, 3), y=torch.tensor([0])) for size in (40, 33)])
    state = torch.get_rng_state()
    voter, again = (module.Voting(net, replace(voting, seed=seed)) for seed in (0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(voter.views, again.views)
    assert torch.equal(voter.views[0], torch.eye(3))
    with torch.no_grad():
        answers = []
        for view in voter.views:
            pos = points.pos @ view
            answers.append(net(PointSet(pos, pos, points.ptr)).softmax(1))
        torch.testing.assert_close(voter(points).exp(), sum(answers) / 3)


def test_seeds_give_mean_and_deviation_and_resume(clouds: Path, tmp_path: Path, capsys) -> None:
    words = ("--data", clouds, *QUICK, "--seeds", 2, "--seed", 4, "--out", tmp_path / "run", "--resume", "auto")
    run("modelnet40", *words)
    first = capsys.readouterr().out.splitlines()
    assert first[-1].startswith("2 seeds: test accuracy ")
    summary = json.loads((tmp_path / "run" / "seeds.json").read_text())
    scores = [records(tmp_path / "run" / f"seed-{seed}")[-1]["accuracy"] for seed in (4, 5)]
    assert [one["accuracy"] for one in summary["seeds"].values()] == scores
    mean, deviation = summary["mean_and_deviation"]["accuracy"]
    assert mean == pytest.approx(sum(scores) / 2)
    assert deviation == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    run("modelnet40", *words)
    assert capsys.readouterr().out.splitlines()[-1] == first[-1]


def test_weights_are_measured_alone_and_stages_come_from_images(clouds: Path, tmp_path: Path, capsys) -> None:
    source = ContextClusterNet.from_preset("coc_nano", depths=1, dims=(16, 24, 32), heads=2, head_dims=8)
    source.save_pretrained(tmp_path / "images")
    data = ("--data", clouds, "--num-points", 32)
    out = tmp_path / "run"
    run("modelnet40", "--data", clouds, *QUICK, "--init-from", tmp_path / "images", "--out", out)
    lines = capsys.readouterr().out.splitlines()
    assert f"{tmp_path / 'images'}: copied stages.0, stages.1, stages.2, norm (" in lines[0]
    accuracy = lines[-1].split(", epoch")[0]
    before = sorted(tmp_path.rglob("*"))
    run("modelnet40", "--smoke", *data, "--weights", out, "--eval-only", "--votes", 2)
    measured = capsys.readouterr().out.splitlines()
    assert measured[0] == f"{accuracy}, weights {out}"
    assert measured[1].startswith("with votes of 2 views")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--variant", "OBJ_BG"], "and features have no effect on sampled solids"),
        (["--data", "x", "--variant", "PB_T50_RX"], "PB_T50_RX"),
        (["--data", "x", "--eval-only"], "eval_only needs weights to measure"),
        (["--data", "x", "--weights", "y", "--preset", "coc_points"], "weights, which tell theirs, and not both"),
        (["--data", "x", "--weights", "y", "--init-from", "z"], "give one of the two"),
        (["--data", "x", "--weights", "y", "--eval-only", "--seeds", "2"], "seeds must be 1 for eval_only"),
        (["--drop-points", "1"], "drop_points is a share and must be in [0, 1), got 1.0"),
        (["--seeds", "0"], "seeds must be at least 1, got 0"),
        (["--data", "CLOUDS", "--num-points", "49"], "num_points must be in [1, 48], the points stored"),
        (["--data", "CLOUDS", "--num-points", "32", "--weights", "IMAGES"], "have pos_dim 2, and the data"),
        (["--data", "CLOUDS", "--num-points", "32", "--init-from", "IMAGES"], "choose a preset with 2 stages"),
    ],
)
def test_a_mistake_gets_a_sentence(args: list[str], sentence: str, clouds: Path, tmp_path: Path, capsys) -> None:
    if "IMAGES" in args:
        net = ContextClusterNet.from_preset("coc_nano", depths=(1, 1), **TWO_STAGES)
        net.save_pretrained(tmp_path / "images")
    places = {"CLOUDS": str(clouds), "IMAGES": str(tmp_path / "images")}
    with pytest.raises(SystemExit) as stop:
        run("modelnet40", "--smoke", "--out", tmp_path / "run", *(places.get(arg, arg) for arg in args))
    assert stop.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


TWO_STAGES = {
    "dims": 8, "heads": 2, "head_dims": 4, "mlp_ratios": 2, "strides": 2, "neighbors": 3, "regions": 1,
    "centers": 2,
}  # fmt: skip
