/* Loss and gradients of pointwise DNAs on a CPU: see `pipeline/fit/fused_sirens.py`.
 *
 * P = points, D = coordinate dims, H = hidden width, a multiple of BLOCK; matrices lie row by row, bf16 is the upper half
 * of a float. Angles are in turns. Gradients are added to what is there. Points go through all layers, forward and back,
 * POINTS at a time, so that what a layer leaves for the way back is still in the cache. */

#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#define LANES 16
#define TILE 16       /* Rows of the matrix unit, each of 16 words, 32 bf16. */
#define BLOCK 32      /* Rows and columns of a product at once: two tiles by two. */
#define POINTS 256
#define NETWORKS 4    /* At most. */
#define INLINE static inline __attribute__((always_inline))

typedef uint16_t bf16;
typedef float floats __attribute__((vector_size(64)));
typedef uint32_t words __attribute__((vector_size(64)));
typedef bf16 halves __attribute__((vector_size(32)));
typedef uint32_t pair __attribute__((may_alias)); /* Two bf16 side by side. */

/* A SIREN. `parameters` holds the first weight (D, H), the biases (layers, H) and the last weight (H), scaled by the
 * frequencies of their layers, `packed` the hidden weights as `pack_weight` leaves them. `gradients` has the same order
 * as `parameters`, and then those of the hidden weights, each (H, H) in blocks of BLOCK * BLOCK. A `frequency` (P)
 * multiplies the first angles; it may be null. */
typedef struct {
    long H, layers;
    const float *parameters;
    const words *packed;
    const float *frequency;
    float *gradients, *grad_frequency;
} Network;

