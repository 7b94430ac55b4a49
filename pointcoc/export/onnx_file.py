"""Writing an exported program as ONNX, with names of axes, and what the weights state as metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pointcoc.checks import import_extra
from pointcoc.export.forms import ExportForm, cluster_net
from pointcoc.models.weights import find_transform

ONNX_DTYPES = (torch.float32, torch.float16)
AXES = ("batch", None, "height", "width")  # of images; clouds have a fixed number of points


def check_onnx(example: Tensor, multiple: int) -> None:
    """Check that ONNX can be written.

    Args:
        example: input of the network.
        multiple: of which its sides must be multiples, 1 where they are fixed.

    Raises:
        ValueError: if the dtype or a side does not fit.
        ImportError: if a package is not installed.
    """
    for package in ("onnx", "onnxscript"):
        import_extra(package, "onnx", "writing ONNX needs")
    if example.dtype not in ONNX_DTYPES:
        raise ValueError(f"ONNX runtimes read float32 and float16, got {example.dtype}; call net.float() first")
    if multiple > 1 and any(side % multiple for side in example.shape[2:]):
        raise ValueError(
            f"ONNX with other sizes needs sides that are multiples of {multiple}, also for size, got "
            f"{tuple(example.shape[2:])}; give such a size, or one fixed size"
        )


def write_onnx(program: torch.export.ExportedProgram, form: ExportForm, path: Path) -> None:
    """Translate a program and write it.

    Args:
        program: of `form`.
        form: the network, which names the outputs.
        path: file to write.
    """
    from pointcoc.export.onnx_functions import TRANSLATIONS

    written = torch.onnx.export(
        program,
        input_names=["input"],
        output_names=form.output_names,
        custom_translation_table=TRANSLATIONS,
        dynamo=True,
        verbose=False,
    )
    assert written is not None
    _name_axes(written.model)
    written.model.metadata_props.update(metadata(form))
    written.save(path)


def metadata(form: ExportForm) -> dict[str, str]:
    """Return what the weights state, each as JSON: class_names by number, and the fields of the transform.

    Those of images are mean, std (standard deviation of each channel), interpolation, crop_pct and input_size.

    Args:
        form: the network.
    """
    info, config = form.net.weights_info, cluster_net(form.net).config
    transform = find_transform(config, info) or info.transform
    stated: dict[str, Any] = {} if transform is None else asdict(transform)
    if info.class_names is not None:
        stated["class_names"] = {str(number): name for number, name in info.class_names.items()}
    return {name: json.dumps(value) for name, value in stated.items()}


def _name_axes(model: Any) -> None:
    """Give the symbols of torch the names of the axes of the input: s31 becomes batch."""
    import onnx_ir as ir

    names: dict[str, str] = {}
    for axis, name in zip(model.graph.inputs[0].shape, AXES, strict=False):
        if name is not None and isinstance(axis, ir.SymbolicDim) and axis.value is not None:
            names[str(axis.value)] = name
    # A side that is a multiple, 8*s34, is named as a whole; formulas of s34 elsewhere say its eighth.
    parts = {match[2]: f"({name}/{match[1]})" for text, name in names.items() if (match := _multiple(text))}
    for value in _values(model.graph):
        if value.shape is not None:
            for i, axis in enumerate(value.shape):
                if isinstance(axis, ir.SymbolicDim) and axis.value is not None:
                    value.shape[i] = ir.SymbolicDim(_renamed(str(axis.value), names, parts))


def _multiple(text: str) -> re.Match[str] | None:
    return re.fullmatch(r"(\d+)\*(\w+)", text)


def _renamed(text: str, names: dict[str, str], parts: dict[str, str]) -> str:
    if text in names:
        return names[text]
    return re.sub(r"[A-Za-z_]\w*", lambda word: parts.get(word[0], names.get(word[0], word[0])), text)


def _values(graph: Any) -> Iterator[Any]:
    yield from graph.inputs
    yield from (output for node in graph for output in node.outputs)
