"""Point clouds of the Point Cloud Library, .pcd: ascii, binary and binary_compressed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from pointcoc.data.cloud_columns import COLOR, Columns, Reading, cut_short, name_columns
from pointcoc.data.cloud_rows import read_rows

TYPES = {"F": "f", "U": "u", "I": "i"}
PACKED = ("rgb", "rgba")
MOST_BITS = 2**32
ENCODINGS = ("ascii", "binary", "binary_compressed")


def read_pcd(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read the fields of all points; `rgb` and `rgba` are unpacked.

    Raises:
        ValueError: if the header lacks something, or there are fewer points than it says.
    """
    content = path.read_bytes()
    header, body = _header(content)
    names, dtype = _fields(header)
    count = _count(header)
    encoding = header["DATA"][0].lower()
    said: list[str] = []
    if encoding == "ascii":
        table = _read_ascii(body, dtype, count, reading, said)
    elif encoding == "binary":
        held = len(body) // dtype.itemsize
        if held < count:
            raise cut_short(count, held)
        said += [_surplus(count, held)] if held > count else []
        table = {name: np.frombuffer(body, dtype, count)[name] for name in names}
    elif encoding == "binary_compressed":
        table = _read_compressed(body, dtype, count)
    else:
        raise ValueError(f"its DATA must be {', '.join(ENCODINGS)}, got {encoding}")
    pairs: list[tuple[str, np.ndarray]] = []
    for name in names:
        pairs += _unpacked(table[name], dtype[name].kind).items() if name in PACKED else [(name, table[name])]
    return name_columns(pairs), said


def _header(content: bytes) -> tuple[dict[str, list[str]], bytes]:
    fields: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in fields:
        end = content.find(b"\n", start)
        if end < 0 or start > 100_000:
            raise ValueError("it has no header of a .pcd file that ends with DATA")
        words = content[start:end].decode("latin-1").split()
        start = end + 1
        if words and not words[0].startswith("#"):
            fields[words[0].upper()] = words[1:]
    for name in ("FIELDS", "SIZE", "TYPE"):
        if not fields.get(name):
            raise ValueError(f"its header must have a line {name}")
    if not fields["DATA"]:
        raise ValueError(f"its DATA must be {', '.join(ENCODINGS)}, got nothing")
    return fields, content[start:]


def _fields(header: dict[str, list[str]]) -> tuple[list[str], np.dtype]:
    """Return the names of fields with one number a point, and the type of a row."""
    fields, sizes, types = header["FIELDS"], header["SIZE"], header["TYPE"]
    counts = header.get("COUNT") or ["1"] * len(fields)
    if not len(fields) == len(sizes) == len(types) == len(counts):
        raise ValueError("its FIELDS, SIZE, TYPE and COUNT must have as many entries each")
    unknown = [one for one in types if one.upper() not in TYPES]
    if unknown:
        raise ValueError(f"its TYPE must be {', '.join(TYPES)}, got {unknown[0]}")
    row: list[Any] = []
    names = []
    for place, (name, size, kind, number) in enumerate(zip(fields, sizes, types, counts, strict=True)):
        is_single = int(number) == 1 and name != "_"
        key = name.lower() if is_single and name.lower() not in names else f"_{place}"
        names += [key] if not key.startswith("_") else []
        shape = () if int(number) == 1 else (int(number),)
        row.append((key, f"<{TYPES[kind.upper()]}{size}", shape))
    try:
        return names, np.dtype(row)
    except TypeError as error:
        raise ValueError(f"its SIZE and TYPE must fit, such as 4 F, got SIZE {' '.join(sizes)}") from error


def _count(header: dict[str, list[str]]) -> int:
    words = header.get("POINTS") or [*header.get("WIDTH", []), *header.get("HEIGHT", [])]
    if not words or not all(one.isdigit() for one in words):
        raise ValueError(f"its header must say its POINTS, or WIDTH and HEIGHT, got {' '.join(words) or 'nothing'}")
    return math.prod(int(one) for one in words)


