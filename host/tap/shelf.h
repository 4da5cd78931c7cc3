// Copies of residuals, made by the device while it computes the graph.
//
// A residual's memory is used again soon after the residual was read. So for
// each one a copy operation is added to the graph, right behind the node that
// computes it; the graph's own nodes are computed as they are, in their order.

#ifndef PARE_SHELF_H
#define PARE_SHELF_H

#include "residual.h"

// A shelf holds the copies of one device.
struct shelf {
    ggml_backend_buffer_t buffer;
    size_t size;
};

// A piece is a part of a graph with copies added to it.
struct piece {
    struct ggml_cgraph graph;
    int stops; // how many of the plan's stops are in it
    int end;   // the node of the whole graph at which the next piece begins
    const struct ggml_tensor *copy[MAX_LAYERS + 2]; // of each of them; NULL if it could not be made
};

// shelf_open empties the shelf and makes it hold at least need bytes. It returns
// room for a list of n nodes, or NULL if memory is short.
struct ggml_tensor **shelf_open(struct shelf *s, ggml_backend_t backend, size_t need, int n);

// shelf_place returns a tensor of floats at an offset of the shelf, shelf_copy
// the operation that copies one tensor into another, and shelf_rows one that
// copies some rows of a tensor to an offset of the shelf; NULL if there is none.
struct ggml_tensor *shelf_place(struct shelf *s, const int64_t ne[GGML_MAX_DIMS], size_t offset);
struct ggml_tensor *shelf_copy(const struct ggml_tensor *from, struct ggml_tensor *to);
struct ggml_tensor *shelf_rows(struct shelf *s, struct ggml_tensor *from, const struct ggml_tensor *rows, size_t offset);

// shelf_piece makes the piece of graph that begins at node begin and stop first,
// with as many of the plan's stops as the shelf holds: usually all, and the rest
// of the graph. It reports false, and there is no piece, if memory is short.
bool shelf_piece(struct shelf *s, ggml_backend_t backend, struct piece *piece, struct ggml_cgraph *graph,
                 const struct plan *plan, int begin, int first);

void shelf_free(struct shelf *s);

// shelf_clear frees the memory that all shelves share.
void shelf_clear(void);

#endif
