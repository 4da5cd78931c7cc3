#include "gram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Eight floats at any address. The compiler maps them to whatever the target
// has: one AVX register, two of SSE or NEON.
typedef float floats __attribute__((vector_size(32), aligned(4), may_alias));

enum {
    LANES = 8,
    CHUNK = 512, // floats added up in single precision before going to double
    ROWS  = 4,   // residuals per side of a block, so that a block's sums stay in registers
    COLS  = 2,
};

static const double EPSILON = 1e-8; // added to every norm, so that a zero vector divides

struct gram {
    int     layers, padded; // padded: L+1 rounded up to a multiple of ROWS
    int64_t hidden, stride; // stride: hidden rounded up to a multiple of LANES

    int    n;               // residuals of the token last measured
    float  *unit;           // [padded][stride], residuals over their norms, padded by zeros
    double *dots;           // [padded][padded], upper triangle
    double *angle, *cosine; // [pairs]
    double *step;           // [layers]
    double *norm, *trim;    // [layers+1]; see correct
};

static int64_t pairs(int layers) { return (int64_t)(layers + 1) * layers / 2; }

int64_t totals_stride(int layers) { return 2 * pairs(layers) + 2 * layers + 1; }

static size_t totals_size(int layers) {
    return sizeof(struct totals) + POPULATIONS * totals_stride(layers) * sizeof(double);
}

struct totals *totals_new(int layers, int64_t hidden) {
    struct totals *t = calloc(1, totals_size(layers));
    if (t) {
        t->layers = layers;
        t->hidden = hidden;
    }
    return t;
}

void totals_add(struct totals *dst, const struct totals *src) {
    for (int p = 0; p < POPULATIONS; p++) {
        dst->tokens[p] += src->tokens[p];
        dst->out_tokens[p] += src->out_tokens[p];
    }
    for (int64_t i = 0; i < POPULATIONS * totals_stride(src->layers); i++) {
        dst->values[i] += src->values[i];
    }
}

struct gram *gram_new(int layers, int64_t hidden) {
    struct gram *g = calloc(1, sizeof *g);
    if (!g) return NULL;
    g->layers = layers;
    g->hidden = hidden;
    g->padded = (layers + 1 + ROWS - 1) / ROWS * ROWS;
    g->stride = (hidden + LANES - 1) / LANES * LANES;
    g->unit   = calloc(g->padded * g->stride, sizeof(float));
    g->dots   = calloc((int64_t)g->padded * g->padded, sizeof(double));
    g->angle  = calloc(totals_stride(layers) + layers + 1, sizeof(double));
    if (!g->unit || !g->dots || !g->angle) {
        gram_free(g);
        return NULL;
    }
    g->cosine = g->angle + pairs(layers);
    g->step   = g->cosine + pairs(layers);
    g->norm   = g->step + layers;
    g->trim   = g->norm + layers + 1;
    return g;
}

void gram_free(struct gram *g) {
    if (!g) return;
    free(g->unit);
    free(g->dots);
    free(g->angle);
    free(g);
}

static double lanes_sum(floats v) {
    return (double)((v[0] + v[4]) + (v[1] + v[5])) + (double)((v[2] + v[6]) + (v[3] + v[7]));
}

// square_sum returns Σ (a_i - b_i)², or Σ a_i² if b is NULL.
static double square_sum(const float *a, const float *b, int64_t n) {
    double sum = 0;
    int64_t i = 0, whole = n - n % LANES;
    while (i < whole) {
        int64_t end = whole - i < CHUNK ? whole : i + CHUNK;
        floats s = {0};
        for (; i < end; i += LANES) {
            floats d = *(const floats *)(a + i);
            if (b) d -= *(const floats *)(b + i);
            s += d * d;
        }
        sum += lanes_sum(s);
    }
    for (; i < n; i++) {
        double d = b ? (double)a[i] - b[i] : a[i];
        sum += d * d;
    }
    return sum;
}

// block adds to dots the products of unit vectors i … i+ROWS-1 with j … j+COLS-1
// over the floats from … to-1.
static void block(struct gram *g, int i, int j, int64_t from, int64_t to) {
    const float *a = g->unit + i * g->stride;
    const float *b = g->unit + j * g->stride;
    floats s[ROWS][COLS] = {0};
    for (int64_t k = from; k < to; k += LANES) {
        floats x[ROWS], y[COLS];
        for (int r = 0; r < ROWS; r++) x[r] = *(const floats *)(a + r * g->stride + k);
        for (int c = 0; c < COLS; c++) y[c] = *(const floats *)(b + c * g->stride + k);
        for (int r = 0; r < ROWS; r++) {
            for (int c = 0; c < COLS; c++) s[r][c] += x[r] * y[c];
        }
    }
    for (int r = 0; r < ROWS; r++) {
        for (int c = 0; c < COLS; c++) g->dots[(i + r) * g->padded + j + c] += lanes_sum(s[r][c]);
    }
}

