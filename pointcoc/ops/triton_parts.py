"""Parts of the Triton kernels: blocks of points and tables of centers, read, written and scaled; imports triton.

Functions are compiled with the kernels that call them; with TRITON_INTERPRET=1, numpy runs them instead.
"""

from __future__ import annotations

import triton
import triton.language as tl

IS_INTERPRETED = not isinstance(tl.sum, triton.JITFunction)
EPS = tl.constexpr(1e-12)


@triton.jit
def load_rows(base, stride, start, n, d: tl.constexpr, BLOCK: tl.constexpr, D: tl.constexpr, ACC: tl.constexpr):
    """Rows start to start + BLOCK, (BLOCK, D), zeros where there is none."""
    row, column = start + tl.arange(0, BLOCK), tl.arange(0, D)
    is_there = (row < n)[:, None] & (column < d)[None, :]
    return tl.load(base + row[:, None] * stride + column[None, :], mask=is_there, other=0).to(ACC)


@triton.jit
def store_rows(base, stride, start, n, x, d: tl.constexpr, BLOCK: tl.constexpr, D: tl.constexpr):
    """Write rows start to start + BLOCK that exist."""
    row, column = start + tl.arange(0, BLOCK), tl.arange(0, D)
    is_there = (row < n)[:, None] & (column < d)[None, :]
    tl.store(base + row[:, None] * stride + column[None, :], x.to(base.dtype.element_ty), mask=is_there)


@triton.jit
def load_members(base, start, n, m: tl.constexpr, BLOCK: tl.constexpr, M: tl.constexpr, ACC: tl.constexpr):
    """Whether points start to start + BLOCK belong to each proposal, (M, BLOCK), 1 or 0."""
    center, row = tl.arange(0, M), start + tl.arange(0, BLOCK)
    is_there = (center < m)[:, None] & (row < n)[None, :]
    return tl.load(base + center[:, None] * n + row[None, :], mask=is_there, other=0).to(ACC)


@triton.jit
def load_assignment(center, similarity, heads, start, n, BLOCK: tl.constexpr):
    """Return a and s of points start to start + BLOCK; 0 and 0 where there is none."""
    row = start + tl.arange(0, BLOCK)
    chosen = tl.load(center + row * heads, mask=row < n, other=0).to(tl.int32)
    return chosen, tl.load(similarity + row * heads, mask=row < n, other=0)


@triton.jit
def gather_rows(table, chosen, d: tl.constexpr, D: tl.constexpr):
    """The row of a table (m, d) for each point, (BLOCK, D)."""
    column = tl.arange(0, D)
    return tl.load(table + chosen[:, None] * d + column[None, :], mask=(column < d)[None, :], other=0)


@triton.jit
def dot(a, b, ACC: tl.constexpr, PRECISION: tl.constexpr):
    """Matrix product of blocks."""
    return tl.dot(a, b, input_precision=PRECISION, out_dtype=ACC)


@triton.jit
def unit_rows(x):
    """Scale rows to length one; lengths below EPS count as EPS."""
    return x / tl.maximum(tl.sqrt(tl.sum(x * x, axis=1)), EPS)[:, None]


@triton.jit
def unit_gradient(grad, x):
    """Pass a gradient back through `unit_rows`; the bound EPS has none."""
    length = tl.sqrt(tl.sum(x * x, axis=1))
    bounded = tl.maximum(length, EPS)[:, None]
    unit = x / bounded
    along = tl.where(length >= EPS, tl.sum(grad * unit, axis=1), 0)
    return (grad - along[:, None] * unit) / bounded
