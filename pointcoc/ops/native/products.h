// Products of bfloat16 matrices with sums in float32, a tile of rows and columns at a time in the registers.
#pragma once

#include "lanes.h"

namespace pointcoc {

constexpr long TILE_ROWS = 6;  // 6 rows of 4 vectors: 24 sums, 4 vectors and a broadcast value fill 32 registers
constexpr long TILE_VECTORS = 4;

enum class Start { zero, columns, rows, sum };  // what a product is added to: nothing, a bias, or what is there

template <int ROWS, int VECTORS>
inline void tile(const pair* a, long lda, const pair* b, long ldb, long pairs, float* c, long ldc, Start start,
                 const float* bias) {
    __m512 sum[ROWS][VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            if (start == Start::columns) sum[r][v] = _mm512_loadu_ps(bias + v * LANES);
            else if (start == Start::rows) sum[r][v] = _mm512_set1_ps(bias[r]);
            else if (start == Start::sum) sum[r][v] = _mm512_loadu_ps(c + r * ldc + v * LANES);
            else sum[r][v] = _mm512_setzero_ps();
        }
    for (long k = 0; k < pairs; k++) {
        __m512i right[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) right[v] = _mm512_loadu_si512(b + k * ldb + v * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < ROWS; r++) {
            __m512i left = _mm512_set1_epi32(static_cast<int>(a[r * lda + k]));
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++)
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)left, (__m512bh)right[v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) _mm512_storeu_ps(c + r * ldc + v * LANES, sum[r][v]);
}

using Tile = void (*)(const pair*, long, const pair*, long, long, float*, long, Start, const float*);
#define TILES_OF(ROWS) {tile<ROWS, 1>, tile<ROWS, 2>, tile<ROWS, 3>, tile<ROWS, 4>}
const Tile TILES[TILE_ROWS][TILE_VECTORS] = {TILES_OF(1), TILES_OF(2), TILES_OF(3),
                                             TILES_OF(4), TILES_OF(5), TILES_OF(6)};

// Vectors of columns in blocks of at most 4, of nearly equal width; the packed weights have the same blocks.
struct Blocks {
    long vectors, count;
    explicit Blocks(long vectors, long most = TILE_VECTORS) : vectors(vectors), count(ceil_div(vectors, most)) {}
    long begin(long i) const { return i * vectors / count; }
    long width(long i) const { return begin(i + 1) - begin(i); }
};

// The right side of a product: packed weights, block after block, or (`row` > 0) one matrix with rows of that length.
struct Panel {
    const pair* data;
    long row;
};

// c (rows, vectors * 16) = a (rows, pairs) times b (pairs, vectors * 16).
inline void product(long rows, long vectors, long pairs, const pair* a, long lda, Panel b, float* c, long ldc,
                    Start start, const float* bias = nullptr) {
    Blocks blocks(vectors);
    for (long i = 0; i < blocks.count; i++) {
        long begin = blocks.begin(i) * LANES, width = blocks.width(i);
        const pair* right = b.data + begin * (b.row ? 1 : pairs);
        for (long r = 0; r < rows; r += TILE_ROWS) {
            const float* part = start == Start::columns ? bias + begin : start == Start::rows ? bias + r : nullptr;
            TILES[std::min(rows - r, TILE_ROWS) - 1][width - 1](a + r * lda, lda, right, b.row ? b.row : width * LANES,
                                                                pairs, c + r * ldc + begin, ldc, start, part);
        }
    }
}

}  // namespace pointcoc
