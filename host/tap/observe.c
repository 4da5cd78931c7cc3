#include "observe.h"

#include <stdio.h>
#include <stdlib.h>

// What is watched, and the forward pass under way, which may be split over several
// graphs.
static struct {
    struct point points[MAX_POINTS];
    int  n;
    bool whole;

    char error[160]; // "" if all went well since the rows were taken
    bool memory;
    float *rows[MAX_POINTS]; // [tokens][hidden]
    size_t size[MAX_POINTS]; // of rows, in bytes
    int64_t hidden, tokens;  // of the passes that are complete

    enum norm_style style; // NORM_UNKNOWN: no pass is under way
    int64_t width, length; // of its residuals
    int level;             // of the last one found
    const struct ggml_tensor *x; // that one, NULL if it cannot be read
    int found;             // points, so far
    bool in_order;         // the rows whose logits are wanted are those of the tokens
    bool ending;           // the graph under way is its last
    bool over;             // none is: the one before ended ahead of its graphs

    struct plan plan;
    int of[MAX_LAYERS + 2]; // of each stop of the plan, the number of its point
} watch;

static void fail(const char *why) {
    if (!watch.error[0]) snprintf(watch.error, sizeof watch.error, "%s", why);
    watch.style = NORM_UNKNOWN;
}

void observe_drop(enum fault f) {
    watch.memory = watch.memory || f == FAULT_MEMORY;
    fail(f == FAULT_MEMORY ? "too little memory to keep a residual" : "the forward pass failed");
}

void observe_free(void) {
    for (int i = 0; i < watch.n; i++) {
        free(watch.rows[i]);
        watch.rows[i] = NULL;
        watch.size[i] = 0;
    }
    watch.style = NORM_UNKNOWN;
    watch.over = false;
    watch.tokens = watch.hidden = 0;
    watch.error[0] = 0;
    watch.memory = false;
}

void observe_set(const struct point *points, int n, bool whole) {
    observe_free();
    for (int i = 0; i < n; i++) watch.points[i] = points[i];
    watch.n = n;
    watch.whole = whole;
}

// is_wanted reports whether a point is the next to be found.
static bool is_wanted(int layer, bool attended) {
    const struct point *p = &watch.points[watch.found];
    return watch.found < watch.n && p->layer == layer && p->attended == attended;
}

static void add(struct stop s) {
    watch.of[watch.plan.n] = watch.found++;
    watch.plan.stops[watch.plan.n++] = s;
}

static void begin(const struct stop *first) {
    if (watch.style != NORM_UNKNOWN) fail("a forward pass did not reach the final norm");
    watch.style = first->style;
    watch.width = first->tensor->ne[0];
    watch.length = ggml_nrows(first->tensor);
    watch.level = -1;
    watch.x = NULL;
    watch.found = 0;
    watch.in_order = true;
    watch.ending = watch.over = false;
    if (watch.tokens > 0 && watch.width != watch.hidden) fail("the width of the model changed");
    watch.hidden = watch.width;
}

// numbers_rise reports whether wanted rows are 0, 1, 2 …
static bool numbers_rise(const struct ggml_tensor *rows) {
    int64_t n = ggml_nelements(rows);
    int32_t *list = malloc(n * sizeof *list + 1);
    if (!list || !rows->data) {
        free(list);
        return false;
    }
    bool rise = true;
    if (n > 0) ggml_backend_tensor_get(rows, list, 0, n * sizeof *list);
    for (int64_t i = 0; i < n; i++) rise = rise && list[i] == i;
    free(list);
    return rise;
}

// add_attended adds the point behind the attention of the layer last entered, if it
// is wanted and in this graph.
static void add_attended(const struct ggml_cgraph *graph) {
    struct stop s;
    if (watch.x && is_wanted(watch.level, true) && find_attended(&s, graph, watch.level, watch.x)) add(s);
}

