package repair

import (
	"fmt"
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	bridge "pare/convert/tensors"
	"pare/gguf"
)

// A Part is what of a model to read.
type Part struct {
	From, To  int  // layers From up to To, without the latter
	Embedding bool // for [Weights.Embed]
	Head      bool // for [Weights.Output], and the norm before it
	Bits      int  // 4 or 8: weights of more bits are rounded to as many, embedding and head to 8; 0: all as they are
}

// Stored is the weights of a model as they are in its file.
type Stored struct {
	network  *Network
	names    []string // of the tensors read, in the order of Tensors
	matrices map[string]*bridge.Matrix
	first    map[string]int // where a matrix's values begin in Tensors
	values   []*tensors.Tensor
}

// Read reads part of a model's weights. Call Close when they are not needed any more.
func (n *Network) Read(f *gguf.File, p Part) (*Stored, error) {
	s := &Stored{network: n, matrices: map[string]*bridge.Matrix{}, first: map[string]int{}}
	for _, name := range n.tensors(f, p) {
		bits := p.Bits
		if bits != 0 && !strings.HasPrefix(name, "blk.") {
			bits = 8
		}
		m, err := bridge.Read(f, name, bits)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("read weights: %w", err)
		}
		s.names = append(s.names, name)
		s.matrices[name] = m
		s.first[name] = len(s.values)
		s.values = append(s.values, m.Values...)
	}
	return s, nil
}

// tensors names those of a part, in the order of the forward pass.
func (n *Network) tensors(f *gguf.File, p Part) (names []string) {
	add := func(name string) {
		if _, ok := f.Tensor(name); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if p.Embedding {
		add("token_embd.weight")
	}
	for l := p.From; l < p.To; l++ {
		for _, norm := range []string{"attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "attn_q_norm", "attn_k_norm"} {
			add(tensor(l, norm) + ".weight")
		}
		for _, m := range n.Matrices(l) {
			add(tensor(l, m.Name) + ".weight")
			add(tensor(l, m.Name) + ".bias")
		}
	}
	if p.Head {
		add("output_norm.weight")
		add(n.Output)
		add("output.bias")
	}
	return names
}

// tensor is a name as the file has it, but for ".weight" or ".bias".
func tensor(layer int, name string) string {
	if layer < 0 {
		return name
	}
	return fmt.Sprintf("blk.%d.%s", layer, name)
}

// Tensors returns what a graph that uses the weights takes as parameters.
func (s *Stored) Tensors() []*tensors.Tensor { return s.values }

// Bytes is the memory that the weights take.
func (s *Stored) Bytes() (n int64) {
	for _, m := range s.matrices {
		n += m.Bytes()
	}
	return n
}

// Close frees the memory.
func (s *Stored) Close() (err error) {
	for _, m := range s.matrices {
		if e := m.Close(); err == nil {
			err = e
		}
	}
	return err
}

// In returns the weights for a graph in which params stand for Tensors.
func (s *Stored) In(params []*Node) Weights { return &bound{Stored: s, params: params} }

// bound is Stored in a graph.
type bound struct {
	*Stored
	params []*Node
	output *Node              // the head unpacked, once it was asked for: each slice of tokens needs all of it
	tuned  map[string][]*Node // scales and perhaps minima of matrices that have other ones than stored
}

func (b *bound) of(name string) (*bridge.Matrix, []*Node) {
	m := b.matrices[name]
	if m == nil {
		return nil, nil
	}
	at := b.first[name]
	return m, b.params[at : at+len(m.Values)]
}

func (b *bound) must(name string) (*bridge.Matrix, []*Node) {
	m, values := b.of(name)
	if m == nil {
		panic(fmt.Errorf("tensor %s is used and was not read", name))
	}
	return m, values
}

func (b *bound) Linear(layer int, name string, x *Node) *Node {
	return b.product(x, tensor(layer, name)+".weight", tensor(layer, name)+".bias")
}

// product is x·Wᵀ plus a bias, if there is one: [n, in] to [n, out].
func (b *bound) product(x *Node, weight, bias string) *Node {
	m, values := b.must(weight)
	return b.times(x, b.unpack(m, values, weight, x), bias)
}

// times is x·wᵀ plus a bias, if there is one: [n, in] and [out, in] to [n, out].
func (b *bound) times(x, w *Node, bias string) *Node {
	y := Dot(x, w).EinsumAxes([][2]int{{1, 1}}, nil) // [n, out]
	if m, values := b.of(bias); m != nil {
		y = Add(y, m.Unpack(values, nil)) // [1, out]
	}
	return y
}

// unpack is the matrix called name [out, in].
func (b *bound) unpack(m *bridge.Matrix, values []*Node, name string, after *Node) *Node {
	switch tuned := b.tuned[name]; len(tuned) {
	case 1:
		return m.Tuned(values, tuned[0], nil, after)
	case 2:
		return m.Tuned(values, tuned[0], tuned[1], after)
	}
	return m.Unpack(values, after)
}

func (b *bound) Vector(layer int, name string) *Node {
	m, values := b.of(tensor(layer, name) + ".weight")
	if m == nil {
		return nil
	}
	return Reshape(m.Unpack(values, nil), m.Cols)
}

func (b *bound) Embed(tokens *Node) *Node {
	m, values := b.must("token_embd.weight")
	return MulScalar(m.Gather(values, tokens), b.network.EmbeddingScale) // [n, H]
}

func (b *bound) Output(h *Node) *Node {
	if b.output == nil {
		m, values := b.must(b.network.Output)
		b.output = b.unpack(m, values, b.network.Output, h)
	}
	return softCap(b.times(h, b.output, "output.bias"), b.network.LogitCap) // [n, V]
}