INLINE floats load(const float *from) {
    floats value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void store(float *to, floats value) { memcpy(to, &value, sizeof value); }

INLINE floats widen(const bf16 *from) {
    halves value;
    memcpy(&value, from, sizeof value);
    return (floats)(__builtin_convertvector(value, words) << 16);
}

/* To nearest. Without an instruction for it a tie goes away from zero, which is cheaper than to even. */
INLINE halves narrowed(floats value) {
#ifdef __AVX512BF16__
    return (halves)_mm512_cvtneps_pbh((__m512)value);
#else
    return __builtin_convertvector(((words)value + 0x8000) >> 16, halves);
#endif
}

INLINE void narrow(bf16 *to, floats value) {
    halves half = narrowed(value);
    memcpy(to, &half, sizeof half);
}

INLINE float sum(floats value) {
    float total = 0;
    for (long lane = 0; lane < LANES; lane++) total += value[lane];
    return total;
}

/* The sine of an angle and its derivative, by minimax polynomials: within 3e-4, and 5e-5 of 2 pi; bf16 resolves 4e-3. */
INLINE void wave(floats turns, bf16 *sine, bf16 *slope) {
    floats rounded = turns + 12582912.0f; /* 1.5 * 2^23: what follows the point is rounded off. */
    floats x = turns - (rounded - 12582912.0f), t = x * x;
    narrow(sine, x * (6.2786355f + t * (-41.093731f + t * (77.930351f + t * -56.086395f))));
    narrow(slope, 6.2829325f + t * (-123.97379f + t * (406.35515f + t * (-517.75677f + t * 286.80573f))));
}

void waves(long count, const float *turns, bf16 *sine, bf16 *slope) {
    for (long i = 0; i < count; i += LANES) wave(load(turns + i), sine + i, slope + i);
}

/* Factors. A left one is read where it lies, or as tiles of 16 rows by 16 pairs of neighbours in a row; a right one as
 * tiles of 16 pairs of neighbours in a column by 16 columns. */

typedef struct {
    const pair *pairs;
    long stride, step, next_rows; /* In words: from row to row, tile to tile along a row, and to the rows below. */
} Left;

typedef struct {
    const words *tiles;
    long next_columns; /* In vectors. */
} Right;

INLINE void transpose(words m[TILE]) {
#ifdef __AVX512F__
    __m512i a[TILE], b[TILE];
    memcpy(a, m, sizeof a);
    for (int i = 0; i < 8; i++) {
        b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) {
            a[4 * i + 2 * j] = _mm512_unpacklo_epi64(b[4 * i + j], b[4 * i + 2 + j]);
            a[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(b[4 * i + j], b[4 * i + 2 + j]);
        }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) {
            b[8 * j + i] = _mm512_shuffle_i32x4(a[8 * j + i], a[8 * j + 4 + i], 0x88);
            b[8 * j + 4 + i] = _mm512_shuffle_i32x4(a[8 * j + i], a[8 * j + 4 + i], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        a[i] = _mm512_shuffle_i32x4(b[i], b[8 + i], 0x88);
        a[8 + i] = _mm512_shuffle_i32x4(b[i], b[8 + i], 0xdd);
    }
    memcpy(m, a, sizeof a);
#else
    for (int i = 0; i < TILE; i++)
        for (int j = 0; j < i; j++) {
            uint32_t kept = m[i][j];
            m[i][j] = m[j][i];
            m[j][i] = kept;
        }
#endif
}

INLINE words side_by_side(halves even, halves odd) {
    return __builtin_convertvector(even, words) | __builtin_convertvector(odd, words) << 16;
}

/* A tile of a right factor from 32 rows of 16 values; rows from `count` on are 0. */
INLINE void pair_rows(const bf16 *from, long stride, long count, words to[TILE]) {
    for (long r = 0; r < TILE; r++) {
        halves even = {0}, odd = {0};
        if (2 * r < count) memcpy(&even, from + 2 * r * stride, sizeof even);
        if (2 * r + 1 < count) memcpy(&odd, from + (2 * r + 1) * stride, sizeof odd);
        to[r] = side_by_side(even, odd);
    }
}

/* 16 values of w (size, size) from a place on, scaled; 0 outside. */
INLINE halves values_of(const float *w, long size, long row, long column, float scale) {
    floats value = {0};
    long count = size - column < LANES ? size - column : LANES;
    if (row < size && count > 0) memcpy(&value, w + row * size + column, count * sizeof *w);
    return narrowed(value * scale);
}

/* w (size, size), scaled and padded to (H, H), as two right factors of equal length: itself, and transposed. */
void pack_weight(long size, long H, const float *w, float scale, words *packed) {
    words *forward = packed, *backward = packed + H * H / BLOCK;
    for (long n = 0; n < H; n += TILE)
        for (long k = 0; k < H; k += BLOCK, forward += TILE, backward += TILE) {
            for (long r = 0; r < TILE; r++) {
                halves even = values_of(w, size, k + 2 * r, n, scale), odd = values_of(w, size, k + 2 * r + 1, n, scale);
                halves pairs[2] = {values_of(w, size, n + r, k, scale), values_of(w, size, n + r, k + LANES, scale)};
                forward[r] = side_by_side(even, odd);
                memcpy(backward + r, pairs, sizeof pairs);
            }
            transpose(backward);
        }
}

/* The gradient of w (size, size) from that of its padded, scaled copy, (H, H) in blocks of BLOCK * BLOCK. */
void unpack_gradient(long size, long H, const float *blocks, float scale, float *gradient) {
    for (long m = 0; m < size; m++)
        for (long n = 0; n < size; n += BLOCK) {
            const float *from = blocks + (m / BLOCK * (H / BLOCK) + n / BLOCK) * BLOCK * BLOCK + m % BLOCK * BLOCK;
            long count = size - n < BLOCK ? size - n : BLOCK;
            for (long i = 0; i < count; i++) gradient[m * size + n + i] = scale * from[i];
        }
}

/* What is to be done with a finished block of 32 rows and columns, row by row. */
typedef struct {
    long H, row, column, num_rows, done;
    const float (*z)[BLOCK];
    const float *b;
    float *grad_b;
    const bf16 *slope;
    bf16 *sine, *to;
} Block;

INLINE void finish_rows(Block *block, void (*finish)(const Block *, long), long end) {
    for (end = end < block->num_rows ? end : block->num_rows; block->done < end; block->done++)
        finish(block, block->done);
}

#ifdef __AMX_BF16__
/* Asks the system for the matrix unit; 0 if it refuses. */
long prepare(void) {
    enum { REQUEST = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

INLINE void begin(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } tiles = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) tiles.bytes[tile] = 64, tiles.rows[tile] = TILE;
    __asm__ volatile("" ::: "memory");
    _tile_loadconfig(&tiles);
}

INLINE void end(void) { _tile_release(); }

/* z (BLOCK, BLOCK) is left times right over `steps` tiles, or is added to. The vector unit finishes the rows of `other`
 * meanwhile. */
INLINE void multiply(Left left, Right right, long steps, float *z, int adds, Block *other,
                     void (*finish)(const Block *, long)) {
    const pair *a = left.pairs;
    const words *b = right.tiles;
    long share = (BLOCK + steps - 1) / steps;
    __asm__ volatile("" ::: "memory");
    if (adds) {
        _tile_loadd(0, z, BLOCK * 4);
        _tile_loadd(1, z + TILE, BLOCK * 4);
        _tile_loadd(2, z + TILE * BLOCK, BLOCK * 4);
        _tile_loadd(3, z + TILE * BLOCK + TILE, BLOCK * 4);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (long k = 0; k < steps; k++, a += left.step, b += TILE) {
        _tile_loadd(4, a, left.stride * 4);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + right.next_columns, 64);
        _tile_loadd(5, a + left.next_rows, left.stride * 4);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        if (finish) finish_rows(other, finish, (k + 1) * share);
    }
    _tile_stored(0, z, BLOCK * 4);
    _tile_stored(1, z + TILE, BLOCK * 4);
    _tile_stored(2, z + TILE * BLOCK, BLOCK * 4);
    _tile_stored(3, z + TILE * BLOCK + TILE, BLOCK * 4);
}
#else
#ifdef __AVX512F__
#define ROWS 8 /* As many sums as fit into the registers. */
#else
#define ROWS 2
#endif

long prepare(void) { return 1; }

INLINE void begin(void) {}

INLINE void end(void) {}

INLINE floats dot(floats sums, pair two, words columns) {
#ifdef __AVX512BF16__
    return (floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)_mm512_set1_epi32((int)two), (__m512bh)columns);
#else
    words pairs = columns * 0 + two;
    sums += (floats)(pairs << 16) * (floats)(columns << 16);
    return sums + (floats)(pairs & 0xffff0000) * (floats)(columns & 0xffff0000);
#endif
}

INLINE void multiply(Left left, Right right, long steps, float *z, int adds, Block *other,
                     void (*finish)(const Block *, long)) {
    for (long r = 0; r < BLOCK; r += ROWS) {
        floats sums[ROWS][2] = {{{0}}};
        const pair *a = left.pairs + r / TILE * left.next_rows + r % TILE * left.stride;
        const words *b = right.tiles;
        for (long i = 0; adds && i < ROWS; i++) {
            sums[i][0] = load(z + (r + i) * BLOCK);
            sums[i][1] = load(z + (r + i) * BLOCK + TILE);
        }
        for (long k = 0; k < steps; k++, a += left.step, b += TILE)
            for (long j = 0; j < TILE; j++)
                for (long i = 0; i < ROWS; i++) {
                    sums[i][0] = dot(sums[i][0], a[i * left.stride + j], b[j]);
                    sums[i][1] = dot(sums[i][1], a[i * left.stride + j], b[right.next_columns + j]);
                }
        for (long i = 0; i < ROWS; i++) {
            store(z + (r + i) * BLOCK, sums[i][0]);
            store(z + (r + i) * BLOCK + TILE, sums[i][1]);
        }
    }
    if (finish) finish_rows(other, finish, BLOCK);
}
#endif

/* (P, H) times a packed weight, `plan` done with every row of every block. P rows count, memory is there for whole
 * blocks. */
INLINE void through_weight(long P, long H, const bf16 *from, const words *packed, Block plan,
                           void (*finish)(const Block *, long)) {
    float z[2][BLOCK][BLOCK] __attribute__((aligned(64)));
    Block before = {0};
    for (long p = 0, turn = 0; p < P; p += BLOCK)
        for (long h = 0; h < H; h += BLOCK, turn = !turn) {
            Left left = {(const pair *)(from + p * H), H / 2, TILE, TILE * H / 2};
            Right right = {packed + h * H / BLOCK, H / 2};
            multiply(left, right, H / BLOCK, z[turn][0], 0, &before, finish);
            finish_rows(&before, finish, BLOCK);
            before = plan;
            before.z = (const float(*)[BLOCK])z[turn];
            before.row = p, before.column = h;
            before.num_rows = P - p < BLOCK ? P - p : BLOCK;
        }
    finish_rows(&before, finish, BLOCK);
}

INLINE void finish_forward(const Block *block, long r) {
    for (long lane = 0; lane < BLOCK; lane += LANES) {
        long h = block->column + lane, at = (block->row + r) * block->H + h;
        wave(load(block->z[r] + lane) + load(block->b + h), block->sine + at, block->to + at);
    }
}

INLINE void finish_backward(const Block *block, long r) {
    for (long lane = 0; lane < BLOCK; lane += LANES) {
        long h = block->column + lane, at = (block->row + r) * block->H + h;
        floats value = load(block->z[r] + lane) * widen(block->slope + at);
        narrow(block->to + at, value);
        store(block->grad_b + h, load(block->grad_b + h) + value);
    }
}

/* grad_w += sine^T grad, (H, H) in blocks of BLOCK * BLOCK. `room` is for two factors of POINTS * H. */
static void weight_gradient(long P, long H, const bf16 *sine, const bf16 *grad, words *room, float *grad_w) {
    long steps = (P + BLOCK - 1) / BLOCK, tiles = steps * TILE;
    words *left = room, *right = room + H / TILE * tiles;
    for (long h = 0; h < H; h += TILE)
        for (long k = 0; k < steps; k++) {
            words *a = left + h / TILE * tiles + k * TILE, *b = right + h / TILE * tiles + k * TILE;
            pair_rows(sine + k * BLOCK * H + h, H, P - k * BLOCK, a);
            transpose(a);
            pair_rows(grad + k * BLOCK * H + h, H, P - k * BLOCK, b);
        }
    for (long m = 0; m < H; m += BLOCK)
        for (long n = 0; n < H; n += BLOCK, grad_w += BLOCK * BLOCK) {
            Left a = {(const pair *)(left + m / TILE * tiles), TILE, TILE * TILE, TILE * tiles};
            Right b = {right + n / TILE * tiles, tiles};
            multiply(a, b, steps, grad_w, 1, 0, 0);
        }
}

/* Sines and slopes of x w + b, x (P, D), times the points' own frequencies if there are any. */
static void first_forward(long P, long D, long H, const float *x, const float *w, const float *b,
                          const float *frequency, bf16 *sine, bf16 *slope) {
    for (long p = 0; p < P; p++)
        for (long h = 0; h < H; h += LANES) {
            floats angle = load(b + h);
            for (long d = 0; d < D; d++) angle += x[p * D + d] * load(w + d * H + h);
            if (frequency) angle *= frequency[p];
            wave(angle, sine + p * H + h, slope + p * H + h);
        }
}

/* From the gradient of the first angles to those of w, b and, if there are any, the frequencies. */
static void first_backward(long P, long D, long H, const float *x, const float *w, const float *b,
                           const float *frequency, const bf16 *grad, float *grad_w, float *grad_b,
                           float *grad_frequency) {
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
        if (frequency) grad_frequency[p] = sum(sums);
    }
}