// add_stops adds the points in a graph, given its residuals.
static void add_stops(const struct ggml_cgraph *graph, const struct plan *all) {
    add_attended(graph);
    for (int i = 0; i < all->n; i++) {
        struct stop s = all->stops[i];
        if (s.layer == UNNAMED) continue;
        watch.ending = watch.ending || s.layer == FINAL;
        watch.level = s.layer == FINAL ? watch.level + 1 : s.layer;
        watch.x = s.tensor;
        if (s.tensor && is_wanted(watch.level, false)) add(s);
        if (s.layer != FINAL) add_attended(graph);
    }
}

const struct plan *observe_plan(const struct ggml_cgraph *graph, int *nodes) {
    static struct plan all; // large, and used by one thread at a time
    bool open = watch.style != NORM_UNKNOWN;
    plan_graph(&all, graph, watch.style, open ? watch.width : 0, open ? watch.length : 0);
    bool first = all.n > 0 && all.stops[0].layer == 0 && all.stops[0].tensor;
    if (first) begin(&all.stops[0]);
    watch.plan.n = 0;
    *nodes = watch.over && all.n > 0 ? 0 : graph->n_nodes; // one without layers may begin the next pass
    if (watch.style == NORM_UNKNOWN) return &watch.plan;
    if (all.outputs && ggml_nelements(all.outputs) == watch.length) watch.in_order = numbers_rise(all.outputs);
    add_stops(graph, &all);
    if (!watch.whole && watch.found == watch.n) {
        *nodes = watch.plan.n > 0 ? watch.plan.stops[watch.plan.n - 1].made + 1 : 0;
        watch.ending = true;
    }
    return &watch.plan;
}

// reserve makes room for the rows of a point in one more pass.
static bool reserve(int point) {
    size_t need = (watch.tokens + watch.length) * watch.width * sizeof(float);
    if (need <= watch.size[point]) return true;
    float *rows = realloc(watch.rows[point], need);
    if (!rows) return false;
    watch.rows[point] = rows;
    watch.size[point] = need;
    return true;
}

void observe_read(const struct stop *s, const struct ggml_tensor *copy) {
    if (watch.style == NORM_UNKNOWN) return;
    int point = watch.of[s - watch.plan.stops];
    if (s->tensor->ne[0] != watch.width || ggml_nrows(s->tensor) != watch.length || !watch.in_order) {
        fail("a residual was not computed for all tokens in their order");
    } else if (!copy) {
        fail("a residual could not be copied");
    } else if (!reserve(point)) {
        observe_drop(FAULT_MEMORY);
    } else {
        ggml_backend_tensor_get(copy, watch.rows[point] + watch.tokens * watch.width, 0, ggml_nbytes(copy));
    }
}

// miss fails for the point that was not found.
static void miss(void) {
    const struct point *p = &watch.points[watch.found];
    char why[sizeof watch.error];
    if (p->attended) {
        snprintf(why, sizeof why, "no residual was found between the attention and the feed-forward of layer %d: this architecture has none, or a graph is split there", p->layer);
    } else {
        snprintf(why, sizeof why, "the residual x_%d was not found", p->layer);
    }
    fail(why);
}

void observe_close(void) {
    if (watch.style == NORM_UNKNOWN || !watch.ending) return;
    if (watch.found < watch.n) {
        miss();
    } else {
        watch.tokens += watch.length;
        watch.over = !watch.whole;
    }
    watch.style = NORM_UNKNOWN;
    watch.ending = false;
}

void observe_take(struct observed *o) {
    if (!watch.error[0] && watch.tokens == 0) fail("no layers were recognised: this architecture cannot be observed");
    *o = (struct observed){.tokens = watch.tokens, .hidden = watch.hidden, .memory = watch.memory};
    for (int i = 0; i < watch.n; i++) o->rows[i] = watch.rows[i];
    static char error[sizeof watch.error];
    snprintf(error, sizeof error, "%s", watch.error);
    o->error = error[0] ? error : NULL;
    watch.tokens = 0;
    watch.style = NORM_UNKNOWN;
    watch.over = false;
    watch.error[0] = 0;
    watch.memory = false;
}
