#include "bypass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is left out, and the forward pass under way, which may be split over
// several graphs.
static struct {
    bool gone[MAX_LAYERS + 1];
    int  runs; // of layers that stand together
    const char *error;
    bool memory; // error is that there is too little
    int64_t begun, joined; // passes, and runs of layers in them, since bypass_error was asked

    enum norm_style style;
    int64_t hidden, tokens;
    int level; // of the last residual found
    int entry; // level when the graph under way began
    bool over; // its last residual was handled, or it failed: the next graph begins anew

    // x_a, while x_b has not come yet.
    bool   saved;               // it is in the host's memory
    struct ggml_tensor *shelved; // it is on the shelf, where the graph under way copies it
    float *data;
    size_t size; // of data, bytes
    int64_t rows;
} pass;

// A mark is what is known of a tensor of the pass under way. A graph may read what
// an earlier one computed: directly, or, if the scheduler moved it to another
// device, through a copy that only its name tells of.
struct mark {
    const struct ggml_tensor *tensor;
    int  layer; // of the latest residual it depends on, -1 if none
    bool left_out;
};

// marks is a hash table with open addressing, at most half full.
static struct mark *marks;
static size_t n_marks;    // a power of two, or 0
static size_t used_marks;

static struct mark *find_mark(const struct ggml_tensor *t) {
    size_t i = ((uintptr_t)t >> 4) * 0x9E3779B97F4A7C15u & (n_marks - 1);
    while (marks[i].tensor && marks[i].tensor != t) i = (i + 1) & (n_marks - 1);
    return &marks[i];
}

static void put_mark(struct mark m) {
    struct mark *at = find_mark(m.tensor);
    used_marks += !at->tensor;
    *at = m;
}

// reserve_marks makes room for more marks.
static bool reserve_marks(int more) {
    size_t need = n_marks ? n_marks : 64;
    while (need < 2 * (used_marks + more)) need *= 2;
    if (need == n_marks) return true;
    struct mark *old = marks;
    size_t n_old = n_marks;
    marks = calloc(need, sizeof *marks);
    n_marks = marks ? need : 0;
    used_marks = 0;
    for (size_t i = 0; marks && i < n_old; i++) {
        if (old[i].tensor) put_mark(old[i]);
    }
    free(old);
    return marks != NULL;
}

static void clear_marks(void) {
    if (marks) memset(marks, 0, n_marks * sizeof *marks);
    used_marks = 0;
}

static bool fail(const char *why) {
    pass.error = why;
    pass.memory = false;
    pass.over = true;
    return false;
}

static bool fail_memory(void) {
    fail("too little memory to keep a residual");
    pass.memory = true;
    return false;
}

// starts and ends report whether a residual is the x_a or the x_b of layers left
// out. It is never both: layers between them would be left out too.
static bool starts(int layer) { return pass.gone[layer] && (layer == 0 || !pass.gone[layer - 1]); }
static bool ends(int layer) { return !pass.gone[layer] && layer > 0 && pass.gone[layer - 1]; }

void bypass_set(const int *layers, int n) {
    memset(pass.gone, 0, sizeof pass.gone);
    for (int i = 0; i < n; i++) {
        if (layers[i] >= 0 && layers[i] < MAX_LAYERS) pass.gone[layers[i]] = true;
    }
    pass.runs = 0;
    for (int l = 0; l < MAX_LAYERS; l++) pass.runs += starts(l);
    pass.error = NULL;
    pass.begun = pass.joined = 0;
    bypass_free();
}

bool bypass_is(const int *layers, int n) {
    int gone = 0;
    for (int l = 0; l <= MAX_LAYERS; l++) gone += pass.gone[l];
    for (int i = 0; i < n; i++) {
        if (!pass.gone[layers[i]]) return false;
    }
    return gone == n;
}

const char *bypass_error(bool computed, bool *memory) {
    const char *e = pass.error;
    if (computed && !e) {
        if (pass.begun == 0) e = "no layers were recognised: this architecture cannot be run without some of its layers";
        else if (pass.joined != pass.begun * pass.runs) e = "some of them were not found";
    }
    *memory = pass.error && pass.memory;
    pass.error = NULL;
    pass.begun = pass.joined = 0;
    pass.over = true;
    return e;
}

// forget ends the pass under way, so that nothing of it is taken for the next one's.
static void forget(void) {
    pass.style = NORM_UNKNOWN;
    pass.level = -1;
    pass.saved = false;
    pass.over = false;
    clear_marks();
}

void bypass_free(void) {
    forget();
    pass.shelved = NULL;
    free(pass.data);
    pass.data = NULL;
    pass.size = 0;
    free(marks);
    marks = NULL;
    n_marks = used_marks = 0;
}