// multiply fills the upper triangle of dots, chunk by chunk so that a chunk of
// all residuals stays in the nearest cache.
static void multiply(struct gram *g) {
    memset(g->dots, 0, (int64_t)g->padded * g->padded * sizeof(double));
    for (int64_t from = 0; from < g->stride; from += CHUNK) {
        int64_t to = from + CHUNK < g->stride ? from + CHUNK : g->stride;
        for (int i = 0; i < g->padded; i += ROWS) {
            for (int j = i; j < g->padded; j += COLS) block(g, i, j, from, to);
        }
    }
}

// arc returns arccos(c) / pi for -1 <= c <= 1, to 2e-8: sqrt(1-x) times the
// polynomial 4.4.46 of Abramowitz and Stegun, Handbook of Mathematical Functions.
static double arc(double c) {
    double x = fabs(c);
    double p = -0.0012624911;
    p = p * x + 0.0066700901;
    p = p * x - 0.0170881256;
    p = p * x + 0.0308918810;
    p = p * x - 0.0501743046;
    p = p * x + 0.0889789874;
    p = p * x - 0.2145988016;
    p = p * x + 1.5707963050;
    p *= sqrt(1 - x) * M_1_PI;
    return c < 0 ? 1 - p : p;
}

// normalise fills unit and norm. It reports false if a norm is not finite.
static bool normalise(struct gram *g, const float *const *x) {
    for (int l = 0; l < g->n; l++) {
        double norm = sqrt(square_sum(x[l], NULL, g->hidden));
        if (!isfinite(norm)) return false;
        float scale = (float)(1 / (norm + EPSILON));
        float *u = g->unit + l * g->stride;
        for (int64_t i = 0; i < g->hidden; i++) u[i] = x[l][i] * scale;
        g->norm[l] = norm;
    }
    return true;
}

// correct fills trim with factors close to 1 that undo the rounding of the unit
// vectors' lengths, which would show between nearly parallel residuals.
static void correct(struct gram *g) {
    for (int l = 0; l < g->n; l++) {
        double length = sqrt(g->dots[l * g->padded + l]);
        g->trim[l] = length > 0 ? g->norm[l] / (g->norm[l] + EPSILON) / length : 0;
    }
}

bool gram_measure(struct gram *g, const float *const *x, int n) {
    g->n = n;
    if (!normalise(g, x)) return false;
    for (int l = 0; l + 1 < n; l++) {
        g->step[l] = sqrt(square_sum(x[l + 1], x[l], g->hidden)) / (g->norm[l] + EPSILON);
        if (!isfinite(g->step[l])) return false;
    }
    multiply(g);
    correct(g);
    int64_t pair = 0;
    for (int a = 0; a + 1 < n; a++) {
        for (int b = a + 1; b < n; b++) {
            double c = g->dots[a * g->padded + b] * g->trim[a] * g->trim[b];
            c = c > 1 ? 1 : c < -1 ? -1 : c;
            g->cosine[pair + b - a - 1] = c;
            g->angle[pair + b - a - 1] = arc(c);
        }
        pair += g->layers - a;
    }
    return true;
}

void gram_add(const struct gram *g, struct totals *t, enum population p) {
    double *angle  = t->values + p * totals_stride(t->layers);
    double *cosine = angle + pairs(t->layers);
    double *step   = cosine + pairs(t->layers);
    double *norm   = step + t->layers;

    int64_t pair = 0;
    for (int a = 0; a + 1 < g->n; a++) {
        for (int b = a + 1; b < g->n; b++) {
            angle[pair + b - a - 1] += g->angle[pair + b - a - 1];
            cosine[pair + b - a - 1] += g->cosine[pair + b - a - 1];
        }
        pair += t->layers - a;
        step[a] += g->step[a];
    }
    for (int l = 0; l < g->n; l++) norm[l] += g->norm[l];
    t->tokens[p]++;
    if (g->n == t->layers + 1) t->out_tokens[p]++;
}
