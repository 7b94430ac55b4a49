"""The examples run as documented, resume, and answer mistakes with a sentence."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from recipes import EXAMPLES, example, records, run

from pointcoc.data import write_shapes
from pointcoc.train import run_command


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of small images in two classes, told apart by their color."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for number, name in enumerate(("blue", "red")):
            (folder / split / name).mkdir(parents=True)
            for image in range(count):
                pixels = random.integers(0, 80, (12, 10, 3), dtype=np.uint8)
                pixels[:, :, 2 * (1 - number)] += 150
                Image.fromarray(pixels).save(folder / split / name / f"{image}.png")
    return folder


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp("clouds") / "shapes", num_train=40, num_test=20, num_points=64)


@pytest.mark.parametrize("name", ["imagenet", "modelnet40"])
def test_smoke_on_the_command_line(name: str, tmp_path: Path, clouds: Path) -> None:
    """Files run from elsewhere, print and leave what they say; torchrun's processes print once, and all of them end."""
    data = [] if name == "imagenet" else ["--data", str(clouds), "--num-points", "64", "--preset", "coc_points_small"]
    launch = [] if name == "imagenet" else ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [sys.executable, "-W", "ignore", *launch, str(EXAMPLES / f"{name}.py"), "--smoke", "--out", "run", *data]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(",")[0] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    assert lines[-1].startswith("test accuracy ")
    assert lines[-1].endswith("minutes, files in run")
    assert ("no --data given" in lines[0]) == (name == "imagenet")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"best", "epoch-0001", "epoch-0002", "metrics.jsonl", "curves.png", "trackers", "evaluation"}


