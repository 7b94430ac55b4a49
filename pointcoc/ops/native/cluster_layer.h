// The cluster layer: x += proj(cluster(f, v of norm(x))) for some regions.
#pragma once

#include <cmath>
#include <type_traits>
#include <vector>

#include "lane_functions.h"
#include "products.h"
#include "stage_parts.h"

namespace pointcoc {

constexpr long PIECE = 192;  // points whose f is computed at once
constexpr float LENGTH_EPS = 1e-12f;

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
        : s(shape),
          block(block),
          norm(norm),
          proposals(proposals),
          x(x),
          thread(thread),
          buf(shape, scratch),
          alpha(block.alpha_beta[0]),
          beta(block.alpha_beta[1]) {}

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
                    // A region answers after its last piece: its sums are complete, and x, which dispatch overwrites,
                    // has been read for the centers and for f of all its points.
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
                    sum = _mm512_add_ps(sum, widen(narrow(value)));  // rounded as the points are, for f and the blend
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
                    __m512 sum =
                        _mm512_add_ps(_mm512_loadu_ps(at + k * width), _mm512_loadu_ps(at + k * width + buf.centers));
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

    // Scores of 4 centers, or of those that are left. Only a greater score replaces the best one, so the first wins a
    // tie, as in argmax; a center without points is never chosen.
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
                    _mm512_storeu_ps(to[h] + c,
                                     _mm512_fmadd_ps(_mm512_set1_ps(share[h]), value, _mm512_loadu_ps(to[h] + c)));
            }
        }
    }

    // What each center of region g dispatches: proj of v of its blend.
    void answer(long g) {
        for (long h = 0; h < s.heads; h++) {
            for (long i = 0; i < s.m; i++) blend(h, g, i);
            const float* bias = block.v_bias + h * s.head_row();
            product(s.m, s.head_vectors(), s.pairs(), reinterpret_cast<pair*>(buf.blends + h * s.m * buf.normal_row),
                    buf.normal_row / 2, {block.v + h * s.head_row() * s.pairs(), 0}, buf.value, s.head_row(),
                    Start::zero);
            for (long i = 0; i < s.m; i++) {
                // The weights of a blend add up to this; v is linear, so its bias comes with it once.
                __m512 factor = _mm512_set1_ps((1 + buf.weight[h * s.m + i]) / total(h * s.m + i));
                for (long c = 0; c < s.head_row(); c += LANES) {
                    __m512 value = _mm512_loadu_ps(buf.value + i * s.head_row() + c);
                    value = _mm512_fmadd_ps(factor, _mm512_loadu_ps(bias + c), value);
                    store(buf.values + i * s.head_row() + c, 0xffff, narrow(value));
                }
            }
            product(s.m, s.vectors(), s.head_pairs(), reinterpret_cast<pair*>(buf.values), s.head_row() / 2,
                    {block.proj + h * s.row() * s.head_pairs(), 0}, buf.answer + h * s.m * s.row(), s.row(),
                    Start::zero);
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

}  // namespace pointcoc
