#include "tap.h"

#include "bypass.h"
#include "shelf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef enum ggml_status (*compute_fn)(ggml_backend_t, struct ggml_cgraph *, int);
typedef ggml_backend_t (*init_fn)(ggml_backend_dev_t, const char *);

// A hook holds what was replaced in a device. All backends of a device share
// one compute function, known once the first of them is made.
struct hook {
    ggml_backend_dev_t device;
    init_fn init;
    _Atomic(compute_fn) compute;
    struct shelf shelf; // belongs to who holds computing
};

enum { MAX_HOOKS = 64 };

static struct hook hooks[MAX_HOOKS]; // filled by tap_install, before any other thread computes
static int n_hooks;

enum { OFF, TRACING, BYPASSING, OBSERVING };

static atomic_int mode;
static pthread_mutex_t computing = PTHREAD_MUTEX_INITIALIZER; // held while a graph is computed that is not left alone

static struct hook *find_hook(ggml_backend_dev_t device) {
    for (int i = 0; i < n_hooks; i++) {
        if (hooks[i].device == device) return &hooks[i];
    }
    return NULL;
}

// A reader is who wants the residuals at the stops of a plan.
struct reader {
    void (*read)(const struct stop *s, const struct ggml_tensor *copy);
    void (*drop)(enum fault f);
};

static const struct reader pass_reader = {pass_read, pass_drop}, observe_reader = {observe_read, observe_drop};

// in_pieces computes a graph piece by piece and has the residuals of each read. All of
// the graph's nodes are computed, in their order, whatever comes of that.
static enum ggml_status in_pieces(struct reader to, const struct plan *plan, struct hook *hook, compute_fn compute,
                                  ggml_backend_t backend, struct ggml_cgraph *graph, int batch_size) {
    static struct piece piece; // large, and used by one thread at a time
    enum ggml_status status;
    for (int done = 0, stop = 0; done < graph->n_nodes || stop < plan->n; done = piece.end, stop += piece.stops) {
        if (!shelf_piece(&hook->shelf, backend, &piece, graph, plan, done, stop)) {
            to.drop(FAULT_MEMORY);
            struct ggml_cgraph rest = ggml_graph_view(graph, done, graph->n_nodes);
            return compute(backend, &rest, batch_size);
        }
        status = piece.graph.n_nodes ? compute(backend, &piece.graph, batch_size) : GGML_STATUS_SUCCESS;
        if (status != GGML_STATUS_SUCCESS) {
            to.drop(FAULT_UNFINISHED);
            return status;
        }
        ggml_backend_synchronize(backend);
        for (int i = 0; i < piece.stops; i++) to.read(&plan->stops[stop + i], piece.copy[i]);
    }
    return GGML_STATUS_SUCCESS;
}

// traced computes a graph and measures its residuals.
static enum ggml_status traced(struct hook *hook, compute_fn compute, ggml_backend_t backend, struct ggml_cgraph *graph,
                               int batch_size) {
    if (pass_skip(graph)) return compute(backend, graph, batch_size);
    ggml_backend_synchronize(backend); // inputs may still be on their way
    const struct plan *plan = pass_plan(graph);
    if (plan->n == 0 || !pass_open()) return compute(backend, graph, batch_size);
    enum ggml_status status = in_pieces(pass_reader, plan, hook, compute, backend, graph, batch_size);
    if (status == GGML_STATUS_SUCCESS) pass_close();
    return status;
}

// observed computes what is needed of a graph and keeps some of its residuals.
static enum ggml_status observed(struct hook *hook, compute_fn compute, ggml_backend_t backend, struct ggml_cgraph *graph,
                                 int batch_size) {
    ggml_backend_synchronize(backend);
    int nodes;
    const struct plan *plan = observe_plan(graph, &nodes);
    struct ggml_cgraph needed = ggml_graph_view(graph, 0, nodes);
    enum ggml_status status = in_pieces(observe_reader, plan, hook, compute, backend, &needed, batch_size);
    if (status == GGML_STATUS_SUCCESS) observe_close();
    return status;
}

