// All blocks of a stage in bfloat16, for processors with AVX-512 and its bfloat16 products.
//
// The equations are those of pointcoc/ops/center_side.py and pointcoc/nn/fused_block.py. What differs is what is kept:
// a thread takes some points at a time through both layers of the pointwise network, or some regions through the whole
// cluster layer, so that what lies between stays in the processor's cache. Sums, means, similarities and the choice of
// centers are float32; products take bfloat16 and add in float32; points are bfloat16 between the layers of a block.
//
// Letters: B images, R regions of each, n points of a region, m centers of a region, h heads of d channels, C channels
// of a point, H hidden channels. A pair is two bfloat16 values of neighboring channels in 32 bits, what one lane of a
// product takes; a vector is 16 lanes.

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

using bf16 = uint16_t;
using pair = uint32_t;

constexpr long LANES = 16;
constexpr long TILE_ROWS = 6;      // 6 rows of 4 vectors: 24 sums, 4 vectors and a broadcast value fill 32 registers
constexpr long TILE_VECTORS = 4;
constexpr long MLP_ROWS = 96;      // points that go through the pointwise network together
constexpr long HIDDEN_VECTORS = 8; // hidden channels computed and used at once, in vectors
constexpr long PIECE = 192;        // points whose f is computed at once
constexpr float LENGTH_EPS = 1e-12f;

long ceil_div(long a, long b) { return (a + b - 1) / b; }
long round_up(long a, long b) { return ceil_div(a, b) * b; }

__mmask16 lanes_left(long count) { return count >= LANES ? 0xffff : static_cast<__mmask16>((1u << std::max(count, 0L)) - 1); }

__m512 widen(__m256i values) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16)); }
__m256i narrow(__m512 values) { return (__m256i)_mm512_cvtneps_pbh(values); }
__m256i load(const bf16* from, __mmask16 mask) { return _mm256_maskz_loadu_epi16(mask, from); }
void store(bf16* to, __mmask16 mask, __m256i values) { _mm256_mask_storeu_epi16(to, mask, values); }

// ---------------------------------------------------------------------------------------------------------------------
// Products

enum class Start { zero, columns, rows, sum };  // what a product is added to: nothing, a bias, or what is there

template <int ROWS, int VECTORS>
void tile(const pair* a, long lda, const pair* b, long ldb, long pairs, float* c, long ldc, Start start,
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
            for (int v = 0; v < VECTORS; v++) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], (__m512bh)left, (__m512bh)right[v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) _mm512_storeu_ps(c + r * ldc + v * LANES, sum[r][v]);
}

