// Vectors of 16 lanes, and the two formats of values.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>

namespace pointcoc {

using bf16 = uint16_t;
using pair = uint32_t;  // two bfloat16 values of neighboring channels: what one lane of a product takes

constexpr long LANES = 16;

inline long ceil_div(long a, long b) { return (a + b - 1) / b; }
inline long round_up(long a, long b) { return ceil_div(a, b) * b; }

inline __mmask16 lanes_left(long count) {
    return count >= LANES ? 0xffff : static_cast<__mmask16>((1u << std::max(count, 0L)) - 1);
}

inline __m512 widen(__m256i values) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}
inline __m256i narrow(__m512 values) { return (__m256i)_mm512_cvtneps_pbh(values); }
inline __m256i load(const bf16* from, __mmask16 mask) { return _mm256_maskz_loadu_epi16(mask, from); }
inline void store(bf16* to, __mmask16 mask, __m256i values) { _mm256_mask_storeu_epi16(to, mask, values); }

}  // namespace pointcoc
