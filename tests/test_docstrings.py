"""The arguments a docstring names are those of the signature, in its order."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pointcoc

ROOT = Path(pointcoc.__file__).parent
Definition = ast.FunctionDef | ast.ClassDef


def definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Definition]]:
    """Public functions, classes and methods of a module, with their names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
            name = f"{prefix}.{child.name}"
            yield name, child
            if isinstance(child, ast.ClassDef):
                yield from definitions(child, name)


def all_definitions() -> Iterator[tuple[str, Definition]]:
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        yield from definitions(ast.parse(path.read_text()), module)


def documented(node: Definition) -> list[str] | None:
    """Names in the section Args, None if there is none."""
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", ast.get_docstring(node) or "", re.MULTILINE)
    return section and re.findall(r"^ {4}(\*{0,2}\w+):", section[1], re.MULTILINE)


def expected(node: Definition) -> list[str]:
    """Names of the parameters, or of the fields of a dataclass."""
    if isinstance(node, ast.FunctionDef):
        return parameters(node)
    for child in node.body:
        if isinstance(child, ast.FunctionDef) and child.name == "__init__":
            return parameters(child)
    return [
        child.target.id
        for child in node.body
        if isinstance(child, ast.AnnAssign)
        and isinstance(child.target, ast.Name)
        and not child.target.id.startswith("_")
        and not ast.unparse(child.annotation).startswith("ClassVar")
    ]


def parameters(node: ast.FunctionDef) -> list[str]:
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
    names += [f"*{node.args.vararg.arg}"] if node.args.vararg else []
    names += [argument.arg for argument in node.args.kwonlyargs]
    names += [f"**{node.args.kwarg.arg}"] if node.args.kwarg else []
    return [name for name in names if name not in ("self", "cls")]


CASES = dict(all_definitions())


@pytest.mark.parametrize("name", [name for name, node in CASES.items() if documented(node) is not None])
def test_arguments_are_those_of_the_signature(name: str) -> None:
    assert documented(CASES[name]) == expected(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_public_names_say_what_they_are_for(name: str) -> None:
    assert ast.get_docstring(CASES[name]), f"{name} has no docstring"


@pytest.mark.parametrize("public", sorted(set(pointcoc.__all__) - {"PRESETS", "__version__"}))
def test_names_at_the_top_document_their_arguments(public: str) -> None:
    (node,) = [node for name, node in CASES.items() if name.split(".")[-1] == public]
    assert documented(node) == expected(node)
