"""Clouds in text: rows of numbers under or without a header, in every dialect that scanners and programs write."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointcoc.data.cloud_columns import (
    NAMES,
    POSITION,
    Columns,
    Reading,
    canonical,
    check_table,
    guess_columns,
    named_columns,
    split_table,
)

COMMENTS = ("#", "//", "%")
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b]")
PTX_HEADER = 10
LOOKED_AT = 200
"""Lines that are looked at for a header."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How rows of numbers lie in a text.

    Args:
        skip: lines before the first row.
        names: names of the columns; None if the text has no header.
        delimiter: between numbers; None for white space.
        count: number of points that the text states.
    """

    skip: int
    names: tuple[str, ...] | None
    delimiter: str | None
    count: int | None


def read_text(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read rows of numbers, between white space, commas, semicolons or tabs.

    Lines that are empty or begin with #, // or % are left out; a line of names is a header; a single whole number
    before the rows is the number of points. A control character within a number, as copies of S3DIS have it, is left
    out with a remark.

    Raises:
        ValueError: if a row cannot be understood; the message says which.
    """
    text = decode(path.read_bytes())
    layout = find_layout(text, reading)
    said: list[str] = []
    table, words = _read_fast(text, layout, reading), set[int]()
    if table is None:
        words = _word_columns(text, layout, reading, said)
        table = _read_slowly(text, layout, reading, words, said)
    _check_count(layout, len(table), said)
    if layout.names is None or reading.columns is not None:
        columns, remarks = named_columns(table, path, reading)
        return columns, said + remarks
    columns = split_table(check_table(table), [name for c, name in enumerate(layout.names) if c not in words])
    if not set(POSITION) <= set(columns):  # names that mean nothing here
        columns, remarks = guess_columns(table, path)
        return columns, said + remarks
    left = [name for name in columns if name not in NAMES]
    return columns, said + ([f"columns {', '.join(left)} were left out"] if left else [])


