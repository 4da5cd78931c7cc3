// Where a computation graph holds the residual stream.
//
// Both of Ollama's engines build a layer l from weights of the same names, and
// the names say where the residual x_l is:
//
//   before  x_l is the input of the norm that is multiplied by
//           blk.l.attn_norm.weight
//   after   models that normalise only what a layer adds (OLMo 2, EXAONE 4):
//           x_l is what the product with blk.l.post_attention_norm.weight is
//           added to
//
// In both, x_L is the input of the norm multiplied by output_norm.weight. A
// model with both norms is read by the first.

#ifndef PARE_RESIDUAL_H
#define PARE_RESIDUAL_H

#include "ggml/ggml-backend-impl.h"
#include "ggml/ggml-impl.h"

enum {
    MAX_LAYERS = 512,
    FINAL      = MAX_LAYERS, // the layer of a stop at x_L
    UNNAMED    = -1,         // a norm at the end of a graph whose weight comes in the next graph
};

enum norm_style { NORM_UNKNOWN, NORM_BEFORE, NORM_AFTER };

// A stop is a point in a graph where a residual can be read.
struct stop {
    int layer;
    enum norm_style style;            // NORM_UNKNOWN if FINAL or UNNAMED
    const struct ggml_tensor *tensor; // NULL if not in this graph: it may be the UNNAMED one of the graph before
    int made;                         // index of the node that computes it, -1 if it came from elsewhere
    int used;                         // index of a node that reads it
};

// A plan is what a graph holds for the tap. It is found in one walk over the
// nodes, and nothing in it is kept for the next graph.
struct plan {
    int n;
    struct stop stops[MAX_LAYERS + 2];
    const struct ggml_tensor *positions; // I32 input, one or more a token, or NULL
    const struct ggml_tensor *outputs;   // I32 input, the rows whose logits are wanted, or NULL
};

// weight_layer is the layer whose weight a tensor is, FINAL for those behind the
// last layer, and -1 if it is none of them.
int weight_layer(const struct ggml_tensor *t);

// plan_graph fills plan for a graph. A forward pass may be split over several
// graphs: style, hidden and tokens are those of the pass that is under way, or
// NORM_UNKNOWN, 0 and 0.
void plan_graph(struct plan *plan, const struct ggml_cgraph *graph, enum norm_style style, int64_t hidden, int64_t tokens);

// first_rows is the number of tokens of the pass that begins with a graph, -1 if
// none does. It looks no further than the first layer.
int64_t first_rows(const struct ggml_cgraph *graph);

// find_attended sets s to where the residual after the attention of a layer can be
// read, given x that entered the layer. It is the sum of x and what attention adds to
// it, and goes into the norm before the feed-forward (ffn_norm.weight, or
// post_attention_norm.weight where that is its name) or is what the product with
// post_ffw_norm.weight is added to. It reports false if the graph holds no such sum: where
// attention and feed-forward both read x, there is none.
bool find_attended(struct stop *s, const struct ggml_cgraph *graph, int layer, const struct ggml_tensor *x);

#endif
