// The arithmetic over a row of logits x_0 … x_{n-1}, whose probabilities are
// p_i = exp(x_i - max) / sum with sum = Σ exp(x_i - max).

#ifndef PARE_LOGITS_H
#define PARE_LOGITS_H

#include <stdint.h>

struct row {
	float max;
	int best; // the first index of max, or -1 if some number is not finite
	double sum;
};

// row_read reads a row of logits once.
struct row row_read(const float *x, int n);

// row_divergence is the Kullback-Leibler divergence Σ p_i ln(p_i / q_i) in nats,
// p being of the row x and q of the row y.
double row_divergence(const float *x, struct row p, const float *y, struct row q, int n);

// row_top fills top with the indices of the k largest of n finite numbers, the largest
// first, and of equals the first: 1 <= k <= n.
void row_top(const float *x, int n, int32_t *top, int k);

#endif
