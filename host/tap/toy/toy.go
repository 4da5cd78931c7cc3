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
	Final     [][]float32   // x_L of each output, if kept
}

// builder holds what a graph under construction needs.
type builder struct {
	Model
	ctx    *C.struct_ggml_context
	random *rand.Rand
	fill   map[*C.struct_ggml_tensor]any // values of inputs and weights
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

func (b *builder) weight(name string, scale float64, shape ...int64) *C.struct_ggml_tensor {
	n := int64(1)
	for _, s := range shape {
		n *= s
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(scale * b.random.NormFloat64())
	}
	return b.input(values, C.GGML_TYPE_F32, name, shape...)
}

func (b *builder) norm(x *C.struct_ggml_tensor, weight string) *C.struct_ggml_tensor {
	return C.ggml_mul(b.ctx, C.ggml_rms_norm(b.ctx, x, 1e-6), b.weight(weight, 1, int64(b.Hidden)))
}

// layer adds layer l to the residual x: y = x + W rope(norm(x)), with the wanted
// rows alone in the last.
func (b *builder) layer(l int, x, positions, outputs *C.struct_ggml_tensor) *C.struct_ggml_tensor {
	h, n := int64(b.Hidden), x.ne[1]
	name := b.NormName
	if name == "" {
		name = "attn_norm.weight"
	}
	y := x
	if !b.NormAfter {
		y = b.norm(x, fmt.Sprintf("blk.%d.%s", l, name))
	}
	y = C.ggml_rope(b.ctx, C.ggml_reshape_3d(b.ctx, y, C.int64_t(h), 1, n), positions, C.int(h), 0)
	y = C.ggml_mul_mat(b.ctx, b.weight("", 0.05, h, h), C.ggml_reshape_2d(b.ctx, y, C.int64_t(h), n))
	if l == b.Layers-1 {
		x, y = C.ggml_get_rows(b.ctx, x, outputs), C.ggml_get_rows(b.ctx, y, outputs)
	}
	if b.NormAfter {
		y = b.norm(y, fmt.Sprintf("blk.%d.post_attention_norm.weight", l))
	}
	return C.ggml_add(b.ctx, x, y)
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

	stream := []*C.struct_ggml_tensor{x}
	for l := range m.Layers {
		x = b.layer(l, x, positions, wanted)
		stream = append(stream, x)
	}
	head := C.ggml_mul_mat(b.ctx, b.weight("output.weight", 1, int64(m.Hidden), 3), b.norm(x, "output_norm.weight"))
	C.ggml_set_output(head)
	for _, x := range stream {
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
		for _, x := range stream[:b.Layers] {
			r.Residuals = append(r.Residuals, rows(x))
		}
		r.Final = rows(stream[b.Layers])
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
