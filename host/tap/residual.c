#include "residual.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

// weight_name copies the name of a weight without what the scheduler puts around
// the name of a copy, as in "CUDA0#blk.3.attn_norm.weight#0".
static void weight_name(const struct ggml_tensor *t, char name[GGML_MAX_NAME]) {
    const char *from = strchr(t->name, '#');
    const char *to = strrchr(t->name, '#');
    if (from && from < to) {
        snprintf(name, GGML_MAX_NAME, "%.*s", (int)(to - from - 1), from + 1);
    } else {
        snprintf(name, GGML_MAX_NAME, "%s", t->name);
    }
}

int weight_layer(const struct ggml_tensor *t) {
    char name[GGML_MAX_NAME];
    int layer;
    weight_name(t, name);
    if (strncmp(name, "output", 6) == 0) return FINAL;
    return sscanf(name, "blk.%d.", &layer) == 1 && layer >= 0 && layer < MAX_LAYERS ? layer : -1;
}

// match_weight reports whether a tensor is the weight of a norm at which a
// residual can be found, and sets the layer and the style of s.
static bool match_weight(const struct ggml_tensor *t, struct stop *s) {
    char name[GGML_MAX_NAME];
    int layer, end = 0;
    weight_name(t, name);
    if (strcmp(name, "output_norm.weight") == 0) {
        s->layer = FINAL;
        s->style = NORM_UNKNOWN;
        return true;
    }
    if (sscanf(name, "blk.%d.%n", &layer, &end) != 1 || !end || layer < 0 || layer >= MAX_LAYERS) return false;
    s->layer = layer;
    if (strcmp(name + end, "attn_norm.weight") == 0) {
        s->style = NORM_BEFORE;
    } else if (strcmp(name + end, "post_attention_norm.weight") == 0) {
        s->style = NORM_AFTER;
    } else {
        return false;
    }
    return true;
}

static bool is_norm(const struct ggml_tensor *t) {
    return t->op == GGML_OP_RMS_NORM || t->op == GGML_OP_NORM;
}

// is_input reports whether a tensor holds integers that are there before the
// graph is computed.
static bool is_input(const struct ggml_tensor *t) {
    const struct ggml_tensor *root = t && t->view_src ? t->view_src : t;
    return t && t->type == GGML_TYPE_I32 && root->op == GGML_OP_NONE && ggml_is_contiguous(t);
}

static bool is_weight(const struct ggml_tensor *t) {
    return t->buffer && t->buffer->usage == GGML_BACKEND_BUFFER_USAGE_WEIGHTS;
}

// find_node returns the index of a tensor among the nodes before end, or -1.
static int find_node(const struct ggml_cgraph *graph, const struct ggml_tensor *t, int end) {
    for (int i = end - 1; i >= 0; i--) {
        if (graph->nodes[i] == t) return i;
    }
    return -1;
}

// find_sum returns the index of the addition that reads a node, or -1.
static int find_sum(const struct ggml_cgraph *graph, int node) {
    for (int i = node + 1; i < graph->n_nodes && i <= node + 8; i++) {
        const struct ggml_tensor *n = graph->nodes[i];
        if (n->op == GGML_OP_ADD && (n->src[0] == graph->nodes[node] || n->src[1] == graph->nodes[node])) return i;
    }
    return -1;
}

// stop_before completes a stop at the product of norm and a weight, node i.
static void stop_before(struct stop *s, const struct ggml_cgraph *graph, int i, const struct ggml_tensor *norm) {
    s->used = is_norm(norm) ? find_node(graph, norm, i) : -1;
    s->tensor = s->used < 0 ? NULL : norm->src[0];
}

// stop_after completes a stop at the sum that reads the product at node i. In
// the last layer the residual is reduced to the wanted rows before the sum.
static void stop_after(struct stop *s, const struct ggml_cgraph *graph, int i) {
    s->tensor = NULL;
    s->used = find_sum(graph, i);
    if (s->used < 0) return;
    const struct ggml_tensor *sum = graph->nodes[s->used];
    const struct ggml_tensor *x = sum->src[0] == graph->nodes[i] ? sum->src[1] : sum->src[0];
    if (x->op == GGML_OP_GET_ROWS && !is_weight(x->src[0])) {
        s->used = find_node(graph, x, s->used);
        x = x->src[0];
    }
    if (s->used >= 0) s->tensor = x;
}

// find_stop reports whether node i multiplies a norm by a weight that tells
// where a residual is.
static bool find_stop(struct stop *s, const struct ggml_cgraph *graph, int i, enum norm_style style) {
    const struct ggml_tensor *mul = graph->nodes[i];
    if (mul->op != GGML_OP_MUL || !mul->src[0] || !mul->src[1]) return false;
    int w = 1;
    if (!match_weight(mul->src[w], s) && !match_weight(mul->src[w = 0], s)) return false;
    if (s->style != NORM_UNKNOWN && style != NORM_UNKNOWN && s->style != style) return false;
    if (s->style == NORM_AFTER) {
        stop_after(s, graph, i);
    } else {
        stop_before(s, graph, i, mul->src[1 - w]);
    }
    s->made = s->tensor ? find_node(graph, s->tensor, s->used) : -1;
    return true;
}

