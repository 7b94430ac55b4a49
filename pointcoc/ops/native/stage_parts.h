// What a stage is made of: its sizes, the weights of a block, the norms of its sets, the buffers of a thread.
#pragma once

#include <cmath>
#include <cstdlib>
#include <vector>

#include "lanes.h"

namespace pointcoc {

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

struct Moments {
    double first = 0, second = 0;
};

struct Norm {
    std::vector<float> mean, scale;          // of each image
    std::vector<std::vector<Moments>> sums;  // of each thread and image, about the mean
    const Shape& shape;

    Norm(const Shape& shape, int threads)
        : mean(shape.images), scale(shape.images), sums(threads, std::vector<Moments>(shape.images)), shape(shape) {}

    // The means that were serve as the point about which the new moments are taken: nothing large cancels.
    void finish(float eps) {
        double count = static_cast<double>(shape.points()) * shape.channels;
        for (long b = 0; b < shape.images; b++) {
            double first = 0, second = 0;  // added in the order of the threads, whichever was done first
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

inline void moments_of(const bf16* x, long rows, long channels, float mean, Moments& sum) {
    for (long r = 0; r < rows; r++) {
        RowMoments row;
        for (long c = 0; c < channels; c += LANES) {
            __mmask16 mask = lanes_left(channels - c);
            row.add(widen(load(x + r * channels + c, mask)), _mm512_set1_ps(mean), mask);
        }
        row.add_to(sum);
    }
}

inline void normalize_row(const bf16* x, long channels, float mean, float scale, bf16* out) {
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

}  // namespace pointcoc
