"""The command `robustness`: errors under corruptions as a table, a file and a picture. It needs the extra `train`."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from pointcoc.checks import import_extra
from pointcoc.commands import Commands
from pointcoc.commands.inputs import add_overwrite
from pointcoc.models import ContextClusterNet, open_network
from pointcoc.outputs import OutFolder

FILES = ("robustness.json", "robustness.md", "robustness.png")


def add(commands: Commands) -> None:
    """Add the subcommand `robustness`."""
    parser = commands.add_parser(
        "robustness",
        help="measure the error of a network on corrupted data and on fewer points",
        description="Measure a network on its test data under fifteen corruptions of five strengths (clouds: those of "
        "ModelNet40-C, images: those of CIFAR-10-C) and with 0 to 90 % of the points or pixels removed. Prints a table "
        "and writes robustness.json, robustness.md and robustness.png.",
    )
    parser.add_argument(
        "--weights",
        metavar="PATH",
        required=True,
        help="folder of a run or of save_pretrained, or name on the hub",
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="folder of images (val/CLASS/*.jpg, or test/) or of HDF5 clouds in the layout of ModelNet40; default: the "
        "digits or solids that come with pointcoc, where the network fits them",
    )
    parser.add_argument("--out", metavar="FOLDER", required=True, help="folder that receives the three files")
    add_overwrite(parser)
    parser.add_argument("--kinds", metavar="KIND", nargs="+", help="corruptions to apply; default: all fifteen")
    parser.add_argument("--strengths", metavar="N", nargs="+", type=int, help="of each, 1 to 5; default: all five")
    parser.add_argument("--limit", metavar="N", type=int, help="items to measure, drawn at random; default: all")
    parser.add_argument("--points", metavar="N", type=int, help="of each cloud, the first; default: 1024")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn; default: %(default)s")
    parser.add_argument("--batch-size", metavar="N", type=int, help="default: 32 clouds or 128 images")
    parser.add_argument(
        "--workers", metavar="N", type=int, default=0, help="processes that read and corrupt; default: %(default)s"
    )


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `robustness`."""
    _check_numbers(options)
    robustness = import_extra("pointcoc.robustness", "train", "this command needs")
    net = open_network(options.weights).float()
    views = robustness.open_views(
        net, options.data, options.points, options.limit, options.seed, options.batch_size, options.workers
    )
    kinds, strengths = options.kinds or views.kinds, options.strengths or robustness.STRENGTHS
    import_extra("pointcoc.robustness.measure", "train", "this command needs").check_choices(
        kinds, strengths, views.kinds
    )
    out = OutFolder(options.out, options.overwrite)
    out.check(FILES)
    result = _measured(robustness, net, views, kinds, strengths)
    about = {"weights": options.weights, "data": options.data, "seed": options.seed, "limit": options.limit}
    text = robustness.to_markdown(result)
    print(text)
    _write(out, "robustness.json", json.dumps(robustness.to_json(result, about), indent=1) + "\n")
    _write(out, "robustness.md", f"# Robustness of {options.weights}\n\n{text}")
    with out.file("robustness.png") as path:
        robustness.draw_robustness(result, net.config.num_classes).savefig(path, dpi=120)
    print(f"wrote robustness.json, robustness.md and robustness.png to {out.path}")


def _write(out: OutFolder, name: str, text: str) -> None:
    with out.file(name) as path:
        path.write_text(text, encoding="utf-8")


def _measured(
    robustness: Any, net: ContextClusterNet, views: Any, kinds: Sequence[str], strengths: Sequence[int]
) -> Any:
    """Measure behind a bar, which appears where people watch."""
    total = 1 + len(kinds) * len(strengths) + len(robustness.PERCENTS)
    tqdm = import_extra("tqdm", "train", "this command needs").tqdm
    with tqdm(total=total, unit="pass", disable=None, dynamic_ncols=True) as bar:

        def progress(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        return robustness.measure(robustness.accuracy_of(net), views, kinds, strengths, progress=progress)


def _check_numbers(options: argparse.Namespace) -> None:
    """Raise before anything is loaded if a number is too small."""
    for name, least in {"limit": 1, "points": 1, "batch_size": 1, "seed": 0, "workers": 0}.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"--{name.replace('_', '-')} must be at least {least}, got {value}")
