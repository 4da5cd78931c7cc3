#include "logits.h"

#include <math.h>
#include <string.h>

// Sums are made of LANES floats side by side, so that the compiler can use wide
// registers, and added up as doubles every BLOCK numbers.
enum { LANES = 16, BLOCK = 1024 };

// small_exp is e^x for x <= 0, to 2e-7 of its value; below e^-87 it stays there.
// x = k ln 2 + r with |r| <= ln 2 / 2, and e^r is its Taylor series up to r^7/7!.
static inline float small_exp(float x) {
	const float round = 12582912.0f; // 1.5 * 2^23: its last bit is worth 1
	x = x > -87.0f ? x : -87.0f;
	float k = (x * 1.44269504f + round) - round;
	float r = x - k * 0.693359375f; // ln 2 in two parts, the first with few bits
	r = r + k * 2.12194440e-4f;
	float e = 1.0f / 5040;
	e = e * r + 1.0f / 720;
	e = e * r + 1.0f / 120;
	e = e * r + 1.0f / 24;
	e = e * r + 1.0f / 6;
	e = e * r + 0.5f;
	e = e * r + 1.0f;
	e = e * r + 1.0f;
	int32_t bits = ((int32_t)k + 127) << 23;
	float power;
	memcpy(&power, &bits, sizeof power);
	return e * power;
}

// largest sets *finite to false if a number is infinite or none.
static float largest(const float *x, int n, int *finite) {
	float max[LANES], zero[LANES];
	for (int j = 0; j < LANES; j++) {
		max[j] = -INFINITY;
		zero[j] = 0;
	}
	int i = 0;
	for (; i + LANES <= n; i += LANES) {
		for (int j = 0; j < LANES; j++) {
			float v = x[i + j];
			max[j] = v > max[j] ? v : max[j];
			zero[j] += v * 0.0f;
		}
	}
	for (; i < n; i++) {
		max[0] = x[i] > max[0] ? x[i] : max[0];
		zero[0] += x[i] * 0.0f;
	}
	for (int j = 0; j < LANES; j++) {
		max[0] = max[j] > max[0] ? max[j] : max[0];
		*finite = *finite && zero[j] == 0;
	}
	return max[0];
}

static double total(const float *lane) {
	double sum = 0;
	for (int j = 0; j < LANES; j++) {
		sum += lane[j];
	}
	return sum;
}

struct row row_read(const float *x, int n) {
	int finite = 1;
	struct row r = {largest(x, n, &finite), -1, 0};
	if (!finite || n < 1) {
		return r;
	}
	for (r.best = 0; x[r.best] != r.max; r.best++) {
	}
	for (int from = 0; from < n; from += BLOCK) {
		int to = from + BLOCK < n ? from + BLOCK : n;
		float lane[LANES] = {0};
		int i = from;
		for (; i + LANES <= to; i += LANES) {
			for (int j = 0; j < LANES; j++) {
				lane[j] += small_exp(x[i + j] - r.max);
			}
		}
		for (; i < to; i++) {
			lane[0] += small_exp(x[i] - r.max);
		}
		r.sum += total(lane);
	}
	return r;
}

double row_divergence(const float *x, struct row p, const float *y, struct row q, int n) {
	double sum = 0; // Σ exp(x_i - max) ((x_i - max) - (y_i - max))
	for (int from = 0; from < n; from += BLOCK) {
		int to = from + BLOCK < n ? from + BLOCK : n;
		float lane[LANES] = {0};
		int i = from;
		for (; i + LANES <= to; i += LANES) {
			for (int j = 0; j < LANES; j++) {
				float a = x[i + j] - p.max;
				lane[j] += small_exp(a) * (a - (y[i + j] - q.max));
			}
		}
		for (; i < to; i++) {
			float a = x[i] - p.max;
			lane[0] += small_exp(a) * (a - (y[i] - q.max));
		}
		sum += total(lane);
	}
	double kl = sum / p.sum + log(q.sum) - log(p.sum);
	return kl > 0 ? kl : 0; // less than 0 is rounding
}

// below reports whether number a stands behind number b in the order of row_top.
static inline int below(const float *x, int32_t a, int32_t b) {
	return x[a] != x[b] ? x[a] < x[b] : a > b;
}

// sink puts index i, which takes the place of the root, where it belongs in a heap of
// k indices whose root stands behind all others.
static void sink(const float *x, int32_t *heap, int k, int32_t i) {
	int at = 0;
	for (int child; (child = 2 * at + 1) < k; at = child) {
		if (child + 1 < k && below(x, heap[child + 1], heap[child])) {
			child++;
		}
		if (!below(x, heap[child], i)) {
			break;
		}
		heap[at] = heap[child];
	}
	heap[at] = i;
}

// any_above reports whether one of LANES numbers is larger than bound.
static inline int any_above(const float *x, float bound) {
	int any = 0;
	for (int j = 0; j < LANES; j++) {
		any |= x[j] > bound;
	}
	return any;
}

// rise puts the last of k indices where it belongs in the heap of those before it.
static void rise(const float *x, int32_t *heap, int k) {
	int32_t i = heap[k - 1];
	int at = k - 1;
	for (; at > 0 && below(x, i, heap[(at - 1) / 2]); at = (at - 1) / 2) {
		heap[at] = heap[(at - 1) / 2];
	}
	heap[at] = i;
}

void row_top(const float *x, int n, int32_t *top, int k) {
	for (int i = 0; i < k; i++) {
		top[i] = i;
		rise(x, top, i + 1);
	}
	for (int i = k; i < n;) {
		if (i + LANES <= n && !any_above(x + i, x[top[0]])) {
			i += LANES;
			continue;
		}
		int to = i + LANES < n ? i + LANES : n;
		for (; i < to; i++) {
			if (x[i] > x[top[0]]) { // of equals the one that came first stays
				sink(x, top, k, i);
			}
		}
	}
	for (int left = k - 1; left > 0; left--) {
		int32_t last = top[0], i = top[left];
		sink(x, top, left, i);
		top[left] = last;
	}
}
