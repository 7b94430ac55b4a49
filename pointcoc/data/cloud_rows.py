"""Rows of numbers in text: read at once if all are right, else one by one to repair what is known or name the row."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b]")
SHOWN = 80
"""Characters of a row that a message shows."""


def read_rows(lines: Sequence[str], width: int, decimal: str, said: list[str]) -> np.ndarray:
    """Read rows of numbers between white space, float64 of shape (N, width).

    Args:
        lines: one row each.
        width: numbers in a row.
        decimal: decimal mark, "." or ",".
        said: gets a remark for every number that was repaired.

    Raises:
        ValueError: if a row cannot be understood; the message says which.
    """
    if not lines:
        return np.empty((0, width))
    lines = [line.replace(",", ".") for line in lines] if decimal == "," else lines
    try:
        table = np.loadtxt(lines, ndmin=2, comments=None)
        if table.shape == (len(lines), width):
            return table
    except ValueError:
        pass
    rows = []
    for number, line in enumerate(lines, 1):
        tokens = line.split()
        if len(tokens) != width:
            raise ValueError(f"row {number} must hold {width} numbers, got {len(tokens)}: {line.strip()[:SHOWN]!r}")
        rows.append([read_number(token, line.strip(), f"row {number}", said) for token in tokens])
    return np.array(rows).reshape(len(rows), width)


def is_number(token: str) -> bool:
    """Whether a token is a number as files write it: Python's underscores are none."""
    try:
        float(token)
    except ValueError:
        return False
    return "_" not in token


def read_number(token: str, line: str, where: str, said: list[str]) -> float:
    """Read a number; a control character in it, as copies of S3DIS have it, is left out with a remark.

    Args:
        token: the number.
        line: its line, for the message.
        where: name of its row.
        said: gets the remark.

    Raises:
        ValueError: if it is no number.
    """
    try:
        value = float(token)
    except ValueError:
        value = None
    if value is not None and "_" not in token:
        return value
    if DECIMAL_COMMA.fullmatch(token):
        raise ValueError(f"{where} has a decimal comma: {line[:SHOWN]!r}; say so by --decimal ,")
    clean = CONTROL.sub("", token)
    if clean != token and is_number(clean):
        code = ord(next(iter(CONTROL.findall(token))))
        said.append(f"{where} had the byte 0x{code:02x} in a number and was read as {clean}")
        return float(clean)
    raise ValueError(f"{where} must hold numbers, got {line[:SHOWN]!r}")
