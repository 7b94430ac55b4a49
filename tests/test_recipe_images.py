"""The recipe of images: shards, Hugging Face datasets, weights alone, other sizes, stages of clouds, coordinates."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_sources import write_hub, write_shards
from recipes import example, records, run
from torchvision.utils import save_image

from pointcoc import ContextClusterNet
from pointcoc.models import ImageTransform, WeightsInfo

NETWORK = {
    "depths": 1, "dims": (8, 12, 16), "heads": 2, "head_dims": 4, "mlp_ratios": 2, "num_classes": 3,
}  # fmt: skip
QUICK = ("--smoke", "--size", 16, "--epochs", 1, "--batch-size", 4)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_shards(tmp_path_factory.mktemp("shards"), (8, 4), "train")
    return write_shards(folder, (6,), "validation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make class folders of noise in three classes."""
    root, generator = tmp_path_factory.mktemp("images"), torch.Generator().manual_seed(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in "abc":
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                save_image(torch.rand(3, 12, 14, generator=generator), root / split / name / f"{number}.png")
    return root


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Save a small network for three classes."""
    ContextClusterNet.from_preset("coc_nano", **NETWORK).save_pretrained(tmp_path / "network")
    return tmp_path / "network"


def weights(out: Path, name: str) -> bytes:
    return (out / name / "model.safetensors").read_bytes()


def test_the_official_recipe_is_the_default_of_large_images() -> None:
    large = example("imagenet").default_settings(["--data", "x"])
    expected = {
        "optimizer": "adamw", "lr": 1e-3, "batch_size": 1024, "weight_decay": 0.05, "warmup_epochs": 5, "epochs": 300,
        "min_lr": 1e-6, "rand_augment": "rand-m9-mstd0.5-inc1", "mixup": 0.8, "cutmix": 1.0, "erasing": 0.25,
        "label_smoothing": 0.1, "drop_path": 0.1, "size": 224, "preset": "coc_tiny", "crop_pct": 0.9,
    }  # fmt: skip
    assert {name: getattr(large, name) for name in expected} == expected
    assert large.ema > 0


def test_defaults_follow_source_and_weights() -> None:
    module = example("imagenet")
    words = ["--data", "x", "--source", "wds", "--num-classes", "9"]
    assert module.default_settings(words) == replace(module.LARGE, source="wds", num_classes=9, val_fraction=0.0)
    words = ["--data", "x", "--source", "hfds", "--val-split", "v", "--weights", "w"]
    assert module.default_settings(words) == replace(
        module.LARGE, source="hfds", val_split="v", val_fraction=0.0, weights="w", preset=None
    )
    assert module.default_settings(["--data", "x", "--source", "hfds"]).val_fraction == 0.02


def test_shards_train_and_resume_at_the_start_of_an_epoch(
    shards: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(out: Path, *more: object) -> None:
        data = ("--data", shards, "--source", "wds", "--num-classes", 3, "--weights", network, "--size", 16)
        augment = ("--rand-augment", "rand-m9-mstd0.5-inc1", "--erasing", 0.5)
        short = ("--epochs", 3, "--warmup-epochs", 1, "--batch-size", 4, "--workers", 0)
        run("imagenet", *data, *augment, *short, "--val-split", "validation", "--out", out, *more)

    train(tmp_path / "whole")
    lines = records(tmp_path / "whole")
    assert [line["split"] for line in lines] == ["train", "val"] * 3 + ["test"]
    assert lines[0]["update"] == 3
    with monkeypatch.context() as patch:
        from pointcoc.train import loop

        updates, one_update = iter(range(100)), loop.one_update

        def stopped(*args: object) -> float:
            if next(updates) == 4:  # within the second epoch
                raise KeyboardInterrupt
            return one_update(*args)

        patch.setattr(loop, "one_update", stopped)
        with pytest.raises(SystemExit):
            train(tmp_path / "stopped")
    train(tmp_path / "stopped", "--resume", "auto")
    assert weights(tmp_path / "whole", "epoch-0003") == weights(tmp_path / "stopped", "epoch-0003")


def test_a_smoke_run_on_shards(shards: Path, tmp_path: Path) -> None:
    data = ("--data", shards, "--source", "wds", "--num-classes", 3, "--mixup", 0.8, "--cutmix", 1.0)
    run("imagenet", *data, *QUICK, "--preset", "coc_nano", "--out", tmp_path / "run")
    assert [line["split"] for line in records(tmp_path / "run")][-2:] == ["train", "test"]


def test_a_hugging_face_dataset_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = write_hub(tmp_path, monkeypatch, {"train": 8, "validation": 4})
    options = ("--data", hub, "--source", "hfds", *QUICK, "--coordinates", "fourier")
    run("imagenet", *options, "--out", tmp_path / "run")
    assert [line["split"] for line in records(tmp_path / "run")][-3:] == ["train", "val", "test"]
    run("imagenet", *options, "--val-split", "validation", "--out", tmp_path / "other")
    assert records(tmp_path / "other")[-2]["split"] == "val"


def test_weights_are_measured_alone(folder: Path, shards: Path, network: Path, tmp_path: Path, capsys) -> None:
    module = example("imagenet")
    settings = replace(
        module.SMALL, data=str(shards), source="wds", num_classes=3, val_fraction=0.0, size=16, batch_size=6
    )
    before = sorted(tmp_path.rglob("*"))
    options = ("--weights", network, "--eval-only", "--size", 16, "--workers", 0)
    run("imagenet", "--data", folder, *options)
    line = capsys.readouterr().out
    assert line.startswith("test accuracy ")
    assert line.endswith(f"weights {network}\n")
    run("imagenet", "--data", shards, "--source", "wds", "--num-classes", 3, *options)
    shown = capsys.readouterr().out
    images = torch.stack([image for image, _ in module.open_images(settings, "validation")])
    labels = torch.arange(6) % 3
    with torch.no_grad():
        expected = float((ContextClusterNet.from_pretrained(network)(images).argmax(1) == labels).float().mean())
    assert shown.startswith(f"test accuracy {expected:.2%} (")
    assert sorted(tmp_path.rglob("*")) == before


def test_weights_are_tuned_at_another_size_and_for_other_classes(folder: Path, tmp_path: Path, capsys) -> None:
    net = ContextClusterNet.from_preset("coc_nano", **{**NETWORK, "num_classes": 10})
    net.save_pretrained(tmp_path / "ten")
    out = tmp_path / "run"
    run("imagenet", "--data", folder, "--weights", tmp_path / "ten", *QUICK, "--size", 24, "--lr", 1e-8,
        "--min-lr", 0, "--warmup-lr", 0, "--out", out)  # fmt: skip
    assert f"{tmp_path / 'ten'}: a new classifier, for 3 classes instead of 10" in capsys.readouterr().out
    tuned = ContextClusterNet(net.config.replace(num_classes=3))
    from pointcoc.train import load_weights

    load_weights(tuned, out)
    torch.testing.assert_close(tuned.reducers[0].weight, net.reducers[0].weight, rtol=0, atol=1e-6)
    assert tuned.head.weight.shape == (3, 16)


def test_stages_come_from_clouds(folder: Path, tmp_path: Path, capsys) -> None:
    stages = {name: NETWORK[name] for name in ("dims", "heads", "head_dims", "mlp_ratios")}
    ContextClusterNet.from_preset("coc_points_small", **stages).save_pretrained(tmp_path / "clouds")
    run("imagenet", "--data", folder, "--init-from", tmp_path / "clouds", *QUICK, "--out", tmp_path / "run")
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith(f"{tmp_path / 'clouds'}: copied stages.0, stages.1, stages.2, norm (")
    assert "new are reducers.0, reducers.1, reducers.2, head (" in line


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--source", "wds"], "source 'wds' needs --data"),
        (["--data", "x", "--source", "wds"], "num_classes must be given for tar shards"),
        (["--data", "x", "--num-classes", "3"], "num_classes must be given for tar shards and for nothing else"),
        (["--data", "x", "--label-key", "class"], "label_key has no effect on class folders"),
        (
            ["--data", "x", "--source", "wds", "--num-classes", "3", "--val-fraction", "0.1"],
            "val_fraction must be 0 for tar shards",
        ),
        (["--data", "x", "--crop-pct", "1.5"], "crop_pct must be above 0 and at most 1, got 1.5"),
        (["--frequencies", "8"], "frequencies has no effect on coordinates 'numbers'"),
        (["--crop-pct", "0.5"], "crop_pct has no effect on digits"),
        (["--weights", "NETWORK", "--eval-only"], "have in_channels 3, and the data or the settings ask for 1"),
        (["--data", "FOLDER", "--weights", "FIVE", "--eval-only"], "tell 5 classes, the data hold 3"),
        (["--data", "FOLDER", "--weights", "OTHER", "--eval-only"], "were trained on images of mean (0.5, 0.5, 0.5)"),
        (["--data", "FOLDER", "--weights", "NETWORK", "--coordinates", "fourier"], "have coordinates 'numbers'"),
    ],
)
def test_a_mistake_gets_a_sentence(
    args: list[str], sentence: str, folder: Path, network: Path, tmp_path: Path, capsys
) -> None:
    places = {"NETWORK": network, "FOLDER": folder}
    if "FIVE" in args:
        places["FIVE"] = tmp_path / "five"
        ContextClusterNet.from_preset("coc_nano", **{**NETWORK, "num_classes": 5}).save_pretrained(places["FIVE"])
    if "OTHER" in args:
        places["OTHER"] = tmp_path / "other"
        net = ContextClusterNet.from_preset("coc_nano", **NETWORK)
        net.weights_info = WeightsInfo(transform=ImageTransform(mean=(0.5, 0.5, 0.5)))
        net.save_pretrained(places["OTHER"])
    with pytest.raises(SystemExit) as stop:
        run("imagenet", "--smoke", "--out", tmp_path / "run", *(str(places.get(arg, arg)) for arg in args))
    assert stop.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())