using Tile = void (*)(const pair*, long, const pair*, long, long, float*, long, Start, const float*);
#define TILES_OF(ROWS) {tile<ROWS, 1>, tile<ROWS, 2>, tile<ROWS, 3>, tile<ROWS, 4>}
const Tile TILES[TILE_ROWS][TILE_VECTORS] = {TILES_OF(1), TILES_OF(2), TILES_OF(3), TILES_OF(4), TILES_OF(5), TILES_OF(6)};

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
void product(long rows, long vectors, long pairs, const pair* a, long lda, Panel b, float* c, long ldc, Start start,
             const float* bias = nullptr) {
    Blocks blocks(vectors);
    for (long i = 0; i < blocks.count; i++) {
        long begin = blocks.begin(i) * LANES, width = blocks.width(i);
        const pair* right = b.data + begin * (b.row ? 1 : pairs);
        for (long r = 0; r < rows; r += TILE_ROWS) {
            const float* part = start == Start::columns ? bias + begin : start == Start::rows ? bias + r : nullptr;
            TILES[std::min(rows - r, TILE_ROWS) - 1][width - 1](a + r * lda, lda, right, b.row ? b.row : width * LANES, pairs,
                                                                c + r * ldc + begin, ldc, start, part);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// GELU: x / 2 + |x| q(|x|), q(a) = Phi(a) - 1/2 by a parabola in each of 32 intervals of [0, 16/3); 1/2 beyond.

struct GeluTable {
    static constexpr int COUNT = 32;
    static constexpr double WIDTH = 1.0 / 6;
    alignas(64) float c[3][COUNT];
    GeluTable() {
        for (int i = 0; i < COUNT; i++) fit(i);
        c[0][COUNT - 1] = 0.5f, c[1][COUNT - 1] = c[2][COUNT - 1] = 0;
    }
    static double q(double a) { return 0.5 * std::erf(a / std::sqrt(2.0)); }
    void fit(int i) {  // through three Chebyshev nodes of the interval, u in [0, 1)
        double u[3], y[3];
        for (int k = 0; k < 3; k++) {
            u[k] = 0.5 - 0.5 * std::cos(M_PI * (2 * k + 1) / 6);
            y[k] = q((i + u[k]) * WIDTH);
        }
        double s01 = (y[1] - y[0]) / (u[1] - u[0]), s12 = (y[2] - y[1]) / (u[2] - u[1]);
        double second = (s12 - s01) / (u[2] - u[0]);
        c[2][i] = static_cast<float>(second);
        c[1][i] = static_cast<float>(s01 - second * (u[0] + u[1]));
        c[0][i] = static_cast<float>(y[0] - s01 * u[0] + second * u[0] * u[1]);
    }
};
const GeluTable GELU;

struct Gelu {
    __m512 low[3], high[3];
    Gelu() {
        for (int k = 0; k < 3; k++) low[k] = _mm512_load_ps(GELU.c[k]), high[k] = _mm512_load_ps(GELU.c[k] + LANES);
    }
    __m512 operator()(__m512 x) const {
        __m512 a = _mm512_abs_ps(x);
        __m512 place = _mm512_min_ps(_mm512_mul_ps(a, _mm512_set1_ps(6)), _mm512_set1_ps(31.5f));
        __m512i index = _mm512_cvttps_epi32(place);
        __m512 u = _mm512_sub_ps(place, _mm512_cvtepi32_ps(index));
        __m512 q = _mm512_permutex2var_ps(low[2], index, high[2]);
        q = _mm512_fmadd_ps(q, u, _mm512_permutex2var_ps(low[1], index, high[1]));
        q = _mm512_fmadd_ps(q, u, _mm512_permutex2var_ps(low[0], index, high[0]));
        return _mm512_fmadd_ps(a, q, _mm512_mul_ps(x, _mm512_set1_ps(0.5f)));
    }
};

// ---------------------------------------------------------------------------------------------------------------------
// What a stage is made of

struct Shape {
    long images, regions, n, m, heads, d, channels, hidden, uses_count;

    long vectors() const { return ceil_div(channels, LANES); }
    long pairs() const { return ceil_div(channels, 2); }
    long row() const { return vectors() * LANES; }  // values from one row of a buffer to the next
    long head_vectors() const { return ceil_div(d, LANES); }
    long head_row() const { return head_vectors() * LANES; }
    long head_pairs() const { return ceil_div(d, 2); }
    long points() const { return regions * n; }  // of an image
    long rows() const { return images * points(); }
};

// In the order in which Python passes them. Rows of f and of its bias follow one another head by head, d each.
struct Block {
    const pair *f, *v, *proj, *fc1, *fc2;
    const float *f_bias, *v_bias, *proj_bias, *fc1_bias, *fc2_bias, *alpha_beta;
};

struct Proposals {
    std::vector<long> begin, point;  // center i is the mean of points point[begin[i]] to point[begin[i + 1] - 1]
    Proposals(const float* mean, const Shape& s) : begin(1, 0) {
        for (long i = 0; i < s.m; i++) {
            for (long j = 0; j < s.n; j++)
                if (mean[i * s.n + j] > 0) point.push_back(j);
            begin.push_back(static_cast<long>(point.size()));
        }
    }
};

struct Moments { double first = 0, second = 0; };

struct Norm {
    std::vector<float> mean, scale;           // of each image
    std::vector<std::vector<Moments>> sums;   // of each thread and image, about the mean
    const Shape& shape;

    Norm(const Shape& shape, int threads)
        : mean(shape.images), scale(shape.images), sums(threads, std::vector<Moments>(shape.images)), shape(shape) {}

    // The means that were serve as the point about which the new moments are taken: nothing large cancels.
    void finish(float eps) {
        double count = static_cast<double>(shape.points()) * shape.channels;
        for (long b = 0; b < shape.images; b++) {
            double first = 0, second = 0;
            for (auto& one : sums) first += one[b].first, second += one[b].second, one[b] = Moments();
            first /= count;
            mean[b] += static_cast<float>(first);
            scale[b] = static_cast<float>(1 / std::sqrt(std::max(second / count - first * first, 0.0) + eps));
        }
    }
};

struct RowMoments {
    __m512 first = _mm512_setzero_ps(), second = _mm512_setzero_ps();
    void add(__m512 value, __m512 mean, __mmask16 mask) {
        __m512 offset = _mm512_maskz_sub_ps(mask, value, mean);
        first = _mm512_add_ps(first, offset);
        second = _mm512_fmadd_ps(offset, offset, second);
    }
    void add_to(Moments& sum) {
        sum.first += _mm512_reduce_add_ps(first);
        sum.second += _mm512_reduce_add_ps(second);
    }
};

void moments_of(const bf16* x, long rows, long channels, float mean, Moments& sum) {
    for (long r = 0; r < rows; r++) {
        RowMoments row;
        for (long c = 0; c < channels; c += LANES) {
            __mmask16 mask = lanes_left(channels - c);
            row.add(widen(load(x + r * channels + c, mask)), _mm512_set1_ps(mean), mask);
        }
        row.add_to(sum);
    }
}

void normalize_row(const bf16* x, long channels, float mean, float scale, bf16* out) {
    __m512 shift = _mm512_set1_ps(mean), factor = _mm512_set1_ps(scale);
    for (long c = 0; c < channels; c += LANES) {
        __mmask16 mask = lanes_left(channels - c);
        __m512 value = widen(load(x + c, mask));
        value = _mm512_maskz_mul_ps(mask, _mm512_sub_ps(value, shift), factor);
        store(out + c, 0xffff, narrow(value));
    }
}

// Adds `extra` to a row of points, rounds it, and counts the moments of what is stored.
struct AddTo {
    bf16* x;
    long channels;
    __m512 mean;
    RowMoments moments;
    void operator()(long c, __m512 extra) {
        __mmask16 mask = lanes_left(channels - c);
        __m256i rounded = narrow(_mm512_add_ps(widen(load(x + c, mask)), extra));
        store(x + c, mask, rounded);
        moments.add(widen(rounded), mean, mask);
    }
};

// A thread's buffers, kept between calls.
class Scratch {
    char* memory = nullptr;
    size_t size = 0, used = 0;

  public:
    ~Scratch() { std::free(memory); }
    void reset(size_t bytes) {
        used = 0;
        if (bytes <= size) return;
        std::free(memory);
        memory = static_cast<char*>(std::aligned_alloc(64, round_up(bytes, 64)));
        if (memory == nullptr) std::abort();
        size = bytes;
    }
    template <typename T>
    T* take(long count) {
        T* at = reinterpret_cast<T*>(memory + used);
        used += round_up(count * sizeof(T), 64);
        return at;
    }
};

// ---------------------------------------------------------------------------------------------------------------------
// The pointwise network: x += fc2(gelu(fc1(norm(x)))) for some rows

void pointwise(const Shape& shape, const Block& block, Norm& norm, bf16* x, long first, long last, int thread,
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
                                               block.fc1 + from * LANES * shape.pairs(), wide * LANES, shape.pairs(), before,
                                               wide * LANES, Start::columns, block.fc1_bias + from * LANES);
                    for (long t = 0; t < count; t++)
                        for (long v = 0; v < wide; v++)
                            store(hidden + ((r + t) * width + blocks.begin(j) + v) * LANES, 0xffff,
                                  narrow(gelu(_mm512_load_ps(before + (t * wide + v) * LANES))));
                }
            }
            product(rows, vectors, width * LANES / 2, reinterpret_cast<pair*>(hidden), width * LANES / 2,
                    {block.fc2 + begin * LANES / 2 * row, 0}, sum, row, i == 0 ? Start::columns : Start::sum, block.fc2_bias);
        }
        for (long r = 0; r < rows; r++) {
            long b = (at + r) / shape.points();
            AddTo add{x + (at + r) * shape.channels, shape.channels, _mm512_set1_ps(norm.mean[b]), {}};
            for (long c = 0; c < shape.channels; c += LANES) add(c, _mm512_load_ps(sum + r * row + c));
            add.moments.add_to(norm.sums[thread][b]);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The cluster layer: x += proj(cluster(f, v of norm(x))) for some regions

// 16 rows of 16 pairs become columns.
void transpose(const pair* from, long from_row, pair* to, long to_row) {
    __m512i a[16], b[16];
    for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(from + i * from_row);
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    for (int i = 0; i < 4; i++)
        for (int half = 0; half < 2; half++) {
            b[i + 8 * half] = _mm512_shuffle_i32x4(a[8 * half + i], a[8 * half + 4 + i], 0x88);
            b[i + 8 * half + 4] = _mm512_shuffle_i32x4(a[8 * half + i], a[8 * half + 4 + i], 0xdd);
        }
    for (int i = 0; i < 4; i++) {
        _mm512_storeu_si512(to + i * to_row, _mm512_shuffle_i32x4(b[i], b[i + 8], 0x88));
        _mm512_storeu_si512(to + (i + 8) * to_row, _mm512_shuffle_i32x4(b[i], b[i + 8], 0xdd));
        _mm512_storeu_si512(to + (i + 4) * to_row, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0x88));
        _mm512_storeu_si512(to + (i + 12) * to_row, _mm512_shuffle_i32x4(b[i + 4], b[i + 12], 0xdd));
    }
}

