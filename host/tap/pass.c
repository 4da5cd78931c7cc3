#include "pass.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fold.h"

// The sums of the session, shared between the computing thread and the one that
// serves the host, each of which holds the lock only to add or to take them.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    unsigned number;     // of the session
    int      max_layers;
    size_t   budget;
    bool     prompts_only; // leave out sampled tokens
    double   share;        // of the passes to measure
    uint64_t lot;          // state of the generator that draws them
    bool     recognised; // a first layer was found
    int      layers;     // of the model, 0 until a pass was completed
    int64_t  hidden;
    struct harvest harvest;
} session;

// A buffer grows and keeps its size.
struct buffer {
    void  *data;
    size_t size;
};

// The pass under way. It belongs to the computing thread.
static struct {
    enum norm_style style; // NORM_UNKNOWN: no pass is under way
    unsigned session;
    int      max_layers;
    size_t   budget;
    bool     prompts_only;
    int64_t  hidden, tokens;

    int     layers;      // L, once x_L was read
    int     next;        // the layer expected next; FINAL+1 when all were read
    int64_t kept;        // tokens measured; fewer than tokens if memory is short
    int64_t staged;      // rows in stage, -1 if none
    int64_t out_rows;    // wanted rows, -1 if unknown
    bool    positions_known;

    struct buffer residuals; // float [max_layers][kept][hidden]
    struct buffer stage;     // float [staged][hidden], the residual last read
    struct buffer positions; // int32 [tokens]
    struct buffer outputs;   // int32 [out_rows]
    struct buffer keep;      // int32 [kept], the token of each kept row
    struct buffer final;     // int32 [tokens], the row of x_L of each token, -1, or SAMPLED
    struct buffer ended;     // int32 [n_ended], the positions of the wanted rows of the pass before
    int64_t n_ended;

    struct plan plan;
} pass;

static bool reserve(struct buffer *b, size_t size) {
    if (size <= b->size) return true;
    free(b->data);
    b->data = malloc(size);
    b->size = b->data ? size : 0;
    return b->data != NULL;
}

static void release(struct buffer *b) {
    free(b->data);
    *b = (struct buffer){0};
}

void pass_reset(int layers, size_t budget, bool prompts_only, double share, uint64_t seed) {
    pthread_mutex_lock(&lock);
    free(session.harvest.totals);
    unsigned number = session.number + 1;
    memset(&session, 0, sizeof session);
    session.number = number;
    session.max_layers = layers < MAX_LAYERS ? layers : MAX_LAYERS - 1;
    session.budget = budget;
    session.prompts_only = prompts_only;
    session.share = share;
    session.lot = seed | 1; // it must not be 0
    pthread_mutex_unlock(&lock);
}

void pass_harvest(struct harvest *h) {
    pthread_mutex_lock(&lock);
    *h = session.harvest;
    memset(&session.harvest, 0, sizeof session.harvest);
    pthread_mutex_unlock(&lock);
}

void pass_fault(enum fault f) {
    pthread_mutex_lock(&lock);
    session.harvest.faults[f]++;
    pthread_mutex_unlock(&lock);
}

void pass_drop(enum fault f) {
    if (pass.style != NORM_UNKNOWN) pass_fault(f);
    pass.style = NORM_UNKNOWN;
}

void pass_free(void) {
    pass.style = NORM_UNKNOWN;
    release(&pass.residuals);
    release(&pass.stage);
    release(&pass.positions);
    release(&pass.outputs);
    release(&pass.keep);
    release(&pass.final);
    release(&pass.ended);
    pass.n_ended = 0;
}

// readable reports whether a tensor's elements can be copied out in one piece.
static bool readable(const struct ggml_tensor *t, enum ggml_type type) {
    const struct ggml_backend_buffer *b = t->view_src ? t->view_src->buffer : t->buffer;
    return t->type == type && ggml_is_contiguous(t) && t->data && b && b->iface.get_tensor;
}

static bool read_tensor(const struct ggml_tensor *t, enum ggml_type type, struct buffer *into) {
    if (ggml_nelements(t) == 0) return true; // no rows are wanted of any but the last batch of a prompt
    if (!readable(t, type) || !reserve(into, ggml_nbytes(t) + 1)) return false;
    ggml_backend_tensor_get(t, into->data, 0, ggml_nbytes(t));
    return true;
}

static void begin(enum norm_style style, const struct ggml_tensor *x) {
    pass_drop(FAULT_UNFINISHED);
    pthread_mutex_lock(&lock);
    pass.session    = session.number;
    pass.max_layers = session.max_layers;
    pass.budget     = session.budget;
    pass.prompts_only = session.prompts_only;
    session.recognised = true;
    session.harvest.unrecognised = 0;
    pthread_mutex_unlock(&lock);
    pass.style    = style;
    pass.hidden   = x->ne[0];
    pass.tokens   = ggml_nrows(x);
    pass.next     = 0;
    pass.staged   = -1;
    pass.out_rows = -1;
    pass.positions_known = false;
}