/* y = sine w, (P). */
static void out_forward(long P, long H, const bf16 *sine, const float *w, float *y) {
    for (long p = 0; p < P; p++) {
        floats sums = {0};
        for (long h = 0; h < H; h += LANES) sums += widen(sine + p * H + h) * load(w + h);
        y[p] = sum(sums);
    }
}

/* From the gradient of y to those of the last angles, (P, H), of w, and of the last bias. */
static void out_backward(long P, long H, const float *grad_y, const float *w, const bf16 *sine, const bf16 *slope,
                         bf16 *grad, float *grad_w, float *grad_b) {
    for (long h = 0; h < H; h += LANES) {
        floats sums_w = load(grad_w + h), sums_b = load(grad_b + h), last = load(w + h);
        for (long p = 0; p < P; p++) {
            floats value = grad_y[p] * last * widen(slope + p * H + h);
            narrow(grad + p * H + h, value);
            sums_b += value;
            sums_w += grad_y[p] * widen(sine + p * H + h);
        }
        store(grad_w + h, sums_w);
        store(grad_b + h, sums_b);
    }
}

/* Where a network's arrays begin. Waves (layers, 2, POINTS, H): sines and slopes. */
typedef struct {
    float *first, *biases, *last, *hidden;
} Parts;

static Parts parts_of(const Network *net, long D, float *from) {
    float *biases = from + D * net->H, *last = biases + net->layers * net->H;
    return (Parts){from, biases, last, last + net->H};
}