@pytest.mark.parametrize("form", ["image", "ink"])
def test_digits_as_images_and_as_ink_sets(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("imagenet", "--smoke", "--form", form, "--size", 16, "--epochs", 1, "--out", tmp_path / "run")
    assert f"digits as {form} of 16 pixels" in capsys.readouterr().out
    assert [record["split"] for record in records(tmp_path / "run")][-3:] == ["train", "val", "test"]


def test_an_image_folder_with_every_augmentation(images: Path, tmp_path: Path) -> None:
    mixing = ("--mixup", 0.8, "--cutmix", 1.0, "--erasing", 0.5, "--rand-augment", "rand-m9-mstd0.5-inc1")
    short = ("--preset", "coc_nano", "--smoke", "--epochs", 1, "--batch-size", 8)
    run("imagenet", "--data", images, "--size", 16, *mixing, *short, "--out", tmp_path / "small")
    run("imagenet", "--data", images, "--size", 72, *mixing, *short, "--out", tmp_path / "large")
    for size in ("small", "large"):
        assert records(tmp_path / size)[-1]["split"] == "test"


def test_shapes_are_made_on_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run("modelnet40", "--smoke", "--epochs", 1, "--num-points", 32, "--out", tmp_path / "run")
    assert "no --data given: training on sampled solids of 32 points" in capsys.readouterr().out
    assert list((tmp_path / "cache" / "pointcoc").iterdir())


def test_an_interrupted_run_resumes_to_the_same_weights(clouds: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    module = example("modelnet40")

    def train(out: Path, *more: str) -> None:
        data = ["--data", str(clouds), "--num-points", "64", "--preset", "coc_points_small", "--drop-path", "0.1"]
        words = ["--epochs", "3", "--batch-size", "12", "--warmup-epochs", "1", "--out", str(out), *data, *more]
        run_command(module.main, module.default_settings(words), module.__doc__, words)

    train(tmp_path / "whole")
    with monkeypatch.context() as patch:
        calls = iter(range(100))
        augment = module.Augment.__call__

        def stopped(self, data):
            if next(calls) == 60:  # in the middle of the second epoch
                raise KeyboardInterrupt
            return augment(self, data)

        patch.setattr(module.Augment, "__call__", stopped)
        with pytest.raises(SystemExit, match="130"):
            train(tmp_path / "stopped")
    assert "--resume auto continues from the last checkpoint" in capsys.readouterr().err
    train(tmp_path / "stopped", "--resume", "auto")
    whole, stopped_run = (
        (tmp_path / name / "epoch-0003" / "model.safetensors").read_bytes() for name in ("whole", "stopped")
    )
    assert whole == stopped_run
    assert records(tmp_path / "whole")[-1]["accuracy"] == records(tmp_path / "stopped")[-1]["accuracy"]


def test_the_test_set_is_read_once_and_last(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_image(path: str) -> Image.Image:
        opened.append(path)
        return Image.open(path).convert("RGB")

    monkeypatch.setattr("pointcoc.data.images.open_image", open_image)  # the pictures of the evaluation come after
    run(
        "imagenet", "--data", images, "--size", 16, "--preset", "coc_nano", "--epochs", 2, "--warmup-epochs", 0,
        "--batch-size", 8, "--workers", 0, "--out", tmp_path / "run",
    )  # fmt: skip
    from_val = [f"{images}/val/" in path for path in opened]
    assert sum(from_val) == 8
    assert all(from_val[-8:])


@pytest.mark.parametrize(
    ("name", "args", "sentence"),
    [
        ("imagenet", ["--epcohs", "3"], "--epcohs"),
        ("imagenet", ["--data", "nowhere"], "must be an existing folder, but nothing lies at nowhere"),
        ("imagenet", ["--preset", "coc_nono"], "unknown preset 'coc_nono'; choose from coc_tiny"),
        ("imagenet", ["--data", "x", "--form", "ink"], "form must be 'image' for --data, got 'ink'"),
        ("imagenet", ["--rand-augment", "rand-m9"], "rand_augment has no effect on digits"),
        ("imagenet", ["--form", "ink", "--mixup", "0.8"], "unless the input is an image tensor, got PointSet"),
        ("imagenet", ["--resume", "must"], "nothing to resume"),
        ("imagenet", ["--optimizer", "adamx"], "unknown optimizer 'adamx'"),
        ("modelnet40", ["--data", "nowhere"], "must be an existing folder, but nothing lies at nowhere"),
        ("modelnet40", ["--scale", "0.5"], "scale must be at least 1, got 0.5"),
        ("modelnet40", ["--up", "w"], "w"),
    ],
)
def test_a_mistake_gets_a_sentence(
    name: str, args: list[str], sentence: str, clouds: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--data", clouds, "--num-points", 64] if name == "modelnet40" and "--data" not in args else []
    with pytest.raises(SystemExit) as stop:
        run(name, "--smoke", *args, *data)
    assert stop.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_wrong_augmentation_is_named(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("imagenet", "--data", images, "--rand-augment", "random", "--smoke", "--out", tmp_path / "run")
    assert "rand_augment must be like rand-m9-mstd0.5-inc1" in capsys.readouterr().err


def test_defaults_follow_the_data() -> None:
    module = example("imagenet")
    assert module.default_settings([]) is module.DIGITS
    assert module.default_settings(["--data=x"]) is module.LARGE
    assert module.default_settings(["--data", "x", "--size", "32"]) is module.SMALL
    assert module.default_settings(["--data", "x", "--size=224"]) is module.LARGE
    clouds = example("modelnet40")
    assert clouds.default_settings([]) is clouds.SHAPES
    assert clouds.default_settings(["--data", "x"]) is clouds.CLOUDS


def test_ink_moves_by_whole_sites_and_stays_on_its_lattice() -> None:
    from pointcoc.data import digits

    move = example("imagenet").ShiftedInk()
    ink = digits("test", "ink", 16)
    torch.manual_seed(0)
    for item in (ink[row] for row in range(20)):
        moved = move(item)
        assert 0 < len(moved.pos) <= len(item.pos)
        assert moved.pos.min() >= 0
        assert moved.pos.max() < 16
        expected = torch.stack([moved.pos[:, 1], moved.pos[:, 0]], dim=1) / 15 - 0.5
        torch.testing.assert_close(moved.x[:, 1:], expected)


def test_a_rotation_keeps_the_up_axis_and_lengths() -> None:
    module = example("modelnet40")
    torch.manual_seed(0)
    rotation = module.random_rotation(180.0, 1)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3))
    torch.testing.assert_close(rotation[1], torch.tensor([0.0, 1.0, 0.0]))
    assert torch.equal(module.random_rotation(0.0, 2), torch.eye(3))