// number turns the layers of the plan's stops, one of which may be FINAL, into
// those of the residuals, and drops stops that are none.
static void number(struct plan *plan) {
    int n = 0;
    for (int i = 0; i < plan->n; i++) {
        struct stop s = plan->stops[i];
        if (s.layer == UNNAMED) continue;
        if (s.layer == FINAL) {
            s.layer = pass.level + 1;
            pass.over = true;
        }
        pass.level = s.layer;
        if (s.tensor) plan->stops[n++] = s;
    }
    plan->n = n;
}

// read_plan finds the residuals of a graph.
static void read_plan(struct plan *plan, const struct ggml_cgraph *graph) {
    if (pass.over) forget();
    bool open = pass.style != NORM_UNKNOWN;
    plan_graph(plan, graph, pass.style, open ? pass.hidden : 0, open ? pass.tokens : 0);
    if (plan->n > 0 && plan->stops[0].layer == 0 && plan->stops[0].tensor) {
        forget();
        pass.style  = plan->stops[0].style;
        pass.hidden = plan->stops[0].tensor->ne[0];
        pass.tokens = ggml_nrows(plan->stops[0].tensor);
        pass.begun++;
    }
    pass.entry = pass.level;
    number(plan);
}

// arrived is the layer of a tensor that an earlier graph computed and the scheduler
// copied here. Its name is that of the original, between '#', and ends in the
// number of its layer.
static int arrived(const struct ggml_tensor *t) {
    const char *from = strchr(t->name, '#'), *to = strrchr(t->name, '#');
    if (!from || from == to) return -1;
    int layer, end = 0;
    const char *dash = to;
    while (dash > from && *dash != '-') dash--;
    if (*dash == '-' && sscanf(dash + 1, "%d%n", &layer, &end) == 1 && dash + 1 + end == to && layer < MAX_LAYERS) return layer;
    return strncmp(from + 1, "node_", 5) == 0 ? pass.entry : -1;
}

// layer_of is the layer of a node's source, and whether that is left out.
static int layer_of(const struct ggml_tensor *src, bool *left_out) {
    const struct mark *m = find_mark(src);
    if (m->tensor) {
        *left_out = m->left_out;
        return m->layer;
    }
    *left_out = false;
    if (src->op != GGML_OP_NONE) return -1;
    int layer = weight_layer(src);
    return layer >= 0 ? layer : arrived(src);
}

// mark_node notes the layer of a node, and whether it is left out; if it is a
// residual that is known already. It reports false if the node has to be computed
// and needs one that is left out.
static bool mark_node(const struct ggml_tensor *n, const struct stop *s) {
    int layer = -1;
    bool needs = false;
    for (int i = 0; i < GGML_MAX_SRC; i++) {
        if (!n->src[i] || n->src[i] == n) continue;
        bool left_out;
        int l = layer_of(n->src[i], &left_out);
        if (l > layer) layer = l;
        needs |= left_out;
    }
    if (s) return find_mark(n)->left_out || ends(s->layer) || !needs;
    bool left_out = layer >= 0 && pass.gone[layer];
    put_mark((struct mark){n, layer, left_out});
    return left_out || !needs;
}

// mark_stops marks the residuals: of those in the layers left out only x_a stays.
static void mark_stops(const struct plan *plan) {
    for (int i = 0; i < plan->n; i++) {
        const struct stop *s = &plan->stops[i];
        put_mark((struct mark){s->tensor, s->layer, pass.gone[s->layer] && !starts(s->layer)});
    }
}

// A draft is the list of nodes under construction.
struct draft {
    struct shelf *shelf;
    ggml_backend_t backend;
    struct ggml_tensor **nodes;
    int n;
    size_t used; // bytes of the shelf
    const struct plan *plan;
};

// place is where on the shelf the next tensor of size elements goes.
static size_t place(struct draft *d, int64_t elements) {
    size_t align = ggml_backend_get_alignment(d->backend), at = d->used;
    d->used += (elements * sizeof(float) + align - 1) / align * align;
    return at;
}

static bool add(struct draft *d, struct ggml_tensor *node) {
    if (!node || !ggml_backend_dev_supports_op(d->backend->device, node)) {
        return fail("the device cannot copy a residual");
    }
    d->nodes[d->n++] = node;
    return true;
}

// add_save copies x_a to the shelf.
static bool add_save(struct draft *d, const struct ggml_tensor *x) {
    if (ggml_nelements(x) == 0) return true;
    struct ggml_tensor *to = shelf_place(d->shelf, x->ne, place(d, ggml_nelements(x)));
    pass.shelved = to ? shelf_copy(x, to) : NULL;
    pass.rows = ggml_nrows(x);
    pass.saved = false;
    return add(d, pass.shelved);
}