// bypassed computes a graph without the layers to leave out.
static enum ggml_status bypassed(struct hook *hook, compute_fn compute, ggml_backend_t backend, struct ggml_cgraph *graph,
                                 int batch_size) {
    struct ggml_cgraph piece;
    if (!bypass_piece(&hook->shelf, backend, &piece, graph)) return GGML_STATUS_FAILED;
    enum ggml_status status = piece.n_nodes ? compute(backend, &piece, batch_size) : GGML_STATUS_SUCCESS;
    if (status == GGML_STATUS_SUCCESS && !bypass_close(backend)) status = GGML_STATUS_FAILED;
    return status;
}

// tapped_compute takes the place of a backend's compute function.
static enum ggml_status tapped_compute(ggml_backend_t backend, struct ggml_cgraph *graph, int batch_size) {
    struct hook *hook = find_hook(backend->device);
    compute_fn compute = atomic_load_explicit(&hook->compute, memory_order_acquire);
    int now = atomic_load_explicit(&mode, memory_order_relaxed);
    if (now == OFF) return compute(backend, graph, batch_size);
    if (now != TRACING) {
        pthread_mutex_lock(&computing);
    } else if (pthread_mutex_trylock(&computing) != 0) {
        pass_fault(FAULT_BUSY);
        return compute(backend, graph, batch_size);
    }
    now = atomic_load(&mode); // it may have changed in between
    enum ggml_status status = now == TRACING     ? traced(hook, compute, backend, graph, batch_size)
                              : now == BYPASSING ? bypassed(hook, compute, backend, graph, batch_size)
                              : now == OBSERVING ? observed(hook, compute, backend, graph, batch_size)
                                                 : compute(backend, graph, batch_size);
    pthread_mutex_unlock(&computing);
    return status;
}

// tapped_init takes the place of a device's init_backend. A backend that is not
// like the others of its device is left alone.
static ggml_backend_t tapped_init(ggml_backend_dev_t device, const char *params) {
    struct hook *hook = find_hook(device);
    if (!hook) return NULL;
    ggml_backend_t backend = hook->init(device, params);
    if (!backend || !backend->iface.graph_compute || backend->device != device) return backend;
    compute_fn known = NULL;
    atomic_compare_exchange_strong(&hook->compute, &known, backend->iface.graph_compute);
    if (!known || known == backend->iface.graph_compute) backend->iface.graph_compute = tapped_compute;
    return backend;
}

int tap_install(void) {
    for (size_t i = 0; i < ggml_backend_dev_count() && n_hooks < MAX_HOOKS; i++) {
        ggml_backend_dev_t device = ggml_backend_dev_get(i);
        if (!device->iface.init_backend || device->iface.init_backend == tapped_init) continue;
        hooks[n_hooks++] = (struct hook){.device = device, .init = device->iface.init_backend};
        device->iface.init_backend = tapped_init;
    }
    return n_hooks;
}

// change sets the mode after waiting for the graph that is being computed, and
// frees what the one before kept.
static void change(int to) {
    atomic_store(&mode, OFF);
    pthread_mutex_lock(&computing);
    pass_free();
    bypass_free();
    observe_free();
    shelf_clear();
    for (int i = 0; i < n_hooks; i++) shelf_free(&hooks[i].shelf);
    atomic_store(&mode, to);
    pthread_mutex_unlock(&computing);
}

void tap_start(int layers, size_t budget, bool prompts_only, double share, uint64_t seed) {
    pass_reset(layers, budget, prompts_only, share, seed);
    change(TRACING); // also from another session: what that one had in memory goes
}

void tap_stop(void) { change(OFF); }

void tap_bypass(const int *layers, int n) {
    if (atomic_load(&mode) == (n > 0 ? BYPASSING : OFF) && bypass_is(layers, n)) return;
    change(OFF);
    bypass_set(layers, n);
    if (n > 0) atomic_store(&mode, BYPASSING);
}

void tap_observe(const struct point *points, int n, bool whole) {
    change(OFF);
    observe_set(points, n, whole);
    if (n > 0) atomic_store(&mode, OBSERVING);
}

void tap_observed(struct observed *o) {
    pthread_mutex_lock(&computing);
    observe_take(o);
    pthread_mutex_unlock(&computing);
}
