// Package toy computes small models through ggml, built as Ollama's engines
// build theirs: the same operations in the same order, the same names, memory
// reused from layer to layer. Tests look at them through the tap.
package toy

/*
#include <stdlib.h>
#include "ggml/ggml-backend-impl.h"
#include "ggml/ggml-impl.h"

void ggml_backend_cpu_set_n_threads(ggml_backend_t backend, int n_threads); // in ggml-cpu.h

// compute_piece computes the nodes from … to-1, as the scheduler computes a split.
static enum ggml_status compute_piece(ggml_backend_t backend, struct ggml_cgraph * graph, int from, int to) {
	struct ggml_cgraph piece = ggml_graph_view(graph, from, to);
	return ggml_backend_graph_compute(backend, &piece);
}
*/
import "C"

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"unsafe"

	_ "github.com/ollama/ollama/ml/backend/ggml/ggml/src"
)

// A Model is the shape of a toy. Its weights follow from the seed.
type Model struct {
	Layers, Hidden int
	Seed           uint64
	NormAfter      bool   // normalise what a layer adds, not what it reads
	Prefix         string // of every weight's name, as in "CUDA0#", with "#0" after it
	NormName       string // of a layer's norm, if not the usual one
	Cut            []int  // layers that were cut out; the rest keep their weights and are numbered anew
	Shortcut       int    // a layer whose inner state every later one reads too, if not 0
	FeedForward    string // a second part of every layer: "" for none, "behind" the first, or "beside" it
}

// A Batch is the input of one forward pass.
type Batch struct {
	Embeddings [][]float32 // x_0 of each token
	Positions  []int32
	Outputs    []int32 // tokens whose x_L is computed
	Cuts       []int   // nodes before which the graph is split over two backends
	Keep       bool    // keep the residuals for the result
}

// A Result is what a pass computed.
type Result struct {
	Nodes     int           // of the graph
	Head      []float32     // what follows x_L
	Residuals [][][]float32 // x_0 … x_{L-1} of each token, if kept
	Attended  [][][]float32 // of each layer, what the second part of it is added to, if kept
	Final     [][]float32   // x_L of each output, if kept
}

// builder holds what a graph under construction needs.
type builder struct {
	Model
	ctx    *C.struct_ggml_context
	random *rand.Rand
	fill   map[*C.struct_ggml_tensor]any // values of inputs and weights

	table, inner *C.struct_ggml_tensor // what layers share, and the inner state of the Shortcut
	attended     []*C.struct_ggml_tensor
}

func (b *builder) input(values any, kind uint32, name string, shape ...int64) *C.struct_ggml_tensor {
	t := C.ggml_new_tensor(b.ctx, kind, C.int(len(shape)), (*C.int64_t)(&shape[0]))
	if name != "" {
		name = b.Prefix + name
		if b.Prefix != "" {
			name += "#0"
		}
		c := C.CString(name)
		defer C.free(unsafe.Pointer(c))
		C.ggml_set_name(t, c)
	}
	C.ggml_set_input(t)
	b.fill[t] = values
	return t
}

func (b *builder) values(scale float64, n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(scale * b.random.NormFloat64())
	}
	return values
}

func (b *builder) norm(x *C.struct_ggml_tensor, values []float32, name string) *C.struct_ggml_tensor {
	weight := b.input(values, C.GGML_TYPE_F32, name, int64(b.Hidden))
	return C.ggml_mul(b.ctx, C.ggml_rms_norm(b.ctx, x, 1e-6), weight)
}

// A layer's weights.
type weights struct {
	norm, matrix []float32
}

// draw draws the weights of the next layer.
func (b *builder) draw() weights {
	return weights{b.values(1, b.Hidden), b.values(0.05, b.Hidden*b.Hidden)}
}

// layer adds layer l to the residual x: y = x + W (rope(norm(x)) + table), with the
// wanted rows alone in the last. The table is computed once, in the first layer
// that reads it, as a mask is.
func (b *builder) layer(l int, last bool, w weights, x, positions, outputs *C.struct_ggml_tensor) *C.struct_ggml_tensor {
	h, n := int64(b.Hidden), x.ne[1]
	name := b.NormName
	if name == "" {
		name = "attn_norm.weight"
	}
	y := x
	if !b.NormAfter {
		y = b.norm(x, w.norm, fmt.Sprintf("blk.%d.%s", l, name))
	}
	y = C.ggml_rope(b.ctx, C.ggml_reshape_3d(b.ctx, y, C.int64_t(h), 1, n), positions, C.int(h), 0)
	y = C.ggml_add(b.ctx, C.ggml_reshape_2d(b.ctx, y, C.int64_t(h), n), b.table)
	y = C.ggml_mul_mat(b.ctx, b.input(w.matrix, C.GGML_TYPE_F32, fmt.Sprintf("blk.%d.ffn_up.weight", l), h, h), y)
	if l > b.Shortcut && b.inner != nil {
		y = C.ggml_add(b.ctx, y, b.inner)
	}
	if b.Shortcut > 0 && l == b.Shortcut {
		b.inner = y
	}
	if last {
		x, y = C.ggml_get_rows(b.ctx, x, outputs), C.ggml_get_rows(b.ctx, y, outputs)
	}
	if b.NormAfter {
		y = b.norm(y, w.norm, fmt.Sprintf("blk.%d.post_attention_norm.weight", l))
	}
	sum := C.ggml_add(b.ctx, x, y)
	if b.FeedForward == "" {
		return sum
	}
	b.attended = append(b.attended, sum)
	if b.FeedForward == "behind" {
		x = sum
	}
	return b.feedForward(l, w, x, sum)
}