static long waves_of(const Network *net) { return net->layers * 2 * POINTS * net->H; }

static void forward(long P, long D, const Network *net, const float *x, const float *frequency, bf16 *waves,
                    float *y) {
    long H = net->H, size = POINTS * H;
    Parts w = parts_of(net, D, (float *)net->parameters);
    first_forward(P, D, H, x, w.first, w.biases, frequency, waves, waves + size);
    for (long layer = 1; layer < net->layers; layer++) {
        bf16 *below = waves + (layer - 1) * 2 * size, *own = below + 2 * size;
        Block plan = {.H = H, .b = w.biases + layer * H, .sine = own, .to = own + size};
        through_weight(P, H, below, net->packed + (layer - 1) * 2 * (H * H / BLOCK), plan, finish_forward);
    }
    out_forward(P, H, waves + (net->layers - 1) * 2 * size, w.last, y);
}

/* `room`: two gradients and two factors of POINTS * H values, and H floats that nobody reads. */
static void backward(long P, long D, const Network *net, const float *x, const float *frequency,
                     const float *grad_y, const bf16 *waves, bf16 *room, float *grad_frequency) {
    long H = net->H, size = POINTS * H, top = net->layers - 1;
    Parts w = parts_of(net, D, (float *)net->parameters), g = parts_of(net, D, net->gradients);
    bf16 *grad = room, *below = room + size;
    float *unread = (float *)(room + 4 * size);
    const bf16 *sine = waves + top * 2 * size;
    /* The gradient of the first bias is more than a sum where points have their own frequencies. */
    out_backward(P, H, grad_y, w.last, sine, sine + size, grad, g.last, top ? g.biases + top * H : unread);
    for (long layer = top; layer > 0; layer--) {
        long weight = (layer - 1) * H * H;
        sine -= 2 * size;
        weight_gradient(P, H, sine, grad, (words *)(room + 2 * size), g.hidden + weight);
        Block plan = {
            .H = H, .slope = sine + size, .to = below, .grad_b = layer > 1 ? g.biases + (layer - 1) * H : unread};
        through_weight(P, H, grad, net->packed + (layer * 2 - 1) * (H * H / BLOCK), plan, finish_backward);
        bf16 *other = grad;
        grad = below, below = other;
    }
    first_backward(P, D, H, x, w.first, w.biases, frequency, grad, g.first, g.biases, grad_frequency);
}

