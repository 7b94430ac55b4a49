"""Running the examples in this process."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

from pointcoc.train import run_command

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def run(name: str, *args: object) -> None:
    """Run an example in this process."""
    words = [str(arg) for arg in args]
    module = example(name)
    default = module.default_settings(words) if hasattr(module, "default_settings") else module.DEFAULT
    run_command(module.main, default, module.__doc__, words)


def records(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