// feedForward adds to a residual what the second part of layer l makes of x.
func (b *builder) feedForward(l int, w weights, x, sum *C.struct_ggml_tensor) *C.struct_ggml_tensor {
	if b.NormAfter {
		y := b.norm(C.ggml_silu(b.ctx, x), w.norm, fmt.Sprintf("blk.%d.post_ffw_norm.weight", l))
		return C.ggml_add(b.ctx, sum, y)
	}
	y := C.ggml_silu(b.ctx, b.norm(x, w.norm, fmt.Sprintf("blk.%d.ffn_norm.weight", l)))
	return C.ggml_add(b.ctx, y, sum)
}

// Forward computes one pass.
func (m Model) Forward(in Batch) (Result, error) {
	tokens, outputs := int64(len(in.Embeddings)), int64(len(in.Outputs))
	b := builder{Model: m, random: rand.New(rand.NewPCG(m.Seed, 0)), fill: map[*C.struct_ggml_tensor]any{}}
	b.ctx = C.ggml_init(C.struct_ggml_init_params{mem_size: 8 << 20, no_alloc: true})
	defer C.ggml_free(b.ctx)

	var flat []float32
	for _, x := range in.Embeddings {
		flat = append(flat, x...)
	}
	// As in the engines x_0 is computed, not an input itself.
	x := C.ggml_scale(b.ctx, b.input(flat, C.GGML_TYPE_F32, "", int64(m.Hidden), tokens), 1)
	positions := b.input(in.Positions, C.GGML_TYPE_I32, "", tokens)
	wanted := b.input(in.Outputs, C.GGML_TYPE_I32, "", outputs)

	b.table = C.ggml_scale(b.ctx, b.input(b.values(1, m.Hidden), C.GGML_TYPE_F32, "", int64(m.Hidden)), 1)
	stream := []*C.struct_ggml_tensor{x}
	left := m.Layers - len(m.Cut)
	for l := range m.Layers {
		w := b.draw()
		if slices.Contains(m.Cut, l) {
			continue
		}
		at := len(stream) - 1
		x = b.layer(at, at == left-1, w, x, positions, wanted)
		stream = append(stream, x)
	}
	output := b.input(b.values(1, 3*m.Hidden), C.GGML_TYPE_F32, "output.weight", int64(m.Hidden), 3)
	head := C.ggml_mul_mat(b.ctx, output, b.norm(x, b.values(1, m.Hidden), "output_norm.weight"))
	C.ggml_set_output(head)
	for _, x := range append(stream, b.attended...) {
		if in.Keep {
			C.ggml_set_output(x)
		}
	}
	graph := C.ggml_new_graph(b.ctx)
	C.ggml_build_forward_expand(graph, head)
	return b.compute(graph, head, stream, in)
}

// compute allocates the graph, fills its inputs and computes it piece by piece.
func (b *builder) compute(graph *C.struct_ggml_cgraph, head *C.struct_ggml_tensor, stream []*C.struct_ggml_tensor, in Batch) (Result, error) {
	device := C.ggml_backend_dev_by_type(C.GGML_BACKEND_DEVICE_TYPE_CPU)
	var backends [2]C.ggml_backend_t
	for i := range backends {
		backends[i] = C.ggml_backend_dev_init(device, nil)
		defer C.ggml_backend_free(backends[i])
		C.ggml_backend_cpu_set_n_threads(backends[i], 1)
	}
	allocator := C.ggml_gallocr_new(C.ggml_backend_get_default_buffer_type(backends[0]))
	defer C.ggml_gallocr_free(allocator)
	if !C.ggml_gallocr_alloc_graph(allocator, graph) {
		return Result{}, fmt.Errorf("allocate toy graph")
	}
	for t, values := range b.fill {
		switch v := values.(type) {
		case []float32:
			set(t, v)
		case []int32:
			set(t, v)
		}
	}
	r := Result{Nodes: int(graph.n_nodes)}
	from := 0
	for i, to := range append(append([]int(nil), in.Cuts...), r.Nodes) {
		if status := C.compute_piece(backends[i%2], graph, C.int(from), C.int(to)); status != C.GGML_STATUS_SUCCESS {
			return Result{}, fmt.Errorf("compute toy graph: status %d", status)
		}
		from = to
	}
	for _, row := range rows(head) {
		r.Head = append(r.Head, row...)
	}
	if in.Keep {
		for _, x := range stream[:len(stream)-1] {
			r.Residuals = append(r.Residuals, rows(x))
		}
		for _, x := range b.attended {
			r.Attended = append(r.Attended, rows(x))
		}
		r.Final = rows(stream[len(stream)-1])
	}
	return r, nil
}

func set[T int32 | float32](t *C.struct_ggml_tensor, values []T) {
	if len(values) > 0 && t.data != nil { // an input that nothing reads has no memory
		C.ggml_backend_tensor_set(t, unsafe.Pointer(&values[0]), 0, C.size_t(4*len(values)))
	}
}

func rows(t *C.struct_ggml_tensor) [][]float32 {
	rows := make([][]float32, int(t.ne[1]))
	for i := range rows {
		rows[i] = make([]float32, int(t.ne[0]))
		C.ggml_backend_tensor_get(t, unsafe.Pointer(&rows[i][0]), C.size_t(i)*t.nb[1], t.nb[1])
	}
	return rows
}
