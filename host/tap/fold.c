#include "fold.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MAX_WORKERS = 8,
    MIN_FLOATS  = 1 << 20, // of residuals a worker, below which another thread costs more than it saves
};

// A worker measures the kept rows from … to-1 into totals of its own.
struct worker {
    const struct sample *sample;
    int64_t from, to;
    struct totals *totals;
    enum fold_result result;
    pthread_t thread;
};

static void measure_row(const struct sample *s, int64_t k, const float **x, struct gram *g, struct worker *w) {
    int32_t token = s->token[k], row = s->output[token];
    if (row == SAMPLED) return;
    for (int l = 0; l < s->layers; l++) x[l] = s->residual + (l * s->kept + k) * s->hidden;
    if (row >= 0) x[s->layers] = s->final + row * s->hidden;
    if (!gram_measure(g, x, s->layers + (row >= 0))) {
        w->result = FOLD_NOT_FINITE;
        return;
    }
    if (s->position && s->position[token] == 0) {
        gram_add(g, w->totals, FIRST);
        return;
    }
    gram_add(g, w->totals, ALL);
    if (row >= 0) gram_add(g, w->totals, LAST);
}

static void *work(void *arg) {
    struct worker *w = arg;
    const struct sample *s = w->sample;
    struct gram *g = gram_new(s->layers, s->hidden);
    const float **x = malloc((s->layers + 1) * sizeof *x);
    w->totals = totals_new(s->layers, s->hidden);
    w->result = g && x && w->totals ? FOLD_DONE : FOLD_NO_MEMORY;
    for (int64_t k = w->from; k < w->to && w->result == FOLD_DONE; k++) measure_row(s, k, x, g, w);
    gram_free(g);
    free(x);
    return NULL;
}

static int count_workers(const struct sample *s) {
    int64_t pays = s->kept * s->hidden * s->layers / MIN_FLOATS;
    int64_t n = sysconf(_SC_NPROCESSORS_ONLN);
    if (n > MAX_WORKERS) n = MAX_WORKERS;
    if (n > pays) n = pays;
    return n < 1 ? 1 : n;
}

enum fold_result fold(struct totals *into, const struct sample *s) {
    struct worker workers[MAX_WORKERS];
    bool threaded[MAX_WORKERS] = {false};
    int n = count_workers(s);
    for (int i = 0; i < n; i++) {
        workers[i] = (struct worker){.sample = s, .from = s->kept * i / n, .to = s->kept * (i + 1) / n};
        threaded[i] = i > 0 && pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0;
    }
    enum fold_result result = FOLD_DONE;
    for (int i = 0; i < n; i++) {
        if (threaded[i]) {
            pthread_join(workers[i].thread, NULL);
        } else {
            work(&workers[i]);
        }
        if (workers[i].result != FOLD_DONE) result = workers[i].result;
    }
    for (int i = 0; i < n; i++) {
        if (result == FOLD_DONE) totals_add(into, workers[i].totals);
        free(workers[i].totals);
    }
    return result;
}
