#include "shelf.h"

#include <stdlib.h>
#include <string.h>

// The usual size of a shelf in bytes. It is memory of the device, so it is
// small; a shelf that cannot hold a single residual grows to hold it.
static const size_t SHELF_SIZE = 32 << 20;

static struct ggml_context *context;  // the tensors of the piece under way
static struct ggml_tensor **nodes;    // and its nodes
static int n_nodes_max;

void shelf_free(struct shelf *s) {
    if (s->buffer) ggml_backend_buffer_free(s->buffer);
    *s = (struct shelf){0};
}

void shelf_clear(void) {
    if (context) ggml_free(context);
    free(nodes);
    context = NULL;
    nodes = NULL;
    n_nodes_max = 0;
}

struct ggml_tensor **shelf_open(struct shelf *s, ggml_backend_t backend, size_t need, int n) {
    if (need < SHELF_SIZE) need = SHELF_SIZE;
    if (s->size < need) {
        ggml_backend_synchronize(backend); // it may still copy what is on the shelf
        shelf_free(s);
        s->buffer = ggml_backend_alloc_buffer(backend, need);
        if (!s->buffer) return NULL;
        s->size = need;
    }
    if (n_nodes_max < n) {
        free(nodes);
        nodes = malloc(n * sizeof *nodes);
        n_nodes_max = nodes ? n : 0;
    }
    if (context) {
        ggml_reset(context); // so a tensor of the next pass has the address it had in this one
    } else {
        context = ggml_init((struct ggml_init_params){
            .mem_size = 2 * (MAX_LAYERS + 2) * ggml_tensor_overhead(), .no_alloc = true});
    }
    return context ? nodes : NULL;
}

// space is what the copy of a stop's residual takes on a shelf.
static size_t space(ggml_backend_t backend, const struct stop *stop) {
    if (!stop->tensor) return 0;
    size_t align = ggml_backend_get_alignment(backend);
    size_t size = ggml_nelements(stop->tensor) * sizeof(float);
    return (size + align - 1) / align * align;
}

static struct ggml_tensor *at(struct shelf *s, struct ggml_tensor *t, size_t offset) {
    char *base = ggml_backend_buffer_get_base(s->buffer);
    return ggml_backend_tensor_alloc(s->buffer, t, base + offset) == GGML_STATUS_SUCCESS ? t : NULL;
}

struct ggml_tensor *shelf_place(struct shelf *s, const int64_t ne[GGML_MAX_DIMS], size_t offset) {
    return at(s, ggml_new_tensor(context, GGML_TYPE_F32, GGML_MAX_DIMS, ne), offset);
}

struct ggml_tensor *shelf_copy(const struct ggml_tensor *from, struct ggml_tensor *to) {
    struct ggml_tensor *copy = ggml_cpy(context, (struct ggml_tensor *)from, to);
    return ggml_backend_view_init(copy) == GGML_STATUS_SUCCESS ? copy : NULL;
}

struct ggml_tensor *shelf_rows(struct shelf *s, struct ggml_tensor *from, const struct ggml_tensor *rows, size_t offset) {
    return at(s, ggml_get_rows(context, from, (struct ggml_tensor *)rows), offset);
}

// copy_of returns the operation that copies a residual to the shelf, or NULL if
// the device cannot do it.
static struct ggml_tensor *copy_of(struct shelf *s, ggml_backend_t backend, const struct ggml_tensor *x, size_t offset) {
    struct ggml_tensor *to = shelf_place(s, x->ne, offset);
    struct ggml_tensor *copy = to ? shelf_copy(x, to) : NULL;
    return copy && ggml_backend_dev_supports_op(backend->device, copy) ? copy : NULL;
}

bool shelf_piece(struct shelf *s, ggml_backend_t backend, struct piece *piece, struct ggml_cgraph *graph,
                 const struct plan *plan, int begin, int first) {
    size_t need = first < plan->n ? space(backend, &plan->stops[first]) : 0, used = 0;
    if (!shelf_open(s, backend, need, graph->n_nodes - begin + plan->n)) return false;
    int n = 0, next = begin, i = first;
    for (; i < plan->n; i++) {
        const struct stop *stop = &plan->stops[i];
        size_t size = space(backend, stop);
        if (used + size > s->size) break;
        int at = stop->made < next ? next : stop->made + 1;
        struct ggml_tensor *copy = NULL;
        if (size > 0 && at <= stop->used) { // else it may be overwritten by then
            copy = copy_of(s, backend, stop->tensor, used);
            used += size;
        }
        for (; copy && next < at; next++) nodes[n++] = graph->nodes[next];
        if (copy) nodes[n++] = copy;
        piece->copy[i - first] = copy;
    }
    int end = i < plan->n ? next : graph->n_nodes;
    for (; next < end; next++) nodes[n++] = graph->nodes[next];
    piece->graph = ggml_graph_view(graph, begin, end);
    piece->graph.nodes = nodes;
    piece->graph.n_nodes = n;
    piece->stops = i - first;
    piece->end = end;
    return true;
}
