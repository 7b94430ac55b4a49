"""Vertices of .ply files: plain ones are read here, those among lists of binary files by plyfile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointcoc.checks import import_extra
from pointcoc.data.cloud_columns import EXTRA, Columns, Reading, cut_short, name_columns
from pointcoc.data.cloud_rows import read_rows

ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
LINE_ENDS = (b"\r\n", b"\n", b"\r")
TRIANGLE = 3


@dataclass(kw_only=True)
class Element:
    """One kind of rows of a file.

    Args:
        name: "vertex" for points.
        count: number of rows.
        properties: name and type of each number of a row, such as "f4".
        lists: names of the properties that are lists.
    """

    name: str
    count: int
    properties: list[tuple[str, str]]
    lists: list[str]


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says before its rows.

    Args:
        encoding: a name of `ORDERS`.
        elements: kinds of rows, in the order of the file.
        size: bytes of the header.
    """

    encoding: str
    elements: list[Element]
    size: int

    @property
    def is_text(self) -> bool:
        """Whether the rows are text."""
        return self.encoding == "ascii"


def read_ply(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read the vertices of a .ply file; faces are not sampled.

    Numbers in text keep all of their digits, whatever their type.

    Raises:
        ValueError: if the header or a row cannot be understood, or there are fewer rows than the header says.
        ImportError: if there are lists among binary rows or in vertices and plyfile is not installed.
    """
    content = path.read_bytes()
    header = read_header(content)
    names = [element.name for element in header.elements]
    if names.count("vertex") != 1:
        raise ValueError("it has no vertices" if "vertex" not in names else "it has vertices twice")
    vertex = header.elements[names.index("vertex")]
    if vertex.lists or (not header.is_text and any(element.lists for element in header.elements)):
        return _read_by_package(path, header)
    return (_read_text if header.is_text else _read_binary)(content, header, vertex, reading)


def read_header(content: bytes) -> Header:
    """Read the header of a .ply file; its lines may end in all three ways.

    Raises:
        ValueError: if a line cannot be understood; the message says which.
    """
    end = next((one for one in LINE_ENDS if content.startswith(b"ply" + one)), None)
    if end is None:
        raise ValueError("line 1 must be ply")
    encoding, elements, start, number = None, list[Element](), 0, 0
    while (stop := content.find(end, start)) >= 0 or start < len(content):
        stop = len(content) if stop < 0 else stop
        words = content[start:stop].decode("latin-1").split() or ["comment"]
        start, number = stop + len(end), number + 1
        if words[0] == "end_header":
            if encoding is None:
                raise ValueError(
                    f"line 2 must be its format, such as format ascii 1.0; choose from {', '.join(ORDERS)}"
                )
            return Header(encoding=encoding, elements=elements, size=min(start, len(content)))
        if words[0] == "format" and len(words) > 1 and words[1] in ORDERS:
            encoding = words[1]
        elif words[0] in ("element", "property"):
            _add(words, elements, number)
        elif words[0] not in ("ply", "comment", "obj_info"):
            raise ValueError(f"line {number} of its header cannot be understood: {' '.join(words)[:80]!r}")
    raise ValueError(f"its header of {number} lines does not end with end_header; is the file cut short?")


def _add(words: list[str], elements: list[Element], number: int) -> None:
    """Add what a line of the header says to the elements."""
    kind = TYPES.get(words[1]) if len(words) > 1 else None
    if words[0] == "element" and len(words) == 3 and words[2].isdigit():
        elements.append(Element(name=words[1], count=int(words[2]), properties=[], lists=[]))
    elif elements and len(words) == 3 and kind is not None:
        elements[-1].properties.append((words[2], kind))
    elif elements and len(words) == 5 and words[1] == "list":
        elements[-1].lists.append(words[4])
    else:
        raise ValueError(f"line {number} of its header cannot be understood: {' '.join(words)[:80]!r}")


def _read_text(content: bytes, header: Header, vertex: Element, reading: Reading) -> tuple[Columns, list[str]]:
    lines = [line for line in content[header.size :].decode("latin-1").splitlines() if line.strip()]
    before = sum(element.count for element in header.elements[: header.elements.index(vertex)])
    rows = lines[before : before + vertex.count]
    if len(rows) < vertex.count:
        raise cut_short(vertex.count, len(rows))
    stated = sum(element.count for element in header.elements)
    if len(lines) < stated:
        raise ValueError(f"it says {stated:,} rows of all elements and holds {len(lines):,}: the file is cut short")
    said = [f"it says {stated:,} rows and holds {len(lines):,}; the further ones were left out"]
    said = said if len(lines) > stated else []
    table = read_rows(rows, len(vertex.properties), reading.decimal, said)
    pairs = [(name, _typed(table[:, c], name, kind)) for c, (name, kind) in enumerate(vertex.properties)]
    return name_columns(pairs), said


def _typed(values: np.ndarray, name: str, kind: str) -> np.ndarray:
    """Return numbers of a text in their type if that is an integer, which tells what colors are.

    Raises:
        ValueError: if a number does not fit the type.
    """
    if kind.startswith("f") or not np.isfinite(values).all():
        return values
    limits = np.iinfo(kind)
    wrong = (values < limits.min) | (values > limits.max) | (values % 1 != 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"row {row + 1} holds {values[row]:g} as {name}, whose type goes from {limits.min} to {limits.max}"
        )
    return values.astype(kind)


def _read_binary(content: bytes, header: Header, vertex: Element, reading: Reading) -> tuple[Columns, list[str]]:
    start, found = header.size, None
    for element in header.elements:
        row = np.dtype([(f"{c}", ORDERS[header.encoding] + kind) for c, (_, kind) in enumerate(element.properties)])
        size = row.itemsize * element.count
        if start + size > len(content):
            held = (len(content) - start) // row.itemsize
            if element is vertex:
                raise cut_short(element.count, held)
            raise ValueError(f"it says {element.count:,} rows of {element.name} and holds {held:,}: it is cut short")
        if element is vertex:
            found = np.frombuffer(content, row, element.count, start) if size else np.empty(element.count, row)
        start += size
    assert found is not None
    left = len(content) - start
    said = [f"it holds {left:,} bytes more than its header says, which were left out"] if left > 1 else []
    return name_columns([(name, found[f"{c}"]) for c, (name, _) in enumerate(vertex.properties)]), said


def _read_by_package(path: Path, header: Header) -> tuple[Columns, list[str]]:
    """Read by plyfile: at once if all lists hold three numbers, as those of triangles, else list by list."""
    plyfile = import_extra("plyfile", EXTRA, "PLY files with lists need")
    lengths = {one.name: dict.fromkeys(one.lists, TRIANGLE) for one in header.elements if one.lists}
    try:
        try:
            file = plyfile.PlyData.read(str(path), known_list_len={} if header.is_text else lengths)
        except plyfile.PlyParseError:
            file = plyfile.PlyData.read(str(path))
    except (plyfile.PlyParseError, MemoryError) as error:
        raise ValueError(str(error)) from error
    table = file["vertex"].data
    pairs = [(name, table[name]) for name in table.dtype.names if table.dtype[name].kind in "fiu"]
    return name_columns(pairs), []
