"""Export: a network as one graph that runs without this library, for torch.export and ONNX."""

from pointcoc.export.forms import ExportForm
from pointcoc.export.program import (
    FORMATS,
    OUTPUTS,
    even_side,
    example_input,
    export_network,
    export_program,
    smallest_side,
)

__all__ = [
    "FORMATS",
    "OUTPUTS",
    "ExportForm",
    "even_side",
    "example_input",
    "export_network",
    "export_program",
    "smallest_side",
]
