// All blocks of a stage in bfloat16, for processors with AVX-512 and its bfloat16 products.
//
// The equations are those of pointcoc/ops/center_side.py and pointcoc/nn/folded_block.py. What differs is what is kept:
// a thread takes some points at a time through both layers of the pointwise network, or some regions through the whole
// cluster layer, so that what lies between stays in the processor's cache. Sums, means, similarities and the choice of
// centers are float32; products take bfloat16 and add in float32; points are bfloat16 between the layers of a block.
//
// Letters: B images, R regions of each, n points of a region, m centers of a region, h heads of d channels, C channels
// of a point, H hidden channels. A vector is 16 lanes.

#include <omp.h>

#include <cstring>

#include "cluster_layer.h"
#include "pointwise.h"

namespace pointcoc {

// Equal shares of `count` for each thread, without parts below `step`. The shares depend on the number of threads alone
// and each thread sums its own moments: a run repeats its bits.
inline long share(long count, int thread, int threads, long step) {
    return std::min(count, ceil_div(count, step) * thread / threads * step);
}

}  // namespace pointcoc

// x (B R n, C) becomes the output of the blocks. `weights`: 11 pointers a block, as `Block` lists them; `mean`: the
// matrix (m, n) that averages the points of each proposal.
extern "C" void pointcoc_stage(pointcoc::bf16* x, const void* const* weights, long depth, const long* shape_of,
                               float eps1, float eps2, const float* mean, int threads) {
    using namespace pointcoc;
    Shape shape;
    std::memcpy(&shape, shape_of, sizeof(shape));
    Proposals proposals(mean, shape);
    Norm norm(shape, threads);
#pragma omp parallel num_threads(threads)
    {
        static thread_local Scratch scratch;
        int thread = omp_get_thread_num(), count = omp_get_num_threads();
        long points = shape.points(), regions = shape.images * shape.regions,
             together = std::max(1L, (PIECE + LANES) / shape.n);
        for (int pass = 0; pass < 2; pass++) {  // the mean, and then the variance about it
            for (long b = thread; b < shape.images; b += count)
                moments_of(x + b * points * shape.channels, points, shape.channels, norm.mean[b], norm.sums[thread][b]);
#pragma omp barrier
#pragma omp single
            norm.finish(eps1);
        }
        for (long i = 0; i < depth; i++) {
            Block block;
            std::memcpy(&block, weights + i * (sizeof(Block) / sizeof(void*)), sizeof(block));
            {
                ClusterLayer layer(shape, block, norm, proposals, x, thread, scratch);
                layer.run(share(regions, thread, count, together), share(regions, thread + 1, count, together));
            }
// Before: one thread may not finish the norm while others still add to it. After: `single` lets nobody read it earlier.
#pragma omp barrier
#pragma omp single
            norm.finish(eps2);
            pointwise(shape, block, norm, x, share(shape.rows(), thread, count, TILE_ROWS),
                      share(shape.rows(), thread + 1, count, TILE_ROWS), thread, scratch);
#pragma omp barrier
#pragma omp single
            norm.finish(eps1);
        }
    }
}