// find_inputs notes the positions and the wanted rows if node n reads them.
static void find_inputs(struct plan *plan, const struct ggml_tensor *n, int64_t hidden, int64_t tokens) {
    if (n->op == GGML_OP_ROPE && !plan->positions && is_input(n->src[1])) {
        plan->positions = n->src[1];
    }
    if (n->op != GGML_OP_GET_ROWS || !is_input(n->src[1])) return;
    char name[GGML_MAX_NAME];
    weight_name(n->src[0], name);
    if (strcmp(name, "position_embd.weight") == 0) {
        plan->positions = n->src[1];
    } else if (hidden && n->src[0]->ne[0] == hidden && ggml_nrows(n->src[0]) == tokens && !is_weight(n->src[0])) {
        plan->outputs = n->src[1];
    }
}

void plan_graph(struct plan *plan, const struct ggml_cgraph *graph, enum norm_style style, int64_t hidden, int64_t tokens) {
    plan->n = 0;
    plan->positions = plan->outputs = NULL;
    int norm = -1; // the last norm that nothing has multiplied yet
    for (int i = 0; i < graph->n_nodes && plan->n <= MAX_LAYERS; i++) {
        const struct ggml_tensor *n = graph->nodes[i];
        struct stop s;
        if (is_norm(n)) {
            norm = i;
        } else if (norm >= 0 && (n->src[0] == graph->nodes[norm] || n->src[1] == graph->nodes[norm])) {
            norm = -1;
        }
        if (find_stop(&s, graph, i, style)) {
            plan->stops[plan->n++] = s;
            if (s.style != NORM_UNKNOWN) style = s.style;
            if (s.layer == 0 && s.tensor) {
                hidden = s.tensor->ne[0];
                tokens = ggml_nrows(s.tensor);
            }
        }
        find_inputs(plan, n, hidden, tokens);
    }
    if (norm >= 0) {
        const struct ggml_tensor *t = graph->nodes[norm]->src[0];
        plan->stops[plan->n++] = (struct stop){UNNAMED, NORM_UNKNOWN, t, find_node(graph, t, norm), norm};
    }
}

int64_t first_rows(const struct ggml_cgraph *graph) {
    struct stop s;
    for (int i = 0; i < graph->n_nodes; i++) {
        if (find_stop(&s, graph, i, NORM_UNKNOWN) && s.layer == 0 && s.tensor) return ggml_nrows(s.tensor);
    }
    return -1;
}

// is_sum_with reports whether a tensor is x, or the wanted rows of it, plus something.
static bool is_sum_with(const struct ggml_tensor *sum, const struct ggml_tensor *x) {
    if (!sum || sum->op != GGML_OP_ADD) return false;
    for (int i = 0; i < 2; i++) {
        const struct ggml_tensor *s = sum->src[i];
        if (s == x || (s->op == GGML_OP_GET_ROWS && s->src[0] == x)) return true;
    }
    return false;
}

// ffn_style tells by the name of a weight in which way it stands beside the
// feed-forward of a layer, if it does.
static enum norm_style ffn_style(const struct ggml_tensor *t, int layer) {
    char name[GGML_MAX_NAME];
    int l, end = 0;
    weight_name(t, name);
    if (sscanf(name, "blk.%d.%n", &l, &end) != 1 || !end || l != layer) return NORM_UNKNOWN;
    if (strcmp(name + end, "ffn_norm.weight") == 0) return NORM_BEFORE;
    if (strcmp(name + end, "post_attention_norm.weight") == 0) return NORM_BEFORE;
    return strcmp(name + end, "post_ffw_norm.weight") == 0 ? NORM_AFTER : NORM_UNKNOWN;
}

bool find_attended(struct stop *s, const struct ggml_cgraph *graph, int layer, const struct ggml_tensor *x) {
    for (int i = 0; i < graph->n_nodes; i++) {
        const struct ggml_tensor *mul = graph->nodes[i];
        if (mul->op != GGML_OP_MUL || !mul->src[0] || !mul->src[1]) continue;
        int w = ffn_style(mul->src[1], layer) != NORM_UNKNOWN ? 1 : 0;
        *s = (struct stop){.layer = layer, .style = ffn_style(mul->src[w], layer)};
        if (s->style == NORM_UNKNOWN) continue;
        if (s->style == NORM_BEFORE) {
            stop_before(s, graph, i, mul->src[1 - w]);
        } else {
            s->used = find_sum(graph, i);
            if (s->used < 0) continue;
            const struct ggml_tensor *sum = graph->nodes[s->used];
            s->tensor = sum->src[0] == mul ? sum->src[1] : sum->src[0];
        }
        if (!is_sum_with(s->tensor, x)) continue;
        s->made = find_node(graph, s->tensor, s->used);
        return true;
    }
    return false;
}
