// The pointwise network: x += fc2(gelu(fc1(norm(x)))) for some rows, which go through both layers together.
#pragma once

#include "gelu.h"
#include "products.h"
#include "stage_parts.h"

namespace pointcoc {

constexpr long MLP_ROWS = 96;       // points at once
constexpr long HIDDEN_VECTORS = 8;  // hidden channels computed and used at once, in vectors

inline void pointwise(const Shape& shape, const Block& block, Norm& norm, bf16* x, long first, long last, int thread,
                      Scratch& scratch) {
    long vectors = shape.vectors(), row = shape.row(), most = std::min(last - first, MLP_ROWS);
    Blocks chunks(ceil_div(shape.hidden, LANES), HIDDEN_VECTORS);
    scratch.reset(most * row * 6 + MLP_ROWS * HIDDEN_VECTORS * LANES * 2 + TILE_ROWS * 64 * 4 + 1024);
    bf16* normal = scratch.take<bf16>(most * row);
    float* sum = scratch.take<float>(most * row);
    bf16* hidden = scratch.take<bf16>(MLP_ROWS * HIDDEN_VECTORS * LANES);
    float* before = scratch.take<float>(TILE_ROWS * TILE_VECTORS * LANES);
    Gelu gelu;
    long parts = ceil_div(last - first, MLP_ROWS);
    long step = round_up(ceil_div(last - first, std::max(parts, 1L)), TILE_ROWS);
    for (long at = first; at < last; at += step) {
        long rows = std::min(step, last - at);
        for (long r = 0; r < rows; r++) {
            long b = (at + r) / shape.points();
            normalize_row(x + (at + r) * shape.channels, shape.channels, norm.mean[b], norm.scale[b], normal + r * row);
        }
        for (long i = 0; i < chunks.count; i++) {
            long begin = chunks.begin(i), width = chunks.width(i);
            Blocks blocks(width);
            for (long j = 0; j < blocks.count; j++) {
                long from = begin + blocks.begin(j), wide = blocks.width(j);
                for (long r = 0; r < rows; r += TILE_ROWS) {
                    long count = std::min(rows - r, TILE_ROWS);
                    TILES[count - 1][wide - 1](reinterpret_cast<pair*>(normal + r * row), row / 2,
                                               block.fc1 + from * LANES * shape.pairs(), wide * LANES, shape.pairs(),
                                               before, wide * LANES, Start::columns, block.fc1_bias + from * LANES);
                    for (long t = 0; t < count; t++)
                        for (long v = 0; v < wide; v++)
                            store(hidden + ((r + t) * width + blocks.begin(j) + v) * LANES, 0xffff,
                                  narrow(gelu(_mm512_load_ps(before + (t * wide + v) * LANES))));
                }
            }
            product(rows, vectors, width * LANES / 2, reinterpret_cast<pair*>(hidden), width * LANES / 2,
                    {block.fc2 + begin * LANES / 2 * row, 0}, sum, row, i == 0 ? Start::columns : Start::sum,
                    block.fc2_bias);
        }
        for (long r = 0; r < rows; r++) {  // only now: the sum needs all hidden channels of the row
            long b = (at + r) / shape.points();
            AddTo add{x + (at + r) * shape.channels, shape.channels, _mm512_set1_ps(norm.mean[b]), {}};
            for (long c = 0; c < shape.channels; c += LANES) add(c, _mm512_load_ps(sum + r * row + c));
            add.moments.add_to(norm.sums[thread][b]);
        }
    }
}

}  // namespace pointcoc
