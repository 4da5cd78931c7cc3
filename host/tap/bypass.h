// Running a model without some of its layers: x_a is put in the place of x_b,
// and the nodes of layers a..b-1 are left out of the graph. The result is that of
// a file from which these layers were cut.
//
// A node belongs to the layer of the latest residual that it depends on, or of the
// latest weight. One that depends on none (a mask, a table of positions) serves all
// layers and stays.

#ifndef PARE_BYPASS_H
#define PARE_BYPASS_H

#include "shelf.h"

// bypass_set leaves out the given layers from the next forward pass on.
void bypass_set(const int *layers, int n);

// bypass_is reports whether these layers, each given once, are the ones left out.
bool bypass_is(const int *layers, int n);

// bypass_piece makes the graph to be computed in the place of graph. It reports
// false if that cannot be told from it; bypass_error says why.
bool bypass_piece(struct shelf *s, ggml_backend_t backend, struct ggml_cgraph *piece, struct ggml_cgraph *graph);

// bypass_close, called when the piece was computed, keeps the residual that a
// later graph of the pass needs in the place of its own.
bool bypass_close(ggml_backend_t backend);

// bypass_error is what went wrong since it was last asked, or NULL. memory is set to
// whether there was too little of it. If the forward passes are said to have been
// computed, NULL means that there were some and all ran without the layers.
const char *bypass_error(bool computed, bool *memory);

// bypass_free drops the pass under way and frees its memory.
void bypass_free(void);

#endif
