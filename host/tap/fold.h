// Measuring all tokens of a forward pass, on as many threads as pay.

#ifndef PARE_FOLD_H
#define PARE_FOLD_H

#include "gram.h"

// SAMPLED stands for the row of a token that is not measured, because the model
// made it.
enum { SAMPLED = -2 };

// A sample is what was kept of a forward pass. Kept row k holds the residuals of
// token token[k].
struct sample {
    int     layers;          // L
    int64_t hidden, kept;
    const float   *residual; // x_0 … x_{L-1}: [L][kept][hidden]
    const float   *final;    // x_L of the output rows: [output rows][hidden]
    const int32_t *token;    // [kept]
    const int32_t *output;   // of each token, its row in final, -1, or SAMPLED
    const int32_t *position; // of each token, its place in its sequence, or NULL if unknown
};

enum fold_result { FOLD_DONE, FOLD_NO_MEMORY, FOLD_NOT_FINITE };

// fold adds a sample to into, unless the result is not FOLD_DONE.
enum fold_result fold(struct totals *into, const struct sample *s);

#endif
