// GELU as x / 2 + |x| q(|x|), q(a) = Phi(a) - 1/2: a parabola in each of 32 intervals of [0, 16/3), and 1/2 beyond.
#pragma once

#include <cmath>

#include "lanes.h"

namespace pointcoc {

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

}  // namespace pointcoc
