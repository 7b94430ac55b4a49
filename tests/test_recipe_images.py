"""The recipe of images: shards, Hugging Face datasets, weights alone, other sizes, stages of clouds, coordinates."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_sources import write_hub, write_shards
from PIL import Image
from recipes import example, records, run
from torchvision.utils import save_image

import pointcoc
from pointcoc import ContextClusterNet
from pointcoc.data.image_transform import image_transform
from pointcoc.data.images import digest
from pointcoc.evaluation import evaluate_weights
from pointcoc.models import ImageTransform, WeightsInfo
from pointcoc.models.weights import find_weights, read_info

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


def lines_of(capsys: pytest.CaptureFixture) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_names_travel_and_are_matched(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "run"
    run("imagenet", "--data", folder, *QUICK, "--preset", "coc_nano", "--out", out)
    said = lines_of(capsys)
    assert (
        "3 classes; 9 training, 3 validation, 6 test images of 16 x 16 pixels; to learn from: 4 of each class"
        in said[0]
    )
    assert read_info(find_weights(out))[1].class_names == {0: "a", 1: "b", 2: "c"}
    report = json.loads((out / "evaluation" / "evaluation.json").read_text())
    assert [one["name"] for one in report["classes"]] == ["a", "b", "c"]
    before = said[-1].split(", epoch")[0]
    other = tmp_path / "other"  # the same network with its classes in another order
    net = pointcoc.load(out)
    with torch.no_grad():
        for parameter in net.head.parameters():
            parameter.copy_(parameter[[2, 0, 1]])
    net.weights_info = replace(net.weights_info, class_names=("c", "a", "b"))
    net.save_pretrained(other)
    run("imagenet", "--data", folder, "--weights", other, "--eval-only", *QUICK)
    assert lines_of(capsys)[-1].split(", weights")[0] == before
    run("imagenet", "--data", folder, "--weights", other, *QUICK, "--epochs", 1, "--lr", 1e-9, "--min-lr", 0,
        "--warmup-lr", 0, "--out", tmp_path / "on")  # fmt: skip
    said = lines_of(capsys)
    assert said[0] == f"{other}: the classifier is put into the order of the 3 classes of the data"
    assert read_info(find_weights(tmp_path / "on"))[1].class_names == {0: "a", 1: "b", 2: "c"}
    torch.testing.assert_close(
        pointcoc.load(tmp_path / "on").head.weight, pointcoc.load(out).head.weight, atol=1e-5, rtol=0
    )


def test_other_names_get_a_new_classifier_or_a_sentence(folder: Path, tmp_path: Path, capsys) -> None:
    net = ContextClusterNet.from_preset("coc_nano", **NETWORK)
    net.weights_info = WeightsInfo(class_names=("a", "b", "z"))
    net.save_pretrained(tmp_path / "z")
    run("imagenet", "--data", folder, "--weights", tmp_path / "z", *QUICK, "--out", tmp_path / "run")
    assert lines_of(capsys)[0] == f"{tmp_path / 'z'}: a new classifier, for other classes: the weights do not know c"
    with pytest.raises(SystemExit):
        run("imagenet", "--data", folder, "--weights", tmp_path / "z", "--eval-only", *QUICK)
    assert "the data has classes that the weights do not know: c; only the weights have: z" in capsys.readouterr().err


def test_shards_take_names_from_a_file(shards: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "names.txt").write_text("ant\nbee\n\ncat\n")
    data = ("--data", shards, "--source", "wds", "--num-classes", 3, "--class-names", tmp_path / "names.txt")
    run("imagenet", *data, *QUICK, "--preset", "coc_nano", "--out", tmp_path / "run")
    assert read_info(find_weights(tmp_path / "run"))[1].class_names == {0: "ant", 1: "bee", 2: "cat"}
    (tmp_path / "names.txt").write_text("ant\nbee\n")
    with pytest.raises(SystemExit):
        run("imagenet", *data, *QUICK, "--out", tmp_path / "other")
    assert "must hold the names of the 3 classes, a line each, got 2 lines with 2 names" in capsys.readouterr().err


@pytest.mark.parametrize("augment", [(), ("--rand-augment", "rand-m9-mstd0.5-inc1", "--erasing", 1.0)])
def test_gray_and_other_shapes(folder: Path, tmp_path: Path, augment: tuple, capsys) -> None:
    options = ("--smoke", "--size", 16, 24, "--in-chans", 1, "--epochs", 1, "--batch-size", 4, *augment)
    run("imagenet", "--data", folder, *options, "--preset", "coc_nano", "--out", tmp_path / "run")
    said = lines_of(capsys)
    assert "images of 16 x 24 pixels" in said[0]
    net = pointcoc.load(tmp_path / "run")
    transform = net.weights_info.transform
    assert (net.config.in_channels, transform.input_size) == (1, (16, 24))
    assert (transform.mean, transform.std) == (pytest.approx((0.449,)), pytest.approx((0.226,)))
    assert image_transform(net)(Image.new("RGB", (50, 30))).shape == (1, 16, 24)
    found = evaluate_weights(tmp_path / "run", folder)
    assert said[-1].startswith(f"test {found.line.split(',')[0]}") or len(found.findings.items) == 6
    assert net.predict(folder / "val" / "a" / "0.png").name in "abc"


def test_large_images_of_another_shape_are_cropped_and_zoomed(folder: Path) -> None:
    module = example("imagenet")
    settings = replace(module.LARGE, data=str(folder), size=(80, 96))
    image = Image.open(folder / "val" / "a" / "0.png")
    assert module.train_transform(settings)(image).shape == (3, 80, 96)
    assert module.plain_transform(settings)(image).shape == (3, 80, 96)


def test_a_folder_without_a_split(tmp_path: Path, capsys) -> None:
    generator = torch.Generator().manual_seed(0)
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            save_image(torch.rand(3, 12, 14, generator=generator), tmp_path / "data" / name / f"{number}.png")
    out = tmp_path / "run"
    run("imagenet", "--data", tmp_path / "data", "--size", 16, "--epochs", 1, "--warmup-epochs", 0, "--workers", 0,
        "--batch-size", 4, "--preset", "coc_nano", "--out", out)  # fmt: skip
    said = capsys.readouterr()
    assert "note: " in said.err
    assert "of 24 images are held out, chosen by their names" in said.err
    split = json.loads((out / "split.json").read_text())
    assert len(split["train"]) + len(split["val"]) == 24
    noted = read_info(find_weights(out))[1].notes["made_split"]
    assert noted == digest(split["train"])
    found = evaluate_weights(out, tmp_path / "data")
    assert f"the {len(split['val'])} of 24 images that were held out are measured" in capsys.readouterr().out
    assert len(found.findings.items) == len(split["val"])
    assert said.out.splitlines()[-1].startswith(f"test {found.line},")
    (tmp_path / "data").rename(tmp_path / "moved")
    assert len(evaluate_weights(out, tmp_path / "moved").findings.items) == len(split["val"])
    (tmp_path / "moved" / "a" / "new.png").write_bytes((tmp_path / "moved" / "a" / "0.png").read_bytes())
    assert len(evaluate_weights(out, tmp_path / "moved").findings.items) == 25  # other data: all of it
