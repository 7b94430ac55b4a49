"""`pointcoc evaluate` on images: classes by name, layouts of folders, options that do not belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from image_kinds import photo

from pointcoc import ContextClusterNet
from pointcoc.cli import main
from pointcoc.data import image_folder
from pointcoc.data.image_transform import image_transform
from pointcoc.evaluation import evaluate_weights, open_labeled
from pointcoc.models import ImageTransform, WeightsInfo

NAMES = ("cat", "dog", "eel", "fox", "gnu", "hen")


@pytest.fixture(scope="module")
def net() -> ContextClusterNet:
    torch.manual_seed(0)
    net = ContextClusterNet.from_preset("coc_nano", num_classes=6, in_channels=3).eval()
    net.weights_info = WeightsInfo(class_names=NAMES, transform=ImageTransform(input_size=(32, 32)))
    return net


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos of each class in val/, none in train/."""
    root = tmp_path_factory.mktemp("data")
    for number in range(12):
        file = root / "val" / NAMES[number // 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        photo(seed=number).save(file)
    return root


def renamed(net: ContextClusterNet, names: tuple[str, ...] | None) -> ContextClusterNet:
    other = ContextClusterNet(net.config).eval()
    other.load_state_dict(net.state_dict())
    other.weights_info = WeightsInfo(class_names=names, transform=net.weights_info.transform)
    return other


def answers(net: ContextClusterNet, folder: Path) -> list[tuple[int, int]]:
    """Label and likeliest class of each image, one by one."""
    data = image_folder(folder, "val", image_transform(net, 3))
    with torch.no_grad():
        return [(label, int(net(image[None]).argmax())) for image, label in data]


def test_the_scores_are_those_of_the_images_one_by_one(net: ContextClusterNet, folder: Path) -> None:
    found, expected = evaluate_weights(net, folder), answers(net, folder)
    assert found.scores["accuracy"] == pytest.approx(sum(a == b for a, b in expected) / 12)
    assert found.findings.items[3].facts["predicted"] == expected[3][1]
    assert list(found.classes) == list(NAMES)
    assert found.classes["dog"]["count"] == 2
    wrong = [(NAMES[a], NAMES[b]) for a, b in expected if a != b]
    assert sorted(found.confused) == sorted({(*pair, wrong.count(pair)) for pair in wrong})


def test_classes_in_another_order_are_matched_by_name(net: ContextClusterNet, folder: Path) -> None:
    order = (3, 0, 5, 1, 4, 2)
    other = renamed(net, tuple(NAMES[number] for number in order))
    with torch.no_grad():
        for name in ("weight", "bias"):  # the same network with its classes in another order
            getattr(other.head, name).copy_(getattr(net.head, name)[list(order)])
    first, second = evaluate_weights(net, folder), evaluate_weights(other, folder)
    assert second.scores == pytest.approx(first.scores)
    assert {name: values["accuracy"] for name, values in second.classes.items()} == {
        name: values["accuracy"] for name, values in first.classes.items()
    }


def test_other_names_are_an_error_that_lists_them(net: ContextClusterNet, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"do not know: cat; only the weights have: cow"):
        evaluate_weights(renamed(net, ("cow", *NAMES[1:])), folder)


def test_fewer_classes_than_the_weights_know(net: ContextClusterNet, tmp_path: Path) -> None:
    photo().save((tmp_path / "eel").mkdir() or tmp_path / "eel" / "a.png")
    found = evaluate_weights(net, tmp_path)
    assert found.classes["eel"]["count"] == 1
    with pytest.raises(ValueError, match=r"tells 6 classes apart, .* holds 1, and the weights state no names"):
        evaluate_weights(renamed(net, None), tmp_path)


def test_names_of_the_data_are_shown_where_the_weights_have_none(net: ContextClusterNet, folder: Path) -> None:
    assert list(evaluate_weights(renamed(net, None), folder).classes) == list(NAMES)


@pytest.mark.parametrize("where", ["val", "", "test"])
def test_a_split_or_the_folder_of_the_classes_itself(net: ContextClusterNet, folder: Path, where: str) -> None:
    if where == "test":
        with pytest.raises(FileNotFoundError, match=r"test"):
            open_labeled(net, folder, split="test")
        return
    data = open_labeled(net, folder / where, split=None if where else "val").loader.dataset
    assert len(data) == 12


def test_a_training_set_alone_is_not_taken_for_a_test_set(net: ContextClusterNet, tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    photo().save(tmp_path / "train" / "cat" / "a.png")
    with pytest.raises(FileNotFoundError, match=r"must hold a folder val/ or valid/ or .* it holds train"):
        open_labeled(net, tmp_path)
    assert len(open_labeled(net, tmp_path, split="train").loader.dataset) == 1


def test_the_command(net: ContextClusterNet, folder: Path, tmp_path: Path, capsys) -> None:
    net.save_pretrained(tmp_path / "net")
    words = ["evaluate", "--weights", str(tmp_path / "net"), "--data", str(folder), "--out", str(tmp_path / "out")]
    assert main([*words, "--batch-size", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = evaluate_weights(tmp_path / "net", folder)
    assert lines[0] == found.line
    assert lines[1].split() == ["class", "count", "accuracy", "precision"]
    assert [line.split()[0] for line in lines[2:8]] == list(NAMES)
    assert lines[-1].startswith("wrote evaluation.json, classes.csv, confusion.csv, ")
    report = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert report["scores"] == pytest.approx(found.scores)
    assert report["weights"] == str(tmp_path / "net")
    assert main(words) == 0  # replaces what it wrote
    (tmp_path / "out" / "worst.csv").write_text("changed by hand")
    assert main(words) == 2
    assert "worst.csv would be replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"window": 3}, r"window has no effect on weights that are measured on images: leave it out"),
        ({"image_key": "png"}, r"image_key has no effect on class folders"),
        ({"source": "zip"}, r"unknown source 'zip'"),
        ({"batch_size": 0}, r"batch_size must be an integer of at least 1, got 0"),
        ({"workers": -1}, r"workers must be an integer of at least 0, got -1"),
    ],
)
def test_options_that_cannot_be_meant(net: ContextClusterNet, folder: Path, options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        open_labeled(net, folder, **options)


def test_a_network_without_classifier(folder: Path) -> None:
    with pytest.raises(ValueError, match="no classifier"):
        evaluate_weights(ContextClusterNet.from_preset("coc_nano", num_classes=0), folder)
    with pytest.raises(ValueError, match="must be of a kind that is measured on labeled data, got Linear"):
        evaluate_weights(torch.nn.Linear(2, 2), folder)