def decode(content: bytes) -> str:
    """Decode a text: UTF-8 or UTF-16 with or without a byte order mark, else Latin-1."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def find_layout(text: str, reading: Reading) -> Layout:
    """Find the header of a text, its delimiter, and where its rows begin."""
    names, count, delimiter, passed = None, None, None, None
    lines = text[: 1000 * LOOKED_AT].splitlines()[:LOOKED_AT]
    for number, line in enumerate(lines):
        stripped = line.strip()
        if not stripped:
            continue
        if stripped.startswith(COMMENTS):
            names = _header(stripped.lstrip("#/% "), reading) or names
            continue
        delimiter = _delimiter(stripped, reading.decimal)
        tokens = _tokens(stripped, delimiter, reading.decimal)
        if len(tokens) == 1 and tokens[0].isdigit() and count is None and names is None:
            count = int(tokens[0])
            continue
        is_below_header = names is not None and len(names) == len(tokens)
        if is_below_header or all(_is_number(token) for token in tokens):
            names = names if is_below_header else None
            return Layout(skip=number, names=names, delimiter=delimiter, count=count)
        found = _header(stripped, reading)
        is_words = not any(_is_number(token) for token in tokens)
        if found is None and reading.columns is not None and is_words and passed is None:
            passed = number  # a header whose names the caller knows better
            continue
        if found is None:
            return Layout(skip=number, names=None, delimiter=delimiter, count=count)
        names = found
    skip = len(lines) if passed is None else passed  # a line that is no header is a row, which is an error
    return Layout(skip=skip, names=names, delimiter=delimiter, count=count)


def _delimiter(line: str, decimal: str) -> str | None:
    for mark in (";", "\t", ",") if decimal == "." else (";", "\t"):
        if mark in line:
            return None if mark == "," and _has_decimal_commas(line.split()) else mark
    return None


def _has_decimal_commas(tokens: list[str]) -> bool:
    return len(tokens) > 1 and all(DECIMAL_COMMA.fullmatch(token) or _is_number(token) for token in tokens)


def _header(line: str, reading: Reading) -> tuple[str, ...] | None:
    """Return the names in a line, None if it is no line of names with x, y and z."""
    names = tuple(_tokens(line, _delimiter(line, "."), reading.decimal))
    return names if set(POSITION) <= {canonical(name) for name in names} else None


def _tokens(line: str, delimiter: str | None, decimal: str) -> list[str]:
    line = line.replace(",", ".") if decimal == "," else line
    tokens = [token.strip() for token in line.split(delimiter)]
    return tokens[:-1] if delimiter is not None and tokens and not tokens[-1] else tokens


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _read_fast(text: str, layout: Layout, reading: Reading) -> np.ndarray | None:
    """Read rows of equal length, float64 of shape (N, C); None if one of them is not such a row."""
    text = text.replace(",", ".") if reading.decimal == "," else text
    with io.StringIO(text, newline=None) as stream:
        for _ in range(layout.skip):
            stream.readline()
        try:
            if not stream.getvalue()[stream.tell() :].strip():
                return np.empty((0, 3))
            return np.loadtxt(stream, delimiter=layout.delimiter, comments="#", ndmin=2)
        except ValueError:
            return None


def _read_slowly(text: str, layout: Layout, reading: Reading, words: set[int], said: list[str]) -> np.ndarray:
    """Read row by row, to repair what is known and to say what is wrong."""
    rows: list[list[float]] = []
    width = None
    for number, line in enumerate(text.splitlines()[layout.skip :], layout.skip + 1):
        stripped = line.strip(" \t\r\n")
        if not stripped or stripped.startswith(COMMENTS):
            continue
        tokens = _tokens(stripped, layout.delimiter, reading.decimal)
        if layout.count is not None and len(tokens) == 1 and tokens[0].isdigit():
            continue  # the number of points of a further scan
        where = f"row {len(rows) + 1}" + ("" if number == len(rows) + 1 else f" (line {number})")
        values = [_number(token, stripped, where, said) for c, token in enumerate(tokens) if c not in words]
        width = len(values) if width is None else width
        if len(values) != width:
            raise ValueError(
                f"{where} holds {len(values)} numbers and the rows before it {width}: {stripped[:80]!r}; is the file "
                "cut short?"
            )
        rows.append(values)
    return np.array(rows).reshape(len(rows), -1 if rows else 3)


def _word_columns(text: str, layout: Layout, reading: Reading, said: list[str]) -> set[int]:
    """Return the columns of words below a header, which are left out."""
    if layout.names is None:
        return set()
    line = next((one for one in text.splitlines()[layout.skip :] if one.strip()), "")
    tokens = _tokens(line, layout.delimiter, reading.decimal)
    words = {c for c, token in enumerate(tokens) if not _is_number(CONTROL.sub("", token)) and len(tokens) > 3}
    if words and len(tokens) == len(layout.names):
        said.append(f"columns {', '.join(layout.names[c] for c in sorted(words))} hold words and were left out")
        return words
    return set()


def _number(token: str, line: str, where: str, said: list[str]) -> float:
    try:
        return float(token)
    except ValueError:
        pass
    if DECIMAL_COMMA.fullmatch(token):
        raise ValueError(f"{where} has a decimal comma: {line[:80]!r}; say so by --decimal ,")
    clean = CONTROL.sub("", token)
    if clean != token and _is_number(clean):
        said.append(f"{where} had the byte 0x{ord(CONTROL.search(token)[0]):02x} in a number and was read as {clean}")  # type: ignore[index]
        return float(clean)
    raise ValueError(f"{where} must hold numbers, got {line[:80]!r}")


def _check_count(layout: Layout, found: int, said: list[str]) -> None:
    if layout.count is None or layout.count == found:
        return
    if found < layout.count:
        raise ValueError(
            f"it says {layout.count:,} points and holds {found:,}: the file is cut short after row {found}"
        )
    said.append(f"it says {layout.count:,} points and holds {found:,}; all were read")


def read_ptx(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read the scans of a .ptx file, each with its own pose; points at 0 0 0, which were not hit, are dropped.

    Raises:
        ValueError: if a header or a row cannot be understood.
    """
    lines = decode(path.read_bytes()).splitlines()
    scans, start, misses = [], 0, 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        table, start = _read_scan(lines, start)
        hit = table[:, :3].any(1)
        misses += int((~hit).sum())
        scans.append(table[hit])
    if len({scan.shape[1] for scan in scans}) > 1:
        raise ValueError("its scans have different columns")
    table = np.concatenate(scans) if scans else np.empty((0, 3))
    said = [f"{misses:,} points that the scanner did not hit, at 0 0 0, were dropped"] if misses else []
    if reading.columns is not None or table.shape[1] not in (4, 7):
        columns, remarks = named_columns(table, path, reading)
        return columns, said + remarks
    names = ("x", "y", "z", "intensity", "red", "green", "blue")[: table.shape[1]]
    return split_table(table, names), said


def _read_scan(lines: list[str], start: int) -> tuple[np.ndarray, int]:
    """Return the points of one scan in the common coordinates, and the line after it."""
    try:
        head = [[float(value) for value in line.split()] for line in lines[start : start + PTX_HEADER]]
        count = int(head[0][0]) * int(head[1][0])
        pose = np.array(head[6:10]).reshape(4, 4)
    except (ValueError, IndexError) as error:
        raise ValueError(f"line {start + 1} must begin the 10 lines of a scan's header: {error}") from error
    first = start + PTX_HEADER
    rows = lines[first : first + count]
    if len(rows) < count:
        raise ValueError(f"the scan in line {start + 1} says {count:,} points and holds {len(rows):,}: it is cut short")
    try:
        table = np.loadtxt(rows, ndmin=2) if rows else np.empty((0, 4))
    except ValueError as error:
        raise ValueError(f"the scan in line {start + 1} holds a row that is not like the others: {error}") from error
    hit = table[:, :3].any(1)
    table[hit, :3] = table[hit, :3] @ pose[:3, :3] + pose[3, :3]
    return table, first + count
