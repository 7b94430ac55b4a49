"""The command `pointcoc`: a subcommand is a function that adds its parser and one that runs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pointcoc.export import FORMATS, OUTPUTS, ExportForm, export_network
from pointcoc.models import open_network
from pointcoc.models.convert import convert_official
from pointcoc.models.weights import DOWNLOADS
from pointcoc.ops.options import NORMALIZERS
from pointcoc.pictures import add_animate, add_explore, add_visualize
from pointcoc.robustness_command import add_robustness
from pointcoc.version import __version__

USER_ERRORS = (ValueError, OSError, ImportError)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        args: the arguments, `sys.argv` if not given.

    Returns:
        Exit code: 0, or 2 with one sentence on stderr for a mistake of the user.

    Raises:
        SystemExit: with code 0 after --help and --version, with code 2 for options that cannot be read.
    """
    options = _parser().parse_args(args)
    try:
        options.run(options)
    except USER_ERRORS as error:
        print(f"pointcoc {options.command}: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pointcoc", description="Context Clusters for images and point clouds.")
    parser.add_argument("--version", action="version", version=f"pointcoc {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_convert(commands)
    add_export(commands)
    add_predict(commands)
    for add in (add_explore, add_visualize, add_animate, add_robustness):
        add(commands)
    return parser


def add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand `convert`."""
    parser = commands.add_parser(
        "convert",
        help="turn an official checkpoint into a folder for from_pretrained",
        description=f"Read a checkpoint of {DOWNLOADS} and write model.safetensors, config.json and a model card.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="file of the authors, such as coc_tiny.pth.tar")
    parser.add_argument(
        "out",
        metavar="OUT",
        nargs="?",
        help="folder to write; default: $POINTCOC_HOME/PRESET or ~/.cache/pointcoc/PRESET, where "
        "from_preset(..., pretrained=True) looks",
    )
    parser.add_argument("--preset", metavar="PRESET", help="whose weights; needed where the shapes fit several presets")
    parser.add_argument(
        "--normalizer",
        choices=NORMALIZERS,
        help="'similarity' for the weights of 2024, 'count' for earlier ones; needed unless the file is of 2023",
    )
    parser.add_argument("--force", action="store_true", help="replace a folder that was written before")
    parser.set_defaults(run=_convert)


def _convert(options: argparse.Namespace) -> None:
    folder, net = convert_official(options.checkpoint, options.out, options.preset, options.normalizer, options.force)
    num_parameters = sum(parameter.numel() for parameter in net.parameters())
    print(f"wrote {folder}: {num_parameters:,} parameters, normalizer {net.config.normalizer}")
    print(f"load it with ContextClusterNet.from_pretrained({str(folder)!r})")


def add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand `export`."""
    parser = commands.add_parser(
        "export",
        help="write a network as one graph: torch.export or ONNX",
        description="Write a network as one graph for a batch of any size, with logits as output.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder of a run, folder that save_pretrained or `pointcoc convert` wrote, name on the hub, or preset "
        "whose weights were converted",
    )
    parser.add_argument("out", metavar="OUT", help=f"file to write, its name ends with {' or '.join(FORMATS)}")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="size of the images")
    parser.add_argument("--num-points", type=int, metavar="N", help="points of each cloud")
    parser.add_argument(
        "--dynamic",
        action="store_true",
        help="images of other sizes too (.pt2: any; .onnx: sides that all stages split evenly, multiples of 32 mostly)",
    )
    parser.add_argument(
        "--output", choices=OUTPUTS, default="logits", help="what the graph gives; default: %(default)s"
    )
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    net = open_network(options.source)
    size = None if options.size is None else tuple(options.size)
    path = export_network(net, options.out, size, options.num_points, options.dynamic, options.output)
    names = ", ".join(ExportForm(net, options.output).output_names)
    print(f"wrote {path}: {path.stat().st_size / 2**20:.1f} MiB, output {names}")


def add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    parser.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> None:
    try:
        from pointcoc.predict import predict
    except ModuleNotFoundError as error:
        raise ImportError(f"predict needs {error.name}; install it with: pip install 'pointcoc[detection]'") from error
    done = predict(options.weights, options.inputs, options.out, options.threshold, options.window, options.category)
    count = len(options.inputs)
    print(f"wrote what {done.kind} says about {count} {'input' if count == 1 else 'inputs'} to {options.out}")


if __name__ == "__main__":
    raise SystemExit(main())
