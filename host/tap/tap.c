#include "tap.h"

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
};

enum { MAX_HOOKS = 64 };

static struct hook hooks[MAX_HOOKS]; // written by tap_install alone
static int n_hooks;

static atomic_bool tracing;
static pthread_mutex_t computing = PTHREAD_MUTEX_INITIALIZER; // held while a traced graph is computed

static struct hook *find_hook(ggml_backend_dev_t device) {
    for (int i = 0; i < n_hooks; i++) {
        if (hooks[i].device == device) return &hooks[i];
    }
    return NULL;
}

// compute_to computes the nodes done … end-1 of a graph. The batch size is a
// hint; more than one keeps a backend from recording so short-lived a piece
// (CUDA would stop using its recorded graphs for good).
static enum ggml_status compute_to(compute_fn compute, ggml_backend_t backend, struct ggml_cgraph *graph,
                                   int batch_size, int *done, int end) {
    if (end <= *done) return GGML_STATUS_SUCCESS;
    struct ggml_cgraph piece = ggml_graph_view(graph, *done, end);
    *done = end;
    return compute(backend, &piece, batch_size > 1 ? batch_size : 2);
}

// traced computes a graph piece by piece and reads each residual as soon as it
// is there. The pieces make up the whole graph whatever the tap finds in it.
static enum ggml_status traced(compute_fn compute, ggml_backend_t backend, struct ggml_cgraph *graph, int batch_size) {
    ggml_backend_synchronize(backend); // inputs may still be on their way
    const struct plan *plan = pass_plan(graph);
    if (plan->n == 0) return compute(backend, graph, batch_size);

    int done = 0;
    enum ggml_status status;
    for (int i = 0; i < plan->n; i++) {
        const struct stop *s = &plan->stops[i];
        status = compute_to(compute, backend, graph, batch_size, &done, s->made + 1);
        if (status != GGML_STATUS_SUCCESS) {
            pass_drop(FAULT_UNFINISHED);
            return status;
        }
        if (s->tensor && s->used < done) {
            pass_drop(FAULT_OVERWRITTEN);
            continue;
        }
        ggml_backend_synchronize(backend);
        pass_read(s);
    }
    status = compute_to(compute, backend, graph, batch_size, &done, graph->n_nodes);
    if (status != GGML_STATUS_SUCCESS) {
        pass_drop(FAULT_UNFINISHED);
    } else {
        pass_close(); // while a GPU goes on with the rest of the graph
    }
    return status;
}

// tapped_compute takes the place of a backend's compute function.
static enum ggml_status tapped_compute(ggml_backend_t backend, struct ggml_cgraph *graph, int batch_size) {
    compute_fn compute = atomic_load_explicit(&find_hook(backend->device)->compute, memory_order_acquire);
    if (!atomic_load_explicit(&tracing, memory_order_relaxed)) return compute(backend, graph, batch_size);
    if (pthread_mutex_trylock(&computing) != 0) {
        pass_fault(FAULT_BUSY);
        return compute(backend, graph, batch_size);
    }
    bool on = atomic_load(&tracing); // tap_stop may have come between
    enum ggml_status status = on ? traced(compute, backend, graph, batch_size) : compute(backend, graph, batch_size);
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

void tap_start(int layers, size_t budget) {
    pass_reset(layers, budget);
    atomic_store(&tracing, true);
}

void tap_stop(void) {
    atomic_store(&tracing, false);
    pthread_mutex_lock(&computing);
    pass_free();
    pthread_mutex_unlock(&computing);
}
