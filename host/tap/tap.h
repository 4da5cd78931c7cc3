// The tap: reads the residual stream of every forward pass of this process, in
// whatever engine and on whatever device, without changing the pass; or, in a
// process that serves nobody, runs the model without some of its layers, or keeps
// what it computes at some points.

#ifndef PARE_TAP_H
#define PARE_TAP_H

#include "observe.h"

// tap_install hooks every device that ggml knows, once, before a model is
// loaded. It returns how many.
int tap_install(void);

// tap_start switches tracing on, with empty sums. layers is the most layers the
// model can have, budget the bytes that the residuals of a pass may take. With
// prompts_only the tokens that the model makes are left out. Of all passes a share,
// drawn by lot with a seed, is measured, and the others are only counted.
void tap_start(int layers, size_t budget, bool prompts_only, double share, uint64_t seed);

// tap_stop switches tracing off and frees the buffers, after waiting for the
// graph that is being computed.
void tap_stop(void);

// tap_bypass leaves out the given layers of every forward pass from the next one
// on; with none, the model runs as it is. A pass that cannot be run so fails, and
// bypass_error says why.
void tap_bypass(const int *layers, int n);

// tap_observe keeps the residuals at points of every forward pass from the next one
// on; with none, the model runs as it is. See observe_set.
void tap_observe(const struct point *points, int n, bool whole);

// tap_observed takes what was kept.
void tap_observed(struct observed *o);

#endif