/* Bytes that `loss` needs to work in. */
long room_for(long N, const Network *nets) {
    long waves = 0, widest = 0;
    for (long n = 0; n < N; n++) {
        waves += waves_of(nets + n);
        widest = nets[n].H > widest ? nets[n].H : widest;
    }
    return (waves + 4 * POINTS * widest) * sizeof(bf16) + widest * sizeof(float);
}

/* The sum of squares of offset + sum_n mixture_n y_n - values, (P), and of its gradients `scale` times as much. */
double loss(long P, long D, long N, const Network *nets, const float *x, const float *values, const float *mixture,
            float offset, float scale, float *grad_mixture, float *grad_offset, void *room) {
    float y[NETWORKS][POINTS], errors[POINTS];
    double total = 0;
    begin();
    for (long p = 0; p < P; p += POINTS) {
        long count = P - p < POINTS ? P - p : POINTS;
        bf16 *waves = room;
        for (long n = 0; n < N; waves += waves_of(nets + n), n++)
            forward(count, D, nets + n, x + p * D, nets[n].frequency ? nets[n].frequency + p : 0, waves, y[n]);
        for (long i = 0; i < count; i++) {
            float error = offset - values[p + i];
            for (long n = 0; n < N; n++) error += mixture[n] * y[n][i];
            total += (double)error * error;
            errors[i] = 2 * scale * error;
            *grad_offset += errors[i];
        }
        bf16 *rest = waves;
        for (long n = N - 1; n >= 0; n--) {
            float grad_y[POINTS];
            for (long i = 0; i < count; i++) {
                grad_mixture[n] += errors[i] * y[n][i];
                grad_y[i] = errors[i] * mixture[n];
            }
            const Network *net = nets + n;
            waves -= waves_of(net);
            backward(count, D, net, x + p * D, net->frequency ? net->frequency + p : 0, grad_y, waves, rest,
                     net->frequency ? net->grad_frequency + p : 0);
        }
    }
    end();
    return total;
}