__m512 exp_of(__m512 x) {  // e^x as 2^k 2^r, |r| <= 1/2; for similarities
    x = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(88.f)), _mm512_set1_ps(-87.f));
    __m512 y = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504089f));
    __m512 k = _mm512_roundscale_ps(y, 0);
    __m512 r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(k, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.f / 720);
    for (float c : {1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1.f, 1.f}) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
    return _mm512_scalef_ps(p, k);
}

__m512 sigmoid(__m512 x) {
    __m512 one = _mm512_set1_ps(1);
    return _mm512_div_ps(one, _mm512_add_ps(one, exp_of(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

// What a thread needs for the regions that it works on: a few small ones together, or a large one in pieces.
struct ClusterBuffers {
    long together, lanes, stored, centers, normal_row;
    bf16 *normal, *parts, *blends, *values;
    pair *columns, *center_columns;
    float *f, *center_f, *center, *blend, *value, *answer, *similarity, *weight, *count;
    int32_t* chosen;

    ClusterBuffers(const Shape& s, Scratch& scratch) {
        together = std::max(1L, (PIECE + LANES) / s.n);
        lanes = round_up(std::min(together * s.n, PIECE + LANES), LANES) + LANES;  // a region may begin within a vector
        stored = round_up(s.n, LANES) + LANES;
        centers = round_up(together * s.m, LANES);
        normal_row = round_up(s.channels, 2 * LANES);
        scratch.reset(take(s, scratch, true));
        take(s, scratch, false);
    }

  private:
    long take(const Shape& s, Scratch& scratch, bool counts) {
        long hm = s.heads * s.m, hd = s.heads * s.d, bytes = 0;
        auto of = [&](auto*& at, long count) {
            bytes += round_up(count * sizeof(*at), 64);
            if (!counts) at = scratch.take<std::remove_reference_t<decltype(*at)>>(count);
        };
        of(normal, lanes * normal_row), of(parts, 2 * centers * normal_row);
        of(columns, normal_row / 2 * lanes), of(center_columns, normal_row * centers);
        of(f, hd * lanes), of(center_f, hd * 2 * centers);
        of(center, together * s.m * s.row()), of(blend, hm * s.row()), of(answer, hm * s.row());
        of(value, s.m * s.head_row()), of(values, s.m * s.head_row()), of(blends, hm * normal_row);
        of(similarity, s.heads * stored), of(chosen, s.heads * stored), of(weight, hm), of(count, hm);
        return bytes;
    }
};

struct ClusterLayer {
    const Shape& s;
    const Block& block;
    Norm& norm;
    const Proposals& proposals;
    bf16* x;
    int thread;
    ClusterBuffers buf;
    float alpha, beta;

    ClusterLayer(const Shape& shape, const Block& block, Norm& norm, const Proposals& proposals, bf16* x, int thread,
                 Scratch& scratch)
        : s(shape), block(block), norm(norm), proposals(proposals), x(x), thread(thread), buf(shape, scratch),
          alpha(block.alpha_beta[0]), beta(block.alpha_beta[1]) {}

    void run(long first, long last) {
        for (long at = first; at < last; at += buf.together) {
            long regions = std::min(buf.together, last - at), points = regions * s.n;
            for (long g = 0; g < regions; g++) average(at + g, g);
            find_keys();
            long step = regions > 1 || points <= buf.lanes - LANES ? points : PIECE;
            for (long p = 0; p < points; p += step) {
                long count = std::min(step, points - p);
                find_f(at * s.n + p, count);
                for (long g = p / s.n; g * s.n < p + count; g++) {
                    long begin = std::max(p, g * s.n), end = std::min(p + count, (g + 1) * s.n);
                    if (begin == g * s.n) clear();
                    assign(g, begin - p, end - p, begin - g * s.n);
                    aggregate(begin - p, end - p, begin - g * s.n);
                    if (end == (g + 1) * s.n) answer(g), dispatch(at + g);
                }
            }
        }
    }

  private:
    const bf16* row_of(long point) const { return x + point * s.channels; }

    // The centers of region `g` of those together: means of points, and the same in two bfloat16 parts.
    void average(long region, long g) {
        long b = region / s.regions;
        __m512 mean = _mm512_set1_ps(norm.mean[b]), scale = _mm512_set1_ps(norm.scale[b]);
        for (long i = 0; i < s.m; i++) {
            long begin = proposals.begin[i], end = proposals.begin[i + 1];
            __m512 share = _mm512_set1_ps(end > begin ? 1.f / static_cast<float>(end - begin) : 0.f);
            bf16* high = buf.parts + (g * s.m + i) * buf.normal_row;
            bf16* low = high + buf.centers * buf.normal_row;
            for (long c = 0; c < s.channels; c += LANES) {
                __mmask16 mask = lanes_left(s.channels - c);
                __m512 sum = _mm512_setzero_ps();
                for (long j = begin; j < end; j++) {
                    __m512 value = widen(load(row_of(region * s.n + proposals.point[j]) + c, mask));
                    value = _mm512_maskz_mul_ps(mask, _mm512_sub_ps(value, mean), scale);
                    sum = _mm512_add_ps(sum, widen(narrow(value)));
                }
                sum = _mm512_mul_ps(sum, share);
                _mm512_storeu_ps(buf.center + (g * s.m + i) * s.row() + c, sum);
                __m256i rounded = narrow(sum);
                store(high + c, 0xffff, rounded);
                store(low + c, 0xffff, narrow(_mm512_sub_ps(sum, widen(rounded))));
            }
        }
    }

    void turn(const bf16* from, long count, pair* to, long to_row) {
        long pairs = round_up(s.pairs(), LANES);
        for (long p = 0; p < count; p += LANES)
            for (long k = 0; k < pairs; k += LANES)
                transpose(reinterpret_cast<const pair*>(from + p * buf.normal_row) + k, buf.normal_row / 2,
                          to + k * to_row + p, to_row);
    }

    // alpha times the unit vector of each center's f, for all centers at once; the sum of both parts is exact enough.
    void find_keys() {
        long width = 2 * buf.centers;
        turn(buf.parts, width, buf.center_columns, width);
        product(s.heads * s.d, width / LANES, s.pairs(), block.f, s.pairs(), {buf.center_columns, width}, buf.center_f,
                width, Start::zero);
        for (long h = 0; h < s.heads; h++)
            for (long i = 0; i < buf.centers; i += LANES) {
                float* at = buf.center_f + h * s.d * width + i;
                __m512 square = _mm512_setzero_ps();
                for (long k = 0; k < s.d; k++) {
                    __m512 sum = _mm512_add_ps(_mm512_loadu_ps(at + k * width), _mm512_loadu_ps(at + k * width + buf.centers));
                    sum = _mm512_add_ps(sum, _mm512_set1_ps(block.f_bias[h * s.d + k]));
                    square = _mm512_fmadd_ps(sum, sum, square);
                    _mm512_storeu_ps(at + k * width, sum);
                }
                __m512 length = _mm512_max_ps(_mm512_sqrt_ps(square), _mm512_set1_ps(LENGTH_EPS));
                __m512 factor = _mm512_div_ps(_mm512_set1_ps(alpha), length);
                for (long k = 0; k < s.d; k++)
                    _mm512_storeu_ps(at + k * width, _mm512_mul_ps(_mm512_loadu_ps(at + k * width), factor));
            }
    }

    // f of `count` points, channel by channel: a point is a lane.
    void find_f(long point, long count) {
        for (long p = 0; p < count; p++) {
            long b = (point + p) / s.points();
            normalize_row(row_of(point + p), s.channels, norm.mean[b], norm.scale[b], buf.normal + p * buf.normal_row);
        }
        turn(buf.normal, count, buf.columns, buf.lanes);
        product(s.heads * s.d, ceil_div(count, LANES), s.pairs(), block.f, s.pairs(), {buf.columns, buf.lanes}, buf.f,
                buf.lanes, Start::rows, block.f_bias);
    }

    void clear() {
        std::fill_n(buf.blend, s.heads * s.m * s.row(), 0.f);
        std::fill_n(buf.weight, s.heads * s.m, 0.f);
        std::fill_n(buf.count, s.heads * s.m, 0.f);
    }

    // Choose the center of lanes begin to end, points `local` and later of region g.
    void assign(long g, long begin, long end, long local) {
        for (long h = 0; h < s.heads; h++)
            for (long p = begin; p < end; p += LANES) {
                const float* f = buf.f + h * s.d * buf.lanes + p;
                __m512 square = _mm512_setzero_ps();
                for (long k = 0; k < s.d; k++) {
                    __m512 value = _mm512_loadu_ps(f + k * buf.lanes);
                    square = _mm512_fmadd_ps(value, value, square);
                }
                __m512 best = _mm512_set1_ps(-INFINITY);
                __m512i chosen = _mm512_setzero_si512();
                for (long i = 0; i < s.m; i += 4) compare(f, h, g, i, best, chosen);
                __m512 length = _mm512_max_ps(_mm512_sqrt_ps(square), _mm512_set1_ps(LENGTH_EPS));
                __m512 similarity = sigmoid(_mm512_add_ps(_mm512_set1_ps(beta), _mm512_div_ps(best, length)));
                _mm512_storeu_ps(buf.similarity + h * buf.stored + local + p - begin, similarity);
                _mm512_storeu_si512(buf.chosen + h * buf.stored + local + p - begin, chosen);
            }
    }

    // Scores of 4 centers, or of those that are left; the first wins a tie, one without points is never chosen.
    void compare(const float* f, long h, long g, long first, __m512& best, __m512i& chosen) {
        long width = 2 * buf.centers, count = std::min(4L, s.m - first);
        const float* key = buf.center_f + h * s.d * width + g * s.m + first;
        __m512 score[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
        for (long k = 0; k < s.d; k++) {
            __m512 value = _mm512_loadu_ps(f + k * buf.lanes);
            for (int i = 0; i < 4; i++) score[i] = _mm512_fmadd_ps(value, _mm512_set1_ps(key[k * width + i]), score[i]);
        }
        for (long i = 0; i < count; i++) {
            if (proposals.begin[first + i] == proposals.begin[first + i + 1]) continue;
            __mmask16 better = _mm512_cmp_ps_mask(score[i], best, _CMP_GT_OQ);
            best = _mm512_mask_mov_ps(best, better, score[i]);
            chosen = _mm512_mask_set1_epi32(chosen, better, static_cast<int>(first + i));
        }
    }

    void aggregate(long begin, long end, long local) {
        std::vector<float*> to(s.heads);
        std::vector<float> share(s.heads);
        for (long p = begin; p < end; p++, local++) {
            for (long h = 0; h < s.heads; h++) {
                long at = h * s.m + buf.chosen[h * buf.stored + local];
                float similarity = buf.similarity[h * buf.stored + local];
                buf.weight[at] += similarity, buf.count[at] += 1;
                to[h] = buf.blend + at * s.row(), share[h] = similarity;
            }
            for (long c = 0; c < s.row(); c += LANES) {
                __m512 value = widen(load(buf.normal + p * buf.normal_row + c, 0xffff));
                for (long h = 0; h < s.heads; h++)
                    _mm512_storeu_ps(to[h] + c, _mm512_fmadd_ps(_mm512_set1_ps(share[h]), value, _mm512_loadu_ps(to[h] + c)));
            }
        }
    }

    // What each center of region g dispatches: proj of v of its blend.
    void answer(long g) {
        for (long h = 0; h < s.heads; h++) {
            for (long i = 0; i < s.m; i++) blend(h, g, i);
            const float* bias = block.v_bias + h * s.head_row();
            product(s.m, s.head_vectors(), s.pairs(), reinterpret_cast<pair*>(buf.blends + h * s.m * buf.normal_row),
                    buf.normal_row / 2, {block.v + h * s.head_row() * s.pairs(), 0}, buf.value, s.head_row(), Start::zero);
            for (long i = 0; i < s.m; i++) {
                __m512 factor = _mm512_set1_ps((1 + buf.weight[h * s.m + i]) / total(h * s.m + i));
                for (long c = 0; c < s.head_row(); c += LANES) {
                    __m512 value = _mm512_loadu_ps(buf.value + i * s.head_row() + c);
                    value = _mm512_fmadd_ps(factor, _mm512_loadu_ps(bias + c), value);
                    store(buf.values + i * s.head_row() + c, 0xffff, narrow(value));
                }
            }
            product(s.m, s.vectors(), s.head_pairs(), reinterpret_cast<pair*>(buf.values), s.head_row() / 2,
                    {block.proj + h * s.row() * s.head_pairs(), 0}, buf.answer + h * s.m * s.row(), s.row(), Start::zero);
        }
    }

    float total(long at) const { return 1 + (s.uses_count ? buf.count[at] : buf.weight[at]); }

    void blend(long h, long g, long i) {
        long at = h * s.m + i;
        __m512 share = _mm512_set1_ps(1 / total(at));
        for (long c = 0; c < s.row(); c += LANES) {
            __m512 center = _mm512_loadu_ps(buf.center + (g * s.m + i) * s.row() + c);
            __m512 value = _mm512_mul_ps(_mm512_add_ps(center, _mm512_loadu_ps(buf.blend + at * s.row() + c)), share);
            store(buf.blends + at * buf.normal_row + c, 0xffff, narrow(value));
        }
    }

    void dispatch(long region) {
        long b = region / s.regions;
        std::vector<const float*> from(s.heads);
        std::vector<float> share(s.heads);
        for (long p = 0; p < s.n; p++) {
            for (long h = 0; h < s.heads; h++) {
                from[h] = buf.answer + (h * s.m + buf.chosen[h * buf.stored + p]) * s.row();
                share[h] = buf.similarity[h * buf.stored + p];
            }
            AddTo add{x + (region * s.n + p) * s.channels, s.channels, _mm512_set1_ps(norm.mean[b]), {}};
            for (long c = 0; c < s.channels; c += LANES) {
                __m512 sum = _mm512_loadu_ps(block.proj_bias + c);
                for (long h = 0; h < s.heads; h++)
                    sum = _mm512_fmadd_ps(_mm512_set1_ps(share[h]), _mm512_loadu_ps(from[h] + c), sum);
                add(c, sum);
            }
            add.moments.add_to(norm.sums[thread][b]);
        }
    }
};

// Equal shares of `count` for each thread, without parts below `step`.
long share(long count, int thread, int threads, long step) {
    return std::min(count, ceil_div(count, step) * thread / threads * step);
}

}  // namespace

// x (B R n, C) becomes the output of the blocks. `weights`: 11 pointers a block, as `Block` lists them; `mean`: the matrix
// (m, n) that averages the points of each proposal.
extern "C" void pointcoc_stage(bf16* x, const void* const* weights, long depth, const long* shape_of, float eps1, float eps2,
                               const float* mean, int threads) {
    Shape shape;
    std::memcpy(&shape, shape_of, sizeof(shape));
    Proposals proposals(mean, shape);
    Norm norm(shape, threads);
#pragma omp parallel num_threads(threads)
    {
        static thread_local Scratch scratch;
        int thread = omp_get_thread_num(), count = omp_get_num_threads();
        long points = shape.points(), regions = shape.images * shape.regions, together = std::max(1L, (PIECE + LANES) / shape.n);
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
