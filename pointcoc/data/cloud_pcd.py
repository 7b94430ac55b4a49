"""Point clouds of the Point Cloud Library, .pcd: ascii, binary and binary_compressed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pointcoc.data.cloud_columns import COLOR, Columns, Reading, canonical

TYPES = {"F": "f", "U": "u", "I": "i"}
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
    if encoding == "ascii":
        table = _read_ascii(body, dtype, count)
    elif encoding == "binary":
        if len(body) < count * dtype.itemsize:
            raise ValueError(_short(count, len(body) // dtype.itemsize))
        table = {name: np.frombuffer(body, dtype, count)[name] for name in names}
    elif encoding == "binary_compressed":
        table = _read_compressed(body, dtype, count)
    else:
        raise ValueError(f"its DATA must be {', '.join(ENCODINGS)}, got {encoding}")
    columns: Columns = {}
    for name in names:
        columns |= _unpacked(table[name]) if name in ("rgb", "rgba") else {canonical(name): table[name]}
    return columns, []


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
    return names, np.dtype(row)


def _count(header: dict[str, list[str]]) -> int:
    if "POINTS" in header:
        return int(header["POINTS"][0])
    return int(header["WIDTH"][0]) * int(header.get("HEIGHT", ["1"])[0])


def _read_ascii(body: bytes, dtype: np.dtype, count: int) -> dict[str, np.ndarray]:
    lines = [line for line in body.decode("latin-1").splitlines() if line.strip()]
    if len(lines) < count:
        raise ValueError(_short(count, len(lines)))
    widths = [int(np.prod(dtype[name].shape, dtype=int)) for name in dtype.names or ()]
    numbers = np.loadtxt(lines[:count], ndmin=2) if count else np.empty((0, sum(widths)))
    if numbers.shape[1] != sum(widths):
        raise ValueError(f"its rows must hold {sum(widths)} numbers, as FIELDS and COUNT say, got {numbers.shape[1]}")
    starts = np.cumsum([0, *widths])
    table = {}
    for name, start in zip(dtype.names or (), starts, strict=False):
        values = numbers[:, start]
        is_packed = name in ("rgb", "rgba") or dtype[name].kind in "iu"
        table[name] = values.astype(dtype[name].base) if is_packed else values
    return table


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


def _unpacked(values: np.ndarray) -> Columns:
    """Return red, green and blue of colors that are packed into the bits of a float or an integer."""
    is_float = values.dtype.kind == "f"
    packed = values.astype(np.float32).view(np.uint32) if is_float else values.astype(np.uint32)
    return {name: (packed >> shift & 255).astype(np.uint8) for name, shift in zip(COLOR, (16, 8, 0), strict=True)}


def _short(stated: int, found: int) -> str:
    return f"it says {stated:,} points and holds {found:,}: the file is cut short after row {found}"
