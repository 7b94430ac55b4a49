"""Triton kernels of the cluster operation: one program a region and head; importing this file imports triton.

The equations are in `triton_operation`. Letters: n points, m centers, df and dv channels; BLOCK points are read at a
time; M, DF and DV are m, df and dv padded to powers of two that tensor cores take. Sums run in ACC, float32 or float64.
A pointer points at the first row of the program's region and head; `f_row` leads from a point to the next, and so on.
"""

from __future__ import annotations

import triton
import triton.language as tl

from pointcoc.ops.triton_parts import (
    dot,
    gather_rows,
    load_assignment,
    load_members,
    load_rows,
    store_rows,
    unit_gradient,
    unit_rows,
)


@triton.jit
def forward_kernel(
    f, v, members, alpha, beta, y, center, similarity, aggregated, total,
    n, heads, f_row, f_head, v_row, v_head, members_region,
    m: tl.constexpr, df: tl.constexpr, dv: tl.constexpr, BY_COUNT: tl.constexpr,
    BLOCK: tl.constexpr, M: tl.constexpr, DF: tl.constexpr, DV: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Propose centers, assign and aggregate, dispatch: three runs over the points of a region."""
    program = tl.program_id(0).to(tl.int64)
    region, head = program // heads, program % heads
    first = region * n
    f += first * f_row + head * f_head
    v += first * v_row + head * v_head
    members += region * members_region
    y += (first * heads + head) * dv
    center += first * heads + head
    similarity += first * heads + head
    aggregated += program * m * dv
    total += program * m
    center_f, center_v, count = _propose(
        f, f_row, v, v_row, members, n, m, df, dv, BLOCK, M, DF, DV, ACC, PRECISION
    )  # fmt: skip
    sum_v, sum_s = _assign(
        f, f_row, v, v_row, alpha, beta, center, similarity, unit_rows(center_f), center_v, count,
        n, heads, df, dv, BY_COUNT, BLOCK, M, DF, DV, ACC, PRECISION,
    )  # fmt: skip
    rows = tl.arange(0, M)
    tl.store(total + rows, sum_s, mask=rows < m)
    store_rows(aggregated, dv, 0, m, sum_v / sum_s[:, None], dv, M, DV)
    tl.debug_barrier()  # other threads of this program wrote what is read from here on
    for start in range(0, n, BLOCK):
        chosen, s = load_assignment(center, similarity, heads, start, n, BLOCK)
        store_rows(y, heads * dv, start, n, s[:, None] * gather_rows(aggregated, chosen, dv, DV), dv, BLOCK, DV)


@triton.jit
def backward_kernel(
    grad_y, grad_s, f, v, members, alpha, center, similarity, aggregated, total,
    unit_center, numerator, grad_score, grad_f, grad_v, grad_alpha, grad_beta,
    n, heads, y_row, y_head, s_row, s_head, f_row, f_head, v_row, v_head, members_region,
    m: tl.constexpr, df: tl.constexpr, dv: tl.constexpr, BY_COUNT: tl.constexpr, HAS_GRAD_S: tl.constexpr,
    BLOCK: tl.constexpr, M: tl.constexpr, DF: tl.constexpr, DV: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of all inputs in three runs over the points of a region.

    A run leaves what the next gathers in `unit_center` (unit(c), a table of m), `numerator` (u) and `grad_score` (dz).
    """
    program = tl.program_id(0).to(tl.int64)
    region, head = program // heads, program % heads
    first = region * n
    grad_y += first * y_row + head * y_head
    if HAS_GRAD_S:
        grad_s += first * s_row + head * s_head
    f += first * f_row + head * f_head
    v += first * v_row + head * v_head
    members += region * members_region
    center += first * heads + head
    similarity += first * heads + head
    aggregated += program * m * dv
    total += program * m
    unit_center += program * m * df
    numerator += program * m * dv
    grad_score += first * heads + head
    grad_f += (first * heads + head) * df
    grad_v += (first * heads + head) * dv
    center_f, grad_g, count = _collect(
        f, f_row, grad_y, y_row, members, center, similarity, n, heads, m, df, dv, BLOCK, M, DF, DV, ACC, PRECISION
    )  # fmt: skip
    rows = tl.arange(0, M)
    share = (1 / tl.maximum(count, 1))[:, None]
    grad_g /= tl.load(total + rows, mask=rows < m, other=1)[:, None]
    store_rows(unit_center, df, 0, m, unit_rows(center_f), df, M, DF)
    store_rows(numerator, dv, 0, m, grad_g, dv, M, DV)
    tl.debug_barrier()  # other threads of this program wrote what is read from here on
    grad_center, sum_alpha, sum_beta = _through_similarity(
        f, f_row, v, v_row, grad_y, y_row, grad_s, s_row, members, alpha, center, similarity, aggregated,
        unit_center, numerator, grad_g * share, grad_score, grad_v,
        n, heads, m, df, dv, BY_COUNT, HAS_GRAD_S, BLOCK, M, DF, DV, ACC, PRECISION,
    )  # fmt: skip
    tl.store(grad_alpha + program, sum_alpha)
    tl.store(grad_beta + program, sum_beta)
    tl.debug_barrier()
    _through_features(
        f, f_row, members, alpha, center, similarity, unit_center, unit_gradient(grad_center, center_f) * share,
        grad_score, grad_f, n, heads, m, df, BLOCK, M, DF, ACC, PRECISION,
    )  # fmt: skip


@triton.jit
def _propose(
    f, f_row, v, v_row, members, n,
    m: tl.constexpr, df: tl.constexpr, dv: tl.constexpr,
    BLOCK: tl.constexpr, M: tl.constexpr, DF: tl.constexpr, DV: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return c, e and k: mean features and values of each proposal, and its number of points."""
    center_f, center_v, count = tl.zeros((M, DF), ACC), tl.zeros((M, DV), ACC), tl.zeros((M,), ACC)
    for start in range(0, n, BLOCK):
        member = load_members(members, start, n, m, BLOCK, M, ACC)
        center_f += dot(member, load_rows(f, f_row, start, n, df, BLOCK, DF, ACC), ACC, PRECISION)
        center_v += dot(member, load_rows(v, v_row, start, n, dv, BLOCK, DV, ACC), ACC, PRECISION)
        count += tl.sum(member, axis=1)
    share = (1 / tl.maximum(count, 1))[:, None]
    return center_f * share, center_v * share, count


@triton.jit
def _assign(
    f, f_row, v, v_row, alpha, beta, center, similarity, unit_center, sum_v, count, n, heads,
    df: tl.constexpr, dv: tl.constexpr, BY_COUNT: tl.constexpr,
    BLOCK: tl.constexpr, M: tl.constexpr, DF: tl.constexpr, DV: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Store a and s of each point; return the sums over clusters e + sum s v and D."""
    scale, shift = tl.load(alpha), tl.load(beta)
    sum_s = tl.full((M,), 1, ACC)
    for start in range(0, n, BLOCK):
        row = start + tl.arange(0, BLOCK)
        point = unit_rows(load_rows(f, f_row, start, n, df, BLOCK, DF, ACC))
        score = shift + scale * dot(unit_center, tl.trans(point), ACC, PRECISION)
        score = tl.where((count > 0)[:, None], score, -float("inf"))
        # As in torch, the first score that is not a number wins: it must neither vanish nor choose a padded row.
        chosen = tl.argmax(tl.where(score == score, score, float("inf")), axis=0, tie_break_left=True)
        is_own = tl.arange(0, M)[:, None] == chosen[None, :]
        s = 1 / (1 + tl.exp(-tl.sum(tl.where(is_own, score, 0), axis=0)))
        is_own = is_own & (row < n)[None, :]
        weight = tl.where(is_own, s[None, :], 0)
        sum_v += dot(weight, load_rows(v, v_row, start, n, dv, BLOCK, DV, ACC), ACC, PRECISION)
        sum_s += tl.sum(is_own.to(ACC) if BY_COUNT else weight, axis=1)
        tl.store(center + row * heads, chosen.to(tl.int8), mask=row < n)
        tl.store(similarity + row * heads, s, mask=row < n)
    return sum_v, sum_s


@triton.jit
def _collect(
    f, f_row, grad_y, y_row, members, center, similarity, n, heads,
    m: tl.constexpr, df: tl.constexpr, dv: tl.constexpr,
    BLOCK: tl.constexpr, M: tl.constexpr, DF: tl.constexpr, DV: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return c again, dg = sum s dy over the points of each cluster, and k."""
    center_f, grad_g, count = tl.zeros((M, DF), ACC), tl.zeros((M, DV), ACC), tl.zeros((M,), ACC)
    for start in range(0, n, BLOCK):
        member = load_members(members, start, n, m, BLOCK, M, ACC)
        center_f += dot(member, load_rows(f, f_row, start, n, df, BLOCK, DF, ACC), ACC, PRECISION)
        count += tl.sum(member, axis=1)
        chosen, s = load_assignment(center, similarity, heads, start, n, BLOCK)
        weight = tl.where(tl.arange(0, M)[:, None] == chosen[None, :], s[None, :], 0)
        grad_g += dot(weight, load_rows(grad_y, y_row, start, n, dv, BLOCK, DV, ACC), ACC, PRECISION)
    return center_f * (1 / tl.maximum(count, 1))[:, None], grad_g, count


@triton.jit
def _through_similarity(
    f, f_row, v, v_row, grad_y, y_row, grad_s, s_row, members, alpha, center, similarity, aggregated,
    unit_center, numerator, mean_u, grad_score, grad_v, n, heads,
    m: tl.constexpr, df: tl.constexpr, dv: tl.constexpr, BY_COUNT: tl.constexpr, HAS_GRAD_S: tl.constexpr,
    BLOCK: tl.constexpr, M: tl.constexpr, DF: tl.constexpr, DV: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Store dz and dv; return what unit(c) of each cluster gets, and sums of t dz and dz."""
    grad_center = tl.zeros((M, DF), ACC)
    sum_alpha, sum_beta = tl.zeros((BLOCK,), ACC), tl.zeros((BLOCK,), ACC)
    scale = tl.load(alpha)
    for start in range(0, n, BLOCK):
        row = start + tl.arange(0, BLOCK)
        chosen, s = load_assignment(center, similarity, heads, start, n, BLOCK)
        own_g, own_u = gather_rows(aggregated, chosen, dv, DV), gather_rows(numerator, chosen, dv, DV)
        inner = load_rows(v, v_row, start, n, dv, BLOCK, DV, ACC) * own_u
        inner += load_rows(grad_y, y_row, start, n, dv, BLOCK, DV, ACC) * own_g
        grad = tl.sum(inner if BY_COUNT else inner - own_u * own_g, axis=1)
        if HAS_GRAD_S:
            grad += tl.load(grad_s + row * s_row, mask=row < n, other=0).to(ACC)
        grad *= s * (1 - s)
        tl.store(grad_score + row * heads, grad, mask=row < n)
        member = tl.trans(load_members(members, start, n, m, BLOCK, M, ACC))
        store_rows(
            grad_v, heads * dv, start, n, s[:, None] * own_u + dot(member, mean_u, ACC, PRECISION), dv, BLOCK, DV
        )
        point = unit_rows(load_rows(f, f_row, start, n, df, BLOCK, DF, ACC))
        sum_alpha += grad * tl.sum(point * gather_rows(unit_center, chosen, df, DF), axis=1)
        sum_beta += grad
        weight = tl.where(tl.arange(0, M)[:, None] == chosen[None, :], (scale * grad)[None, :], 0)
        grad_center += dot(weight, point, ACC, PRECISION)
    return grad_center, tl.sum(sum_alpha, axis=0), tl.sum(sum_beta, axis=0)


@triton.jit
def _through_features(
    f, f_row, members, alpha, center, similarity, unit_center, mean_grad, grad_score, grad_f, n, heads,
    m: tl.constexpr, df: tl.constexpr, BLOCK: tl.constexpr, M: tl.constexpr, DF: tl.constexpr,
    ACC: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Store df: through a point's own cosine, and through the centers it proposed."""
    scale = tl.load(alpha)
    for start in range(0, n, BLOCK):
        row = start + tl.arange(0, BLOCK)
        chosen, _ = load_assignment(center, similarity, heads, start, n, BLOCK)
        grad = scale * tl.load(grad_score + row * heads, mask=row < n, other=0)
        point = load_rows(f, f_row, start, n, df, BLOCK, DF, ACC)
        own = unit_gradient(grad[:, None] * gather_rows(unit_center, chosen, df, DF), point)
        member = tl.trans(load_members(members, start, n, m, BLOCK, M, ACC))
        store_rows(grad_f, heads * df, start, n, own + dot(member, mean_grad, ACC, PRECISION), df, BLOCK, DF)
