"""The command `predict`: what a trained model finds in images and clouds."""

import argparse

from pointcoc.checks import import_extra
from pointcoc.commands import Commands
from pointcoc.commands.inputs import CLOUD_ENDINGS, add_columns, count_of


def add(commands: Commands) -> None:
    """Add the subcommand `predict`."""
    parser = commands.add_parser(
        "predict",
        help="write what a trained model finds: classes of clouds and of their points, boxes and masks, pixels",
        description="Write what a trained model says about clouds (class and confidence; or the class of each point, "
        "as LAS, LAZ or PLY) or images (drawn, COCO JSON, PNG masks). Clouds are prepared as those of the training.",
    )
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help=f"images, or clouds ({CLOUD_ENDINGS})")
    parser.add_argument(
        "--weights",
        metavar="PATH",
        required=True,
        help="folder of a run of examples/modelnet40.py, coco.py, ade20k.py, shapenetpart.py or s3dis.py, folder of "
        "save_pretrained, or name on the hub",
    )
    parser.add_argument("--out", metavar="FOLDER", help="folder to write; classes of whole clouds need none")
    parser.add_argument("--threshold", type=float, help="lowest score of an object; default: 0.5")
    parser.add_argument("--window", type=int, help="side of sliding windows for classes of pixels; default: none")
    parser.add_argument("--category", metavar="NAME", help="kind of the objects whose parts are wanted")
    add_columns(parser)


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `predict`."""
    predict = import_extra("pointcoc.predict", "detection", "this command needs").predict
    done = predict(
        options.weights,
        options.inputs,
        options.out,
        options.threshold,
        options.window,
        options.category,
        options.columns,
        None if options.decimal == "." else options.decimal,
    )
    if options.out is not None:
        print(f"wrote what {done.kind} says about {count_of(len(options.inputs), 'input')} to {options.out}")
