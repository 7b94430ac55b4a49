"""The command `evaluate`: what weights are worth on labeled data, by class and by item."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from pointcoc.checks import import_extra
from pointcoc.commands import Commands
from pointcoc.commands.inputs import add_columns, add_overwrite

MOST_CLASSES = 40
MOST_CONFUSED = 5


def add(commands: Commands) -> None:
    """Add the subcommand `evaluate`."""
    parser = commands.add_parser(
        "evaluate",
        help="measure weights on labeled data: scores of each class, confusions, and the worst items",
        description="Measure weights of any kind on labeled data: accuracy and top 5, IoU or average precision of each "
        "class, the confusion matrix, and the worst items as a page of pictures. Classes are matched by name. The "
        "training scripts write the same into the folder evaluation of a run.",
    )
    parser.add_argument(
        "--weights",
        metavar="PATH",
        required=True,
        help="folder of a run of any example, folder of save_pretrained, preset that was converted, or name on the hub",
    )
    parser.add_argument(
        "--data", metavar="PATH", required=True, help="data in a layout that the training of these weights reads"
    )
    parser.add_argument(
        "--split",
        metavar="NAME",
        nargs="+",
        help="part of the data; default: val, test or validation, whichever there is. Scenes: names of folders",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder to write: evaluation.json, tables (CSV) and pictures; default: none"
    )
    add_overwrite(parser)
    parser.add_argument("--batch-size", metavar="N", type=int, help="items read at once; default: as the data suggests")
    parser.add_argument(
        "--workers", metavar="N", type=int, default=0, help="processes that read the data; default: %(default)s"
    )
    images = parser.add_argument_group("images with classes")
    images.add_argument("--source", metavar="NAME", help="folder, wds (tar shards) or hfds (hub); default: folder")
    images.add_argument("--image-key", metavar="NAME", help="column or ending of the images of wds and hfds")
    images.add_argument("--label-key", metavar="NAME", help="column or field of the labels of wds and hfds")
    masks = parser.add_argument_group("masks and scenes")
    masks.add_argument("--first-class", metavar="N", type=int, help="number of the first class in masks")
    masks.add_argument("--ignore", metavar="N", nargs="+", help="numbers of masks or labels of scenes to leave out")
    masks.add_argument("--window", metavar="N", type=int, help="side of sliding windows over images, in pixels")
    masks.add_argument(
        "--labels",
        metavar="N=NAME",
        nargs="+",
        help="classes of labels of scenes; table of images with several labels",
    )
    masks.add_argument("--segment", metavar="NAME", help="array of labels in folders of arrays")
    objects = parser.add_argument_group("detectors")
    objects.add_argument("--annotations", metavar="FILE", help="COCO file of the images in --data")
    clouds = parser.add_argument_group("clouds")
    clouds.add_argument("--variant", metavar="NAME", help="variant of ScanObjectNN")
    add_columns(parser)


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `evaluate`."""
    evaluation = import_extra("pointcoc.evaluation", "train", "this command needs")
    out = None
    if options.out is not None:  # before the work
        out = import_extra("pointcoc.outputs").OutFolder(options.out, options.overwrite)
        out.check(import_extra("pointcoc.train.evaluation", "train", "this command needs").FILES)
    found = evaluation.evaluate_weights(options.weights, options.data, progress=True, **_given(options))
    print(found.line)
    _print_classes(found, import_extra("pointcoc.train.findings", "train", "this command needs").spoken)
    for true, predicted, count in found.confused[:MOST_CONFUSED]:
        print(f"{true} taken for {predicted}: {count:,}")
    if out is not None:
        print(f"wrote {', '.join(found.write(out))} to {options.out}")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    names = (
        "batch_size", "workers", "source", "image_key", "label_key", "first_class", "ignore", "window", "labels",
        "segment", "annotations", "variant", "columns",
    )  # fmt: skip
    given = {name: getattr(options, name) for name in names}
    if options.split is not None:
        given["split"] = options.split[0] if len(options.split) == 1 else options.split
    given["decimal"] = None if options.decimal == "." else options.decimal
    return given


def _print_classes(found: Any, spoken: Callable[[str], str]) -> None:
    """Print a table of the classes; of many, those with the lowest scores."""
    classes = found.classes
    if not classes:
        return
    columns = list(next(iter(classes.values())))
    rows = list(classes.items())
    if len(rows) > MOST_CLASSES:
        score = columns[-1] if "count" not in columns or len(columns) == 1 else columns[1]
        rows.sort(key=lambda row: math.inf if math.isnan(row[1][score]) else row[1][score])
        print(f"the {MOST_CLASSES} of {len(rows)} classes with the lowest {spoken(score)}:")
        rows = rows[:MOST_CLASSES]
    width = max(len("class"), *(len(name) for name, _ in rows))
    print("  ".join([f"{'class':{width}}", *(f"{spoken(name):>9}" for name in columns)]))
    for name, values in rows:
        cells = [_cell(column, values[column]).rjust(max(9, len(column))) for column in columns]
        print("  ".join([f"{name:{width}}", *cells]))


def _cell(column: str, value: float) -> str:
    if column == "count":
        return f"{value:,}"
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"
