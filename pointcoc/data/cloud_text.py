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
from pointcoc.data.cloud_rows import CONTROL, DECIMAL_COMMA, SHOWN, is_number, read_number, read_rows

COMMENTS = ("#", "//", "%")
PTX_HEADER = 10
SEPARATOR = "sep="
"""Begins a line by which spreadsheets name their delimiter."""
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
        passed: names of a header that were passed over, since it has not as many as the rows.
    """

    skip: int
    names: tuple[str, ...] | None
    delimiter: str | None
    count: int | None
    passed: tuple[str, ...] | None = None


def read_text(path: Path, reading: Reading) -> tuple[Columns, list[str]]:
    """Read rows of numbers, between white space, commas, semicolons or tabs.

    Lines that are empty or begin with #, // or % are left out; a line of names is a header; a single whole number
    before the rows is the number of points. A control character within a number, as copies of S3DIS have it, is left
    out with a remark.

    Raises:
        ValueError: if a row cannot be understood; the message says which.
    """
    text = decode(path.read_bytes()).rstrip("\x1a")
    layout = find_layout(text, reading)
    said: list[str] = []
    if layout.passed is not None and reading.columns is None:
        said.append(f"its header names {len(layout.passed)} columns, its rows have others: the header was passed over")
    table, words = _read_fast(text, layout, reading), set[int]()
    if table is None:
        words = _word_columns(text, layout, reading, said)
        table = _read_slowly(text, layout, reading, words, said)
    _check_count(layout, len(table), said)
    if layout.names is None or reading.columns is not None:
        columns, remarks = named_columns(table, path, reading)
        return columns, said + remarks
    names = [name for c, name in enumerate(layout.names) if c not in words]
    columns = split_table(check_table(table, is_named=True), names)
    if not set(POSITION) <= set(columns):  # names that mean nothing here
        columns, remarks = guess_columns(table, path)
        return columns, said + remarks
    left = [name.strip() or f"{c}" for c, name in enumerate(names, 1) if canonical(name) not in NAMES]
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
        if not stripped or stripped.lower().startswith(SEPARATOR):
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
        if is_below_header or all(is_number(token) for token in tokens):
            if is_below_header or names is None:
                return Layout(skip=number, names=names, delimiter=delimiter, count=count)
            if tuple(canonical(name) for name in names[:3]) != POSITION and reading.columns is None:
                raise ValueError(
                    f"its header names {len(names)} columns ({' '.join(names)}) and line {number + 1} holds "
                    f"{len(tokens)}: {stripped[:SHOWN]!r}; name them by --columns"
                )
            return Layout(skip=number, names=None, delimiter=delimiter, count=count, passed=names)
        found = _header(stripped, reading)
        is_words = not any(is_number(token) for token in tokens)
        if found is None and reading.columns is not None and is_words and passed is None:
            passed = number  # a header whose names the caller knows better
            continue
        if found is None:
            return Layout(skip=number, names=None, delimiter=delimiter, count=count)
        names = found
    skip = len(lines) if passed is None else passed  # a line that is no header is a row, which is an error
    return Layout(skip=skip, names=names, delimiter=delimiter, count=count)


def _delimiter(line: str, decimal: str) -> str | None:
    for mark in (";", "\t", "|", ",") if decimal == "." else (";", "\t", "|"):
        if mark in line:
            return None if mark == "," and _has_decimal_commas(line.split()) else mark
    return None


def _has_decimal_commas(tokens: list[str]) -> bool:
    return len(tokens) > 1 and all(DECIMAL_COMMA.fullmatch(token) or is_number(token) for token in tokens)


def _header(line: str, reading: Reading) -> tuple[str, ...] | None:
    """Return the names in a line, None if it is no line of names with x, y and z."""
    names = tuple(_tokens(line, _delimiter(line, "."), reading.decimal))
    return names if set(POSITION) <= {canonical(name) for name in names} else None


def _tokens(line: str, delimiter: str | None, decimal: str) -> list[str]:
    line = line.replace(",", ".") if decimal == "," else line
    tokens = [token.strip().strip('"') for token in line.split(delimiter)]
    return tokens[:-1] if delimiter is not None and tokens and not tokens[-1] else tokens


def _read_fast(text: str, layout: Layout, reading: Reading) -> np.ndarray | None:
    """Read rows of equal length, float64 of shape (N, C); None if one of them is not such a row."""
    text = text.replace(",", ".") if reading.decimal == "," else text
    if layout.delimiter is not None and re.search(rf"{re.escape(layout.delimiter)}[ \t]*\r?\n", text):
        text = re.sub(rf"{re.escape(layout.delimiter)}[ \t]*$", "", text, flags=re.MULTILINE)  # ends every row
    with io.StringIO(text, newline=None) as stream:
        for _ in range(layout.skip):
            stream.readline()
        try:
            if not stream.getvalue()[stream.tell() :].strip():
                return np.empty((0, 3))
            return np.loadtxt(stream, delimiter=layout.delimiter, comments="#", quotechar='"', ndmin=2)
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
        if not rows and layout.names is None and not any(map(is_number, tokens)) and stripped[0].isalpha():
            raise ValueError(f"row 1 must hold numbers, got {stripped[:SHOWN]!r}; name a header's columns by --columns")
        where = f"row {len(rows) + 1}" + ("" if number == len(rows) + 1 else f" (line {number})")
        values = [read_number(token, stripped, where, said) for c, token in enumerate(tokens) if c not in words]
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
    words = {c for c, token in enumerate(tokens) if not is_number(CONTROL.sub("", token)) and len(tokens) > 3}
    if words and len(tokens) == len(layout.names):
        said.append(f"columns {', '.join(layout.names[c] for c in sorted(words))} hold words and were left out")
        return words
    return set()


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
    lines = [(n, line) for n, line in enumerate(decode(path.read_bytes()).splitlines(), 1) if line.strip()]
    scans, said, misses = list[np.ndarray](), list[str](), 0
    while lines:
        table, count = _read_scan(lines, reading, said)
        lines = lines[count:]
        hit = table[:, :3].any(1)
        misses += int((~hit).sum())
        scans.append(table[hit])
    widths = {scan.shape[1] for scan in scans if len(scan)}
    if len(widths) > 1:
        said.append(f"its scans have {min(widths)} to {max(widths)} columns; the first {min(widths)} of all were read")
    width = min(widths, default=3)
    table = np.concatenate([scan[:, :width] for scan in scans]) if widths else np.empty((0, 3))
    if misses:
        said.append(f"{misses:,} points that the scanner did not hit, at 0 0 0, were dropped")
    if reading.columns is not None or width not in (4, 7):
        columns, remarks = named_columns(table, path, reading)
        return columns, said + remarks
    names = ("x", "y", "z", "intensity", "red", "green", "blue")[:width]
    return split_table(table, names), said


def _read_scan(lines: list[tuple[int, str]], reading: Reading, said: list[str]) -> tuple[np.ndarray, int]:
    """Return the points of the first scan in the common coordinates, and the number of its lines."""
    start = lines[0][0]
    head = [read_rows([line], len(line.split()), reading.decimal, said)[0] for _, line in lines[:2]]
    if len(head) < 2 or any(len(one) != 1 or one[0] < 0 or one[0] % 1 for one in head):
        raise ValueError(f"line {start} must begin the 10 lines of a scan's header by its columns and rows")
    count = int(head[0][0]) * int(head[1][0])
    try:
        pose = read_rows([line for _, line in lines[6:PTX_HEADER]], 4, reading.decimal, said).reshape(4, 4)
    except ValueError as error:
        raise ValueError(f"line {start} must begin the 10 lines of a scan's header: its pose, {error}") from error
    rows = [line for _, line in lines[PTX_HEADER : PTX_HEADER + count]]
    if len(rows) < count:
        raise ValueError(f"the scan in line {start} says {count:,} points and holds {len(rows):,}: it is cut short")
    try:
        table = read_rows(rows, len(rows[0].split()) if rows else 4, reading.decimal, said)
    except ValueError as error:
        raise ValueError(f"the scan in line {start} cannot be read: {error}") from error
    if table.shape[1] < 3:
        raise ValueError(f"the scan in line {start} must hold rows of x y z intensity, got {rows[0][:SHOWN]!r}")
    hit = table[:, :3].any(1)
    with np.errstate(invalid="ignore", over="ignore"):  # points that are NaN are dropped later
        table[hit, :3] = table[hit, :3] @ pose[:3, :3] + pose[3, :3]
    return table, PTX_HEADER + count
