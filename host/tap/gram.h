// The arithmetic of the tap: how far apart the residuals of one token are.
//
// A model has `layers` layers L and hence L+1 residuals x_0 … x_L, vectors of
// `hidden` floats. Pairs (a, b), a < b, are numbered by the rows of the upper
// triangle: (0,1) (0,2) … (0,L) (1,2) …, as plugin.Pair does.

#ifndef PARE_GRAM_H
#define PARE_GRAM_H

#include <stdbool.h>
#include <stdint.h>

// The three populations of tokens whose sums are kept apart. See plugin.TraceDelta.
enum population { ALL, LAST, FIRST, POPULATIONS };

// totals are sums over tokens. values holds, for one population after another,
// angle [pairs], cosine [pairs], step [layers] and norm [layers+1].
struct totals {
    int     layers;
    int64_t hidden;
    int64_t tokens[POPULATIONS];
    int64_t out_tokens[POPULATIONS];
    double  values[];
};

// totals_new returns zeroed totals, or NULL if there is no memory.
struct totals *totals_new(int layers, int64_t hidden);

// totals_stride is the number of values of one population.
int64_t totals_stride(int layers);

// totals_add adds src to dst, which must be of the same shape.
void totals_add(struct totals *dst, const struct totals *src);

// A gram measures one token at a time, in memory of its own.
struct gram;

struct gram *gram_new(int layers, int64_t hidden);
void         gram_free(struct gram *g);

// gram_measure measures the residuals x[0] … x[n-1] of one token, where n is
// L+1, or L if x_L was not computed for it. It reports false, and the result is
// void, if a norm is not finite.
bool gram_measure(struct gram *g, const float *const *x, int n);

// gram_add adds the token last measured to a population of t.
void gram_add(const struct gram *g, struct totals *t, enum population p);

#endif
