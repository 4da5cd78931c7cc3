// One forward pass of the model: its residuals, collected layer by layer from
// one or more graphs, then measured and added to the sums of the session.
//
// Whatever does not look as expected is counted as a fault and never touches the
// computation. Most faults end the pass, of which nothing is counted then; a few
// leave out or mix up a part, and the rest is counted.

#ifndef PARE_PASS_H
#define PARE_PASS_H

#include "gram.h"
#include "residual.h"

enum fault {
    FAULT_BUSY,
    FAULT_UNREADABLE,
    FAULT_ORDER,
    FAULT_SHAPE,
    FAULT_NO_LAYERS,
    FAULT_MODEL,
    FAULT_UNFINISHED,
    FAULT_NOT_FINITE,
    FAULT_MEMORY,

    // The passes with these are counted.
    FAULTS_COUNTED,
    FAULT_OUTPUTS = FAULTS_COUNTED, // without x_L
    FAULT_POSITIONS,                // with the first tokens among the others
    FAULT_THINNED,                  // without some of the tokens

    FAULTS,
};

// A harvest is what was measured since the last one. totals is NULL if no pass
// was completed.
struct harvest {
    struct totals *totals;
    int64_t unrecognised; // graphs in which no residual was found, before any was
    int64_t left_out;     // tokens of the counted passes that memory was too short for
    int64_t skipped;      // tokens of the passes that the lot left out
    int64_t faults[FAULTS];
};

// pass_reset starts a new session: later passes are added to empty sums, and
// one that is under way is dropped. layers is the most a pass can have, budget
// the bytes that the residuals of a pass may take, share that of the passes which
// are measured, drawn by lot with a seed.
void pass_reset(int layers, size_t budget, bool prompts_only, double share, uint64_t seed);

// pass_harvest hands over what was measured; the totals are the caller's to free.
void pass_harvest(struct harvest *h);

void pass_fault(enum fault f);

// What follows is called by one thread at a time.

// pass_skip draws for the pass that begins with a graph, and reports whether the
// graph is to be left alone: it is part of a pass that was not drawn.
bool pass_skip(const struct ggml_cgraph *graph);

// pass_plan finds the residuals of the next graph and reads its inputs.
const struct plan *pass_plan(const struct ggml_cgraph *graph);

// pass_open reports whether a pass is under way, so that residuals are wanted.
bool pass_open(void);

// pass_read takes in a copy of the residual of a stop, computed by now, or NULL
// if there is none.
void pass_read(const struct stop *s, const struct ggml_tensor *copy);

// pass_drop ends the pass under way, if there is one, for the given reason.
void pass_drop(enum fault f);

// pass_close adds the pass to the sums if all its residuals were read.
void pass_close(void);

// pass_free drops the pass under way and frees the buffers.
void pass_free(void);

#endif