// count_unrecognised counts a graph that precedes the first known layer.
static void count_unrecognised(const struct plan *plan) {
    pthread_mutex_lock(&lock);
    if (!session.recognised) {
        bool final = plan->n > 0 && plan->stops[0].layer == FINAL;
        if (final) session.harvest.faults[FAULT_NO_LAYERS]++;
        session.harvest.unrecognised += !final;
    }
    pthread_mutex_unlock(&lock);
}

// drawn draws whether a pass is measured, by xorshift64* (Vigna, 2016). lock must be held.
static bool drawn(void) {
    session.lot ^= session.lot >> 12;
    session.lot ^= session.lot << 25;
    session.lot ^= session.lot >> 27;
    return (session.lot * 0x2545f4914f6cdd1du >> 11) < session.share * 0x1p53;
}

bool pass_skip(const struct ggml_cgraph *graph) {
    if (pass.style != NORM_UNKNOWN) return false; // it was drawn
    pthread_mutex_lock(&lock);
    bool all = session.share >= 1 || !session.recognised;
    pthread_mutex_unlock(&lock);
    if (all) return false;
    int64_t tokens = first_rows(graph);
    pthread_mutex_lock(&lock);
    bool skip = tokens < 0 || !drawn();
    if (skip && tokens > 0) session.harvest.skipped += tokens;
    pthread_mutex_unlock(&lock);
    return skip;
}

const struct plan *pass_plan(const struct ggml_cgraph *graph) {
    struct plan *plan = &pass.plan;
    bool open = pass.style != NORM_UNKNOWN;
    plan_graph(plan, graph, pass.style, open ? pass.hidden : 0, open ? pass.tokens : 0);

    if (plan->n > 0 && plan->stops[0].layer == 0 && plan->stops[0].tensor) {
        begin(plan->stops[0].style, plan->stops[0].tensor);
    } else {
        count_unrecognised(plan);
    }
    if (pass.style == NORM_UNKNOWN) return plan;

    const struct ggml_tensor *p = plan->positions, *o = plan->outputs;
    if (p && !pass.positions_known && ggml_nelements(p) >= pass.tokens) {
        pass.positions_known = read_tensor(p, GGML_TYPE_I32, &pass.positions);
    }
    if (o && read_tensor(o, GGML_TYPE_I32, &pass.outputs)) {
        pass.out_rows = ggml_nelements(o);
    }
    return plan;
}

// is_end reports whether a token is the first or the last of its sequence in
// this pass. Only such tokens can be output rows of a prompt.
static bool is_end(const int32_t *pos, int64_t t, int64_t tokens) {
    return pos[t] == 0 || t + 1 == tokens || pos[t + 1] != pos[t] + 1;
}

// thin fills keep with kept of the tokens: the ends of sequences, if they are
// known and not too many, and evenly spaced ones between.
static void thin(int32_t *keep, int64_t kept, int64_t tokens, const int32_t *pos) {
    int64_t ends = 0;
    for (int64_t t = 0; pos && t < tokens; t++) ends += is_end(pos, t, tokens);
    if (ends > kept) {
        ends = 0;
        pos = NULL;
    }
    int64_t want = kept - ends, others = tokens - ends, n = 0, seen = 0;
    for (int64_t t = 0; t < tokens; t++) {
        if (pos && is_end(pos, t, tokens)) {
            keep[n++] = t;
        } else {
            if ((seen + 1) * want / others != seen * want / others) keep[n++] = t;
            seen++;
        }
    }
}

// choose decides which tokens are kept, all of them as a rule, and makes room.
static bool choose(void) {
    int64_t fit = pass.budget / (pass.hidden * sizeof(float) * (pass.max_layers + 1));
    pass.kept = pass.tokens < fit ? pass.tokens : fit;
    if (pass.kept == 0 || !reserve(&pass.keep, pass.kept * sizeof(int32_t))) return false;
    thin(pass.keep.data, pass.kept, pass.tokens, pass.positions_known ? pass.positions.data : NULL);
    return reserve(&pass.residuals, pass.max_layers * pass.kept * pass.hidden * sizeof(float));
}

// store moves the staged residual to the place of a layer.
static void store(int layer) {
    if (layer != pass.next || layer >= pass.max_layers) {
        pass_drop(FAULT_ORDER);
    } else if (pass.staged != pass.tokens) {
        pass_drop(FAULT_SHAPE);
    } else if (layer == 0 && !choose()) {
        pass_drop(FAULT_MEMORY);
    } else {
        const int32_t *keep = pass.keep.data;
        float *to = (float *)pass.residuals.data + layer * pass.kept * pass.hidden;
        for (int64_t k = 0; k < pass.kept; k++) {
            memcpy(to + k * pass.hidden, (float *)pass.stage.data + keep[k] * pass.hidden, pass.hidden * sizeof(float));
        }
        pass.next++;
        pass.staged = -1;
    }
}

bool pass_open(void) { return pass.style != NORM_UNKNOWN; }

// stage takes a copy of a residual, which the next to be stored is taken from.
static void stage(const struct ggml_tensor *x, const struct ggml_tensor *copy) {
    pass.staged = -1;
    if (x->ne[0] != pass.hidden) return;
    if (ggml_nelements(x) == 0 || (copy && read_tensor(copy, GGML_TYPE_F32, &pass.stage))) {
        pass.staged = ggml_nrows(x); // none but in the last batch of a prompt
    }
}

