// Copies of the residual stream at some points, for all tokens, in the memory of a
// process that serves nobody.
//
// Passes follow one another as the tokens do, so their rows are put together
// until they are taken.

#ifndef PARE_OBSERVE_H
#define PARE_OBSERVE_H

#include "pass.h"

enum { MAX_POINTS = MAX_LAYERS };

// A point is x_layer, or the residual after the attention of that layer.
struct point {
    int  layer;
    bool attended;
};

// observe_set watches points, given in the order of the pass, from the next forward
// pass on. Unless it is to run whole, a pass ends behind the last of them.
void observe_set(const struct point *points, int n, bool whole);

// observe_plan finds the points in the next graph, of which only the first *nodes
// need be computed.
const struct plan *observe_plan(const struct ggml_cgraph *graph, int *nodes);

// observe_read takes in a copy of the residual of a stop of that plan, computed by
// now, or NULL if there is none.
void observe_read(const struct stop *s, const struct ggml_tensor *copy);

// observe_drop ends the pass under way for the given reason.
void observe_drop(enum fault f);

// observe_close is called when the graph was computed.
void observe_close(void);

// observed are the rows of one point after another, [tokens][hidden], since they
// were last taken. They last until the next pass.
struct observed {
    const float *rows[MAX_POINTS];
    int64_t tokens, hidden;
    const char *error; // why there are none, or NULL
    bool memory;       // error is that there is too little
};

void observe_take(struct observed *o);

// observe_free drops everything.
void observe_free(void);

#endif
