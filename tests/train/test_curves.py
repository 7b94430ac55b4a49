"""The picture shows what metrics.jsonl holds."""

import math
from pathlib import Path

from PIL import Image

from pointcoc.train.curves import draw_curves, save_curves
from pointcoc.train.metrics import append_metrics


def test_a_line_for_each_split() -> None:
    records = [
        {"split": split, "epoch": epoch, "loss": None if epoch == 2 else 1 / epoch, "accuracy": epoch / 4}
        for split in ("train", "val", "update")
        for epoch in (1, 2, 3)
    ]
    loss, accuracy = draw_curves(records).axes
    assert [line.get_label() for line in loss.lines] == ["train", "val"]
    assert list(accuracy.lines[1].get_ydata()) == [0.25, 0.5, 0.75]
    assert math.isnan(loss.lines[0].get_ydata()[1])


def test_the_picture_of_a_folder(tmp_path: Path) -> None:
    with (tmp_path / "metrics.jsonl").open("a") as metrics:
        append_metrics(metrics, "train", 1, {"loss": 1.0, "accuracy": 0.5})
    with Image.open(save_curves(tmp_path)) as picture:
        assert picture.format == "PNG"
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "curves.png"}
