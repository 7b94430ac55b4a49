"""Subcommands of `pointcoc`, one a file: `add` adds its options to the parser and sets the function that runs it."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
