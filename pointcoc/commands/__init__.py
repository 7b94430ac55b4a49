"""Subcommands of `pointcoc`, one a file: `add` adds its options to the parser, `run` runs it."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