def _read_ascii(body: bytes, dtype: np.dtype, count: int, reading: Reading, said: list[str]) -> dict[str, np.ndarray]:
    lines = [line for line in body.decode("latin-1").splitlines() if line.strip()]
    if len(lines) < count:
        raise cut_short(count, len(lines))
    said += [_surplus(count, len(lines))] if len(lines) > count else []
    widths = [int(np.prod(dtype[name].shape, dtype=int)) for name in dtype.names or ()]
    numbers = read_rows(lines[:count], sum(widths), reading.decimal, said)
    starts = np.cumsum([0, *widths])
    table = {}
    for name, start, width in zip(dtype.names or (), starts, widths, strict=False):
        if width == 1:
            table[name] = _typed(numbers[:, start], name, dtype[name])
    return table


def _typed(values: np.ndarray, name: str, kind: np.dtype) -> np.ndarray:
    """Return numbers of a text in their type if that is an integer, which tells what colors are."""
    if name in PACKED or kind.kind == "f" or not np.isfinite(values).all():
        return values
    limits = np.iinfo(kind)
    if ((values < limits.min) | (values > limits.max)).any():
        raise ValueError(f"its {name} must go from {limits.min} to {limits.max}, as SIZE and TYPE say")
    return values.astype(kind)


def _surplus(stated: int, held: int) -> str:
    return f"it says {stated:,} points and holds {held:,}; the further ones were left out"


def _read_compressed(body: bytes, dtype: np.dtype, count: int) -> dict[str, np.ndarray]:
    if len(body) < 8:
        raise ValueError("it is cut short: its compressed size is missing")
    packed, size = (int(one) for one in np.frombuffer(body, "<u4", 2))
    if len(body) < 8 + packed:
        raise ValueError(f"it is cut short: it says {packed:,} bytes of compressed points and holds {len(body) - 8:,}")
    content = lzf_decompress(body[8 : 8 + packed], size)
    if size != count * dtype.itemsize:
        raise ValueError(f"its {count:,} points must have {count * dtype.itemsize:,} bytes, got {size:,}")
    table, start = {}, 0
    for name in dtype.names or ():
        kind = dtype[name]
        table[name] = np.frombuffer(content, kind.base, count * int(np.prod(kind.shape, dtype=int)), start)
        start += count * kind.itemsize
    return table


def lzf_decompress(packed: bytes, size: int) -> bytes:
    """Expand LZF, the compression of LibLZF by Marc Lehmann.

    A byte below 32 is followed by so many bytes and one more as they are; others say how far back, and how many bytes,
    to copy again.

    Args:
        packed: what was compressed.
        size: number of bytes that come out.

    Raises:
        ValueError: if something else comes out.
    """
    out = bytearray()
    place, end = 0, len(packed)
    try:
        while place < end:
            control = packed[place]
            place += 1
            if control < 32:
                out += packed[place : place + control + 1]
                place += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += packed[place]
                place += 1
            back = ((control & 31) << 8) + packed[place] + 1
            place += 1
            start, length = len(out) - back, length + 2
            if start < 0:
                raise ValueError("its compressed points are damaged")
            if back >= length:
                out += out[start : start + length]
            else:  # the copy overlaps what it writes: a pattern of `back` bytes again and again
                out += (out[start:] * (length // back + 1))[:length]
    except IndexError as error:
        raise ValueError("its compressed points are damaged") from error
    if len(out) != size:
        raise ValueError(f"its compressed points are damaged: {len(out):,} bytes come out and not {size:,}")
    return bytes(out)


def _unpacked(values: np.ndarray, kind: str) -> Columns:
    """Return red, green and blue of colors that are packed into the bits of a float or an integer.

    Args:
        values: as stored or, of text, float64; then NaN stays, and whole numbers are bits whatever their type.
        kind: "f" for floats.
    """
    is_text = values.dtype == np.float64
    missing = ~np.isfinite(values) if is_text else np.zeros(len(values), bool)
    values = np.where(missing, 0, values) if is_text else values
    is_float = kind == "f" and not (is_text and bool(((values % 1 == 0) & (np.abs(values) < MOST_BITS)).all()))
    packed = values.astype(np.float32).view(np.uint32) if is_float else values.astype(np.int64).astype(np.uint32)
    colors = {name: (packed >> shift & 255).astype(np.uint8) for name, shift in zip(COLOR, (16, 8, 0), strict=True)}
    return {name: np.where(missing, np.nan, one) for name, one in colors.items()} if missing.any() else colors
