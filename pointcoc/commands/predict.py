"""The command `predict`: what a trained model says about images and clouds."""

import argparse
import sys

from pointcoc.checks import import_extra
from pointcoc.commands import Commands
from pointcoc.commands.inputs import CLOUD_ENDINGS, add_columns, add_overwrite


def add(commands: Commands) -> None:
    """Add the subcommand `predict`."""
    parser = commands.add_parser(
        "predict",
        help="say what images and clouds show: classes, objects with boxes and masks, classes of pixels and points",
        description="Say what a trained model finds. Classifiers print names and confidence and write tables; "
        "detectors draw objects and write COCO JSON; segmenters write masks (PNG) or clouds (LAS, LAZ, PLY). Images "
        "and clouds are prepared as noted with the weights.",
    )
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help=f"images, or clouds ({CLOUD_ENDINGS}); folders of them, and globs such as 'photos/*.jpg'",
    )
    parser.add_argument(
        "--weights",
        metavar="PATH",
        required=True,
        help="folder of a run of any example, folder of save_pretrained, preset that was converted, or name on the hub",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder to write; classifiers need none, and write classes.csv and .json there"
    )
    add_overwrite(parser)
    classes = parser.add_argument_group("classifiers")
    classes.add_argument("--top", type=int, metavar="N", help="classes shown of each file; default: 5")
    classes.add_argument("--format", metavar="NAME", help="what is printed: table, json or csv; default: table")
    classes.add_argument("--batch-size", type=int, metavar="N", help="images read at once; default: 1")
    others = parser.add_argument_group("detectors and segmenters")
    others.add_argument(
        "--threshold",
        type=float,
        help="lowest score of an object, or of one of several labels of a file; default: 0.5",
    )
    others.add_argument("--window", type=int, help="side of sliding windows for classes of pixels; default: none")
    others.add_argument("--category", metavar="NAME", help="kind of the objects whose parts are wanted")
    add_columns(parser)


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `predict`."""
    predict = import_extra("pointcoc.predict", "detection", "this command needs").predict
    done = predict(
        options.weights,
        options.inputs,
        options.out,
        options.overwrite,
        top=options.top,
        format=options.format,
        batch_size=options.batch_size,
        threshold=options.threshold,
        window=options.window,
        category=options.category,
        columns=options.columns,
        decimal=None if options.decimal == "." else options.decimal,
    )
    if options.out is not None:  # not among the tables that are printed
        stream = sys.stderr if getattr(done, "format", "table") != "table" else sys.stdout
        print(f"wrote what {done.kind} says to {options.out}", file=stream)
