/* The sine layers of a pointwise DNA on a CPU, all but the products of two matrices: see `pipeline/fused_sine.py`.
 *
 * P = points, D = coordinate dims, H = hidden width, a multiple of LANES; arrays lie row by row, bf16 is the upper half
 * of a float. Angles are in turns. Gradients of weights and biases are added to, so they must start at 0. */

#include <stdint.h>
#include <string.h>
#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#define LANES 16
typedef uint16_t bf16;
typedef float floats __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));
typedef bf16 halves __attribute__((vector_size(32)));

static inline floats load(const float *from) {
    floats value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store(float *to, floats value) { memcpy(to, &value, sizeof value); }

static inline floats widen(const bf16 *from) {
    halves value;
    memcpy(&value, from, sizeof value);
    return (floats)(__builtin_convertvector(value, words) << 16);
}

/* To nearest. Without an instruction for it a tie goes away from zero, which is cheaper than to even. */
static inline void narrow(bf16 *to, floats value) {
#ifdef __AVX512BF16__
    halves half = (halves)_mm512_cvtneps_pbh((__m512)value);
#else
    halves half = __builtin_convertvector(((words)value + 0x8000) >> 16, halves);
#endif
    memcpy(to, &half, sizeof half);
}

/* The sine of an angle and its derivative, by minimax polynomials: within 3e-4, and 5e-5 of 2 pi; bf16 resolves 4e-3. */
static inline void wave(floats turns, bf16 *sine, bf16 *slope) {
    floats rounded = turns + 12582912.0f; /* 1.5 * 2^23: what follows the point is rounded off. */
    floats x = turns - (rounded - 12582912.0f), t = x * x;
    narrow(sine, x * (6.2786355f + t * (-41.093731f + t * (77.930351f + t * -56.086395f))));
    narrow(slope, 6.2829325f + t * (-123.97379f + t * (406.35515f + t * (-517.75677f + t * 286.80573f))));
}

/* Angles x w + b, x (P, D), w (D, H), times the point's own frequency (P) if there is one. */
void first_forward(long P, long D, long H, const float *x, const float *w, const float *b, const float *frequency,
                   bf16 *sine, bf16 *slope) {
    for (long p = 0; p < P; p++)
        for (long h = 0; h < H; h += LANES) {
            floats angle = load(b + h);
            for (long d = 0; d < D; d++) angle += x[p * D + d] * load(w + d * H + h);
            if (frequency) angle *= frequency[p];
            wave(angle, sine + p * H + h, slope + p * H + h);
        }
}

/* Angles z + b, z (P, H); the slopes take the place of z. */
void hidden_forward(long P, long H, const float *b, bf16 *z_slope, bf16 *sine) {
    for (long p = 0; p < P; p++)
        for (long h = 0; h < H; h += LANES) {
            bf16 *z = z_slope + p * H + h;
            wave(widen(z) + load(b + h), sine + p * H + h, z);
        }
}

/* y = sine w, (P). */
void out_forward(long P, long H, const bf16 *sine, const float *w, float *y) {
    for (long p = 0; p < P; p++) {
        floats sums = {0};
        for (long h = 0; h < H; h += LANES) sums += widen(sine + p * H + h) * load(w + h);
        y[p] = 0;
        for (long lane = 0; lane < LANES; lane++) y[p] += sums[lane];
    }
}

/* From the gradient of y to those of the last layer's angles, (P, H), of w, and of the layer's b. */
void out_backward(long P, long H, const float *grad_y, const float *w, const bf16 *sine, const bf16 *slope, bf16 *grad,
                  float *grad_w, float *grad_b) {
    for (long p = 0; p < P; p++)
        for (long h = 0; h < H; h += LANES) {
            floats value = grad_y[p] * load(w + h) * widen(slope + p * H + h);
            narrow(grad + p * H + h, value);
            store(grad_b + h, load(grad_b + h) + value);
            store(grad_w + h, load(grad_w + h) + grad_y[p] * widen(sine + p * H + h));
        }
}

/* From the gradient of a layer's sines to that of its angles, in place, and of its b. */
void hidden_backward(long P, long H, const bf16 *slope, bf16 *grad, float *grad_b) {
    for (long p = 0; p < P; p++)
        for (long h = 0; h < H; h += LANES) {
            floats value = widen(grad + p * H + h) * widen(slope + p * H + h);
            narrow(grad + p * H + h, value);
            store(grad_b + h, load(grad_b + h) + value);
        }
}

/* From the gradient of the first layer's angles to those of w, b and, if there are any, the frequencies. */
void first_backward(long P, long D, long H, const float *x, const float *w, const float *b, const float *frequency,
                    const bf16 *grad, float *grad_w, float *grad_b, float *grad_frequency) {
    for (long p = 0; p < P; p++) {
        floats sums = {0};
        for (long h = 0; h < H; h += LANES) {
            floats value = widen(grad + p * H + h), angle = load(b + h);
            if (frequency) {
                for (long d = 0; d < D; d++) angle += x[p * D + d] * load(w + d * H + h);
                sums += value * angle;
                value *= frequency[p];
            }
            store(grad_b + h, load(grad_b + h) + value);
            for (long d = 0; d < D; d++)
                store(grad_w + d * H + h, load(grad_w + d * H + h) + x[p * D + d] * value);
        }
        if (!frequency) continue;
        grad_frequency[p] = 0;
        for (long lane = 0; lane < LANES; lane++) grad_frequency[p] += sums[lane];
    }
}