void pass_read(const struct stop *s, const struct ggml_tensor *copy) {
    if (pass.style == NORM_UNKNOWN) return;
    if (pass.next > FINAL) {
        if (s->layer != UNNAMED) pass_drop(FAULT_ORDER);
        return;
    }
    if (s->tensor) stage(s->tensor, copy);
    if (s->layer == UNNAMED) return;
    if (pass.staged < 0) {
        pass_drop(FAULT_UNREADABLE);
    } else if (s->layer == FINAL) {
        pass.layers = pass.next;
        pass.next = FINAL + 1;
    } else {
        store(s->layer);
    }
}

// match fills final, the row of x_L of each token. It reports false if the rows
// cannot be told; then no token has one.
static bool match(void) {
    int32_t *final = pass.final.data;
    const int32_t *outputs = pass.outputs.data;
    bool whole = pass.out_rows < 0 && pass.staged == pass.tokens;
    for (int64_t t = 0; t < pass.tokens; t++) final[t] = whole ? t : -1;
    if (whole || pass.staged == 0) return true;
    bool known = pass.staged == pass.out_rows;
    for (int64_t r = 0; known && r < pass.out_rows; r++) {
        known = outputs[r] >= 0 && outputs[r] < pass.tokens;
    }
    for (int64_t r = 0; known && r < pass.out_rows; r++) final[outputs[r]] = r;
    return known;
}

// is_sampled reports whether a token was sampled from the pass before: it stands
// alone and follows one whose logits were wanted there.
static bool is_sampled(const int32_t *pos, int64_t t, int64_t tokens) {
    if (t > 0 && pos[t] == pos[t - 1] + 1) return false;
    if (t + 1 < tokens && pos[t + 1] == pos[t] + 1) return false;
    const int32_t *ended = pass.ended.data;
    for (int64_t i = 0; i < pass.n_ended; i++) {
        if (ended[i] + 1 == pos[t]) return true;
    }
    return false;
}

// skip_sampled marks the tokens that the model made, and keeps the positions of
// this pass's output rows to know those of the next by.
static void skip_sampled(void) {
    if (!pass.positions_known) return;
    const int32_t *pos = pass.positions.data;
    int32_t *final = pass.final.data;
    int64_t n = 0;
    for (int64_t t = 0; t < pass.tokens; t++) n += final[t] >= 0;
    struct buffer ended = {0};
    if (!reserve(&ended, (n + 1) * sizeof(int32_t))) return;
    n = 0;
    for (int64_t t = 0; t < pass.tokens; t++) {
        if (final[t] < 0) continue;
        ((int32_t *)ended.data)[n++] = pos[t];
        if (is_sampled(pos, t, pass.tokens)) final[t] = SAMPLED;
    }
    release(&pass.ended);
    pass.ended = ended;
    pass.n_ended = n;
}

// add adds the measured pass to the sums of the session it began in, with what
// is to be said of it. matched tells whether x_L is in them.
static void add(struct totals *t, bool matched) {
    pthread_mutex_lock(&lock);
    struct harvest *h = &session.harvest;
    if (pass.session != session.number) {
        free(t);
    } else if (session.layers && (session.layers != t->layers || session.hidden != t->hidden)) {
        h->faults[FAULT_MODEL]++;
        free(t);
    } else {
        session.layers = t->layers;
        session.hidden = t->hidden;
        h->left_out += pass.tokens - pass.kept;
        h->faults[FAULT_OUTPUTS] += !matched;
        h->faults[FAULT_POSITIONS] += !pass.positions_known;
        h->faults[FAULT_THINNED] += pass.kept < pass.tokens;
        if (h->totals) {
            totals_add(h->totals, t);
            free(t);
        } else {
            h->totals = t;
        }
    }
    pthread_mutex_unlock(&lock);
}

void pass_close(void) {
    if (pass.style == NORM_UNKNOWN || pass.next != FINAL + 1) return;
    if (pass.layers < 1) return pass_drop(FAULT_ORDER);
    struct totals *t = totals_new(pass.layers, pass.hidden);
    if (!t || !reserve(&pass.final, pass.tokens * sizeof(int32_t))) {
        free(t);
        return pass_drop(FAULT_MEMORY);
    }
    bool matched = match();
    if (pass.prompts_only) skip_sampled();
    enum fold_result result = fold(t, &(struct sample){
        .layers = pass.layers, .hidden = pass.hidden, .kept = pass.kept,
        .residual = pass.residuals.data, .final = pass.stage.data,
        .token = pass.keep.data, .output = pass.final.data,
        .position = pass.positions_known ? pass.positions.data : NULL,
    });
    if (result != FOLD_DONE) {
        free(t);
        return pass_drop(result == FOLD_NO_MEMORY ? FAULT_MEMORY : FAULT_NOT_FINITE);
    }
    add(t, matched);
    pass.style = NORM_UNKNOWN;
}
