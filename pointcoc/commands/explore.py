"""The command `explore`: one HTML page in which clusters light up. It needs the extra `viz`."""

import argparse
from pathlib import Path

from pointcoc.commands import Commands
from pointcoc.commands.inputs import add_inputs, count_of, distinct_names, find_files, import_viz, traces


def add(commands: Commands) -> None:
    """Add the subcommand `explore`."""
    parser = commands.add_parser(
        "explore",
        help="write one HTML page in which clusters light up under the pointer",
        description="Write one HTML page with everything inside: choose input, stage, block and head; point at a point "
        "to see its cluster and its center; turn clouds and zoom into them.",
    )
    add_inputs(parser)
    parser.add_argument("--out", metavar="FILE.html", required=True, help="page to write")


def run(options: argparse.Namespace) -> None:
    """Run the subcommand `explore`."""
    explore, out = import_viz("explore"), Path(options.out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out must be the name of an HTML page, such as page.html, got {out}")
    files = [str(one.path) for one in find_files(options)]
    names, shown = distinct_names(files), traces(options, files)
    exhibits = [explore.Exhibit(name, traced, about) for name, (_, traced, about) in zip(names, shown, strict=True)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(explore.explore_page(exhibits), encoding="utf-8")
    print(f"wrote {out}: {count_of(len(names), 'input')}, {out.stat().st_size / 1e6:.1f} MB; open it in a browser")
