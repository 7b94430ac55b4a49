"""The command `predict`: what a trained model finds in images and clouds."""

import argparse

from pointcoc.checks import import_extra
from pointcoc.commands import Commands
from pointcoc.commands.inputs import count_of


def add(commands: Commands) -> None:
    """Add the subcommand `predict`."""
    parser = commands.add_parser(
        "predict",
        help="draw what a trained model finds: boxes and masks, classes of pixels, classes of points",
        description="Write what a model of detection or segmentation says about images (drawn, COCO JSON, PNG masks) "
        "or clouds (colored PLY).",
    )
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="images, or clouds (.npy, .ply, .txt, ...)")
    parser.add_argument(
        "--weights",
        metavar="PATH",
        required=True,
        help="folder of a run of examples/coco.py, ade20k.py, shapenetpart.py or s3dis.py, folder of save_pretrained, "
        "or name on the hub",
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder to write")
    parser.add_argument("--threshold", type=float, help="lowest score of an object; default: 0.5")
    parser.add_argument("--window", type=int, help="side of sliding windows for classes of pixels; default: none")
    parser.add_argument("--category", metavar="NAME", help="kind of the objects whose parts are wanted")


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `predict`."""
    predict = import_extra("pointcoc.predict", "detection", "this command needs").predict
    done = predict(options.weights, options.inputs, options.out, options.threshold, options.window, options.category)
    print(f"wrote what {done.kind} says about {count_of(len(options.inputs), 'input')} to {options.out}")
