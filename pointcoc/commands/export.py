"""The command `export`: a network as one graph."""

import argparse

from pointcoc.commands import Commands
from pointcoc.export import FORMATS, OUTPUTS, ExportForm, export_network
from pointcoc.models import load


def add(commands: Commands) -> None:
    """Add the subcommand `export`."""
    parser = commands.add_parser(
        "export",
        help="write a network as one graph: torch.export or ONNX",
        description="Write a network as one graph for a batch of any size, with logits as output.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="folder of a run of a classifier or a Semantic FPN, folder that save_pretrained or `pointcoc convert` "
        "wrote, name on the hub, or preset whose weights were converted",
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


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `export`."""
    net = load(options.source)
    size = None if options.size is None else tuple(options.size)
    path = export_network(net, options.out, size, options.num_points, options.dynamic, options.output)
    names = ", ".join(ExportForm(net, options.output).output_names)
    print(f"wrote {path}: {path.stat().st_size / 2**20:.1f} MiB, output {names}")