// upload puts x_a on the shelf of this device; another graph computed it.
static bool upload(struct draft *d) {
    if (!pass.saved) return fail("the residual before the layers to leave out was not found");
    int64_t ne[GGML_MAX_DIMS] = {pass.hidden, pass.rows, 1, 1};
    struct ggml_tensor *to = shelf_place(d->shelf, ne, place(d, pass.hidden * pass.rows));
    if (!to) return fail_memory();
    ggml_backend_synchronize(d->backend);
    ggml_backend_tensor_set(to, pass.data, 0, ggml_nbytes(to));
    pass.shelved = to;
    pass.saved = false;
    return true;
}

// add_join puts x_a into the place of x_b; of the last residual only the wanted
// rows exist.
static bool add_join(struct draft *d, const struct ggml_tensor *x) {
    pass.joined++;
    if (ggml_nelements(x) == 0) {
        pass.shelved = NULL;
        pass.saved = false;
        return true;
    }
    if (!pass.shelved && !upload(d)) return false;
    struct ggml_tensor *from = pass.shelved;
    pass.shelved = NULL;
    if (ggml_nrows(x) != pass.rows) {
        const struct ggml_tensor *outputs = d->plan->outputs;
        if (!outputs || ggml_nelements(outputs) != ggml_nrows(x)) return fail("the rows whose logits are wanted were not found");
        from = shelf_rows(d->shelf, from, outputs, place(d, ggml_nelements(x)));
        if (!add(d, from)) return false;
    }
    return add(d, shelf_copy(from, (struct ggml_tensor *)x));
}

// add_stop adds what a residual calls for behind the place where it is computed.
static bool add_stop(struct draft *d, const struct stop *s) {
    if (ends(s->layer)) return add_join(d, s->tensor);
    return !starts(s->layer) || add_save(d, s->tensor);
}

// need is how much of a shelf a graph takes at most, in bytes.
static size_t need(ggml_backend_t backend, const struct plan *plan) {
    size_t sum = 0, align = ggml_backend_get_alignment(backend);
    for (int i = 0; i < plan->n; i++) {
        const struct stop *s = &plan->stops[i];
        if (starts(s->layer) || ends(s->layer)) sum += 2 * (pass.hidden * pass.tokens * sizeof(float) + align);
    }
    return sum;
}

// add_nodes adds the nodes that stay, and the copies where residuals are
// computed or, if that was elsewhere, before everything.
static bool add_nodes(struct draft *d, const struct ggml_cgraph *graph) {
    int stop = 0;
    for (; stop < d->plan->n && d->plan->stops[stop].made < 0; stop++) {
        if (!add_stop(d, &d->plan->stops[stop])) return false;
    }
    for (int i = 0; i < graph->n_nodes; i++) {
        struct ggml_tensor *n = graph->nodes[i];
        const struct stop *s = stop < d->plan->n && d->plan->stops[stop].made == i ? &d->plan->stops[stop++] : NULL;
        if (!mark_node(n, s)) return fail("later layers use what those to leave out compute");
        const struct mark *m = find_mark(n);
        if (!m->left_out && !(s && ends(s->layer))) d->nodes[d->n++] = n;
        if (s && !add_stop(d, s)) return false;
    }
    return stop == d->plan->n || fail("the layers do not come one after another");
}

bool bypass_piece(struct shelf *s, ggml_backend_t backend, struct ggml_cgraph *piece, struct ggml_cgraph *graph) {
    static struct plan plan; // large, and used by one thread at a time
    read_plan(&plan, graph);
    struct draft d = {.shelf = s, .backend = backend, .plan = &plan};
    pass.shelved = NULL;
    d.nodes = shelf_open(s, backend, need(backend, &plan), graph->n_nodes + 4 * plan.n);
    if (!d.nodes || !reserve_marks(graph->n_nodes + plan.n)) return fail_memory();
    mark_stops(&plan);
    if (!add_nodes(&d, graph)) return false;
    *piece = ggml_graph_view(graph, 0, graph->n_nodes);
    piece->nodes = d.nodes;
    piece->n_nodes = d.n;
    return true;
}

bool bypass_close(ggml_backend_t backend) {
    if (!pass.shelved) return true;
    size_t size = ggml_nbytes(pass.shelved);
    if (pass.size < size) {
        free(pass.data);
        pass.data = malloc(size);
        pass.size = pass.data ? size : 0;
    }
    if (!pass.data) return fail_memory();
    ggml_backend_synchronize(backend);
    ggml_backend_tensor_get(pass.shelved, pass.data, 0, size);
    pass.shelved = NULL;
    pass.saved = true;
    return true;
}
