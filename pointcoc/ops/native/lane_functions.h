// Functions of whole vectors: the transpose of 16 by 16 pairs, the sigmoid.
#pragma once

#include "lanes.h"

namespace pointcoc {

// 16 rows of 16 pairs become columns.
inline void transpose(const pair* from, long from_row, pair* to, long to_row) {
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

inline __m512 exp_of(__m512 x) {  // e^x as 2^k 2^r, |r| <= 1/2; for similarities
    x = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(88.f)), _mm512_set1_ps(-87.f));
    __m512 y = _mm512_mul_ps(x, _mm512_set1_ps(1.44269504089f));
    __m512 k = _mm512_roundscale_ps(y, 0);
    __m512 r = _mm512_fnmadd_ps(k, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fnmadd_ps(k, _mm512_set1_ps(-2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.f / 720);
    for (float c : {1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1.f, 1.f}) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
    return _mm512_scalef_ps(p, k);
}

inline __m512 sigmoid(__m512 x) {
    __m512 one = _mm512_set1_ps(1);
    return _mm512_div_ps(one, _mm512_add_ps(one, exp_of(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

}  // namespace pointcoc
