"""Packages import in one direction, and `import pointcoc` is quiet and light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pointcoc

ROOT = Path(pointcoc.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LAYERS = (
    ("version", "checks", "deprecation", "extensions", "files", "pointset"),
    ("geometry",),
    ("ops",),
    ("nn",),
    ("models",),
    ("data", "train", "viz"),
    ("predict",),
    ("detection", "segmentation"),
    ("timm", "export", "pictures", "robustness"),
    ("robustness_command",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
OPTIONAL = (
    "torch_geometric",
    "torch_scatter",
    "torch_cluster",
    "triton",
    "matplotlib",
    "timm",
    "h5py",
    "sklearn",
    "tensorboard",
)
LIGHT = """
import sys, torch
before = set(sys.modules)
import pointcoc
after = {name.split(".")[0] for name in set(sys.modules) - before}
heavy = after & set(sys.argv[1:])
sys.exit(f"import pointcoc loads {sorted(heavy)}" if heavy else 0)
"""


def imports(path: Path) -> Iterator[str]:
    """Names of all modules a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} line {node.lineno}: write imports in full"
            yield node.module or ""


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_part_has_a_layer() -> None:
    assert {part(path) for path in FILES} == {*RANK, "__init__"}


@pytest.mark.parametrize("path", [path for path in FILES if path != ROOT / "__init__.py"], ids=lambda path: part(path))
def test_imports_go_down(path: Path) -> None:
    for name in imports(path):
        if name.split(".")[0] != "pointcoc":
            continue
        assert name != "pointcoc", f"{path}: import from the module, not from the package"
        target = name.split(".")[1]
        down = RANK[target] < RANK[part(path)] or target == part(path) or RANK[target] == RANK[part(path)] == 0
        sideways = RANK[target] == RANK[part(path)] == RANK["train"]
        assert down or (sideways and part(path) == "train"), f"{path} imports {name}"


def test_one_file_imports_the_compiled_packages() -> None:
    for path in FILES:
        found = {name.split(".")[0] for name in imports(path)} & {"torch_scatter", "torch_cluster"}
        assert not found, f"{path} imports {found}; pointcoc.extensions does that"


@pytest.mark.parametrize("name", ["pointcoc", "pointcoc.geometry", "pointcoc.ops", "pointcoc.nn", "pointcoc.models"])
def test_public_names_are_there_and_sorted(name: str) -> None:
    __import__(name)
    module = sys.modules[name]
    assert all(hasattr(module, public) for public in module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


def test_import_is_quiet_and_light() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:pointcoc", "-c", LIGHT, *OPTIONAL], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
