"""Packages import in one direction, files in no circle, and `import pointcoc` is quiet and light."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import pointcoc

ROOT = Path(pointcoc.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LAYERS = (
    ("version", "checks", "deprecation", "extensions", "files", "outputs", "pointset"),
    ("geometry",),
    ("ops",),
    ("nn",),
    ("models",),
    ("data",),
    ("train", "viz"),
    ("predict",),
    ("detection", "segmentation"),
    ("timm", "export", "robustness", "evaluation"),
    ("commands",),
    ("cli",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ORDER = " <- ".join(f"`{', '.join(names)}`" for names in LAYERS)
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
    """Names of all modules and members a file imports anywhere, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} line {node.lineno}: write imports in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(name: str, root: Path) -> Path | None:
    """The file that a name comes from, None where it is not of the package."""
    parts = name.split(".")
    if parts[0] != root.name:
        return None
    at = root.joinpath(*parts[1:])
    candidates = (at.with_suffix(".py"), at / "__init__.py", at.parent.with_suffix(".py"), at.parent / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def file_imports(root: Path) -> dict[Path, set[Path]]:
    """The files that each file of a package imports; lazy names of the package itself are not followed."""
    files = [path for path in root.rglob("*.py") if path != root / "__init__.py"]
    return {path: {found for name in imports(path) if (found := file_of(name, root)) in files} for path in files}


def in_circles(graph: Mapping[Path, set[Path]]) -> set[Path]:
    """Files that reach themselves."""
    reached = {path: set(found) for path, found in graph.items()}
    for middle in graph:
        for path in graph:
            if middle in reached[path]:
                reached[path] |= reached[middle]
    return {path for path, found in reached.items() if path in found}


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_every_part_has_a_layer() -> None:
    assert {part(path) for path in FILES} == {*RANK, "__init__"}


@pytest.mark.parametrize("path", [path for path in FILES if path != ROOT / "__init__.py"], ids=lambda path: part(path))
def test_imports_go_down(path: Path) -> None:
    for name in imports(path):
        if name.split(".")[0] != "pointcoc":
            continue
        assert file_of(name, ROOT) != ROOT / "__init__.py", f"{path}: import from the module, not from the package"
        target = name.split(".")[1]
        down = RANK[target] < RANK[part(path)] or target == part(path) or RANK[target] == RANK[part(path)] == 0
        assert down, f"{path} imports {name}"


def test_files_import_in_no_circle() -> None:
    circle = {str(path.relative_to(ROOT)) for path in in_circles(file_imports(ROOT))}
    assert not circle, f"these files import one another: {', '.join(sorted(circle))}"


@pytest.mark.parametrize(
    "line",
    [
        "from pack.b.two import two",
        "from pack.b import two",
        "import pack.b.two",
        "def late():\n    from pack.b.two import two",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.b.two import two",
    ],
)
def test_a_circle_is_found_wherever_the_import_stands(tmp_path: Path, line: str) -> None:
    root = tmp_path / "pack"
    files = {"a/one.py": line, "b/two.py": "from pack.b.three import three", "b/three.py": "", "b/four.py": line}
    for name, text in {**files, "__init__.py": "", "b/__init__.py": "from pack.b.two import two"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert in_circles(file_imports(root)) == set()
    (root / "b/three.py").write_text("from pack.a.one import one")
    assert in_circles(file_imports(root)) == {root / "a/one.py", root / "b/two.py", root / "b/three.py"}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_pages_state_the_order_of_imports(page: str) -> None:
    text = " ".join((ROOT.parent / page).read_text().split())
    assert ORDER in text, f"{page} must state the order of imports: {ORDER}"


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


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("pointcoc.models", "FusedNet", "FoldedNet"),
        ("pointcoc.nn", "FusedBlock", "FoldedBlock"),
        ("pointcoc.ops", "BACKENDS", "OPERATORS"),
    ],
)
def test_old_names_work_with_a_warning(module: str, old: str, new: str) -> None:
    where = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=f"{module}.{old} goes with the next release: use {module}.{new}"):
        assert getattr(where, old) is getattr(where, new)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = where.Nothing
