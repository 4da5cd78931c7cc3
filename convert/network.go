package convert

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"pare/gguf"
)

// ErrNoNetwork is the answer to a model whose layers Pare cannot compute itself.
var ErrNoNetwork = errors.New("closed-form repair works, training does not know this kind of model yet")

// A Network is what a decoder computes, but for its weights: all that a graph of it
// needs to know, read from the file as llama.cpp reads it. It holds nothing of the file.
type Network struct {
	Architecture string
	Hidden       int // H, numbers in a residual
	Vocabulary   int // V, rows of the output matrix
	HeadSize     int // D, numbers in a query, a key or a value
	Layers       []Layer
	Rotations    []Rotation // those that Layers refer to

	Epsilon        float64 // added to the mean square in each norm
	EmbeddingScale float64 // embeddings are multiplied by it
	AttentionScale float64 // q·k is multiplied by it
	AttentionCap   float64 // c: the product s becomes c·tanh(s/c); 0 if it does not
	LogitCap       float64 // the same for logits

	GELU   bool   // the gate's activation is GELU in its tanh form, else SiLU
	Fused  bool   // "attn_qkv" holds queries, keys and values, "ffn_up" the gate and what it gates
	Output string // the tensor that makes logits: "output.weight", or "token_embd.weight" where they are one
}

// A Layer is one block of a Network.
type Layer struct {
	Heads       int // N_q, queries of a token
	KVHeads     int // N, keys and values of a token; divides Heads
	FeedForward int // F
	Window      int // tokens that a token sees, itself included; 0 for all before it
	Rotation    int // index in Network.Rotations
}

// anatomy is what an architecture is known by beyond the keys in the file.
type anatomy struct {
	interleaved bool // a rotation's pairs are neighbours, else a half apart
	factors     bool // tensors may bend its frequencies
	headNorms   bool // queries and keys are normalised head by head
	postNorms   bool // a norm after attention and after feed-forward, too
	tied        bool // logits are made by the embedding whatever the file has
	gemma       bool // GELU, embeddings scaled by √H, attention scaled as gemmaScale says
	fused       bool
}

// anatomies holds the architectures that Pare can compute. The source is what
// llama.cpp builds for each (src/models and llama-model.cpp in Ollama v0.17).
var anatomies = map[string]anatomy{
	"gemma2": {gemma: true, postNorms: true, tied: true},
	"gemma3": {gemma: true, postNorms: true, headNorms: true},
	"llama":  {interleaved: true, factors: true}, // and Mistral, SmolLM, …
	"phi3":   {fused: true, factors: true},
	"qwen2":  {},
	"qwen3":  {headNorms: true},
}

// NetworkOf reads what f computes. The error wraps ErrNoNetwork if f is a decoder
// that Pare can cut and not compute; a file that is none gets Inspect's errors.
func NetworkOf(f *gguf.File) (Network, error) {
	m, err := Inspect(f)
	if err != nil {
		return Network{}, err
	}
	a, ok := anatomies[m.Architecture]
	if !ok {
		return Network{}, fmt.Errorf("read network: %s models are not among those it knows: %w", m.Architecture, ErrNoNetwork)
	}
	md := metadata{f: f, arch: m.Architecture}
	n := Network{
		Architecture:   m.Architecture,
		Hidden:         md.number("embedding_length", 0),
		Epsilon:        md.real("attention.layer_norm_rms_epsilon", 0),
		EmbeddingScale: 1,
		Fused:          a.fused,
		Output:         outputMatrix(f, m.Architecture),
	}
	for _, step := range []func() error{
		func() error { return n.readLayers(md, m) },
		func() error { return n.readTensors(f, a) },
		func() error { return n.readRotations(md, a) },
	} {
		if err := step(); err != nil {
			return Network{}, fmt.Errorf("read network: %w", err)
		}
	}
	n.AttentionScale = 1 / math.Sqrt(float64(n.HeadSize))
	if a.gemma {
		n.readGemma(md)
	}
	return n, nil
}

// The tensors that can make logits.
const (
	ownHead   = "output.weight"
	embedding = "token_embd.weight" // where a model has no ownHead
)

// outputMatrix names the tensor that makes logits.
func outputMatrix(f *gguf.File, architecture string) string {
	if _, ok := f.Tensor(ownHead); ok && !anatomies[architecture].tied {
		return ownHead
	}
	return embedding
}

// OwnHead names the output matrix that the model has when it is trained apart from the
// embedding, or is "" if it can have none of its own.
func (n *Network) OwnHead() string {
	if anatomies[n.Architecture].tied {
		return ""
	}
	return ownHead
}

// readLayers reads the counts of heads and neurons.
func (n *Network) readLayers(md metadata, m Model) error {
	heads := md.each("attention.head_count", m.Layers, 0)
	kvHeads := md.each("attention.head_count_kv", m.Layers, heads[0])
	neurons := md.each("feed_forward_length", m.Layers, 0)
	for l := range m.Layers {
		if kvHeads[l] < 1 || heads[l] < 1 || heads[l]%kvHeads[l] != 0 {
			return fmt.Errorf("layer %d has %d heads for queries and %d for keys: %w", l, heads[l], kvHeads[l], ErrNoNetwork)
		}
		n.Layers = append(n.Layers, Layer{Heads: heads[l], KVHeads: kvHeads[l], FeedForward: neurons[l]})
	}
	n.HeadSize = md.number("attention.key_length", n.Hidden/heads[0])
	if values := md.number("attention.value_length", n.Hidden/heads[0]); values != n.HeadSize {
		return fmt.Errorf("its keys have %d numbers and its values %d: %w", n.HeadSize, values, ErrNoNetwork)
	}
	if md.number("expert_count", 0) > 0 {
		return fmt.Errorf("its layers have experts: %w", ErrNoNetwork)
	}
	return nil
}

// readGemma sets what the gemmas have in common and what sets them apart.
func (n *Network) readGemma(md metadata) {
	n.GELU = true
	n.EmbeddingScale = math.Sqrt(float64(n.Hidden))
	large := map[string]int{"gemma2": 46, "gemma3": 62}[n.Architecture]
	if len(n.Layers) == large {
		n.AttentionScale = 1 / math.Sqrt(float64(n.Hidden/n.Layers[0].Heads))
	}
	if n.Architecture == "gemma2" {
		n.AttentionCap = md.real("attn_logit_softcapping", 50)
		n.LogitCap = md.real("final_logit_softcapping", 30)
		n.slide(md.number("attention.sliding_window", 4096), 2)
		return
	}
	_, n.LogitCap = gemma3Settings(md, len(n.Layers))
	n.slide(md.number("attention.sliding_window", 0), 6)
}

// slide gives a window to all layers but every so manieth.
func (n *Network) slide(window, every int) {
	for l := range n.Layers {
		if (l+1)%every != 0 {
			n.Layers[l].Window = window
		}
	}
}

// Matrices names the linear maps of a layer, as the file does between "blk.N." and
// ".weight", with their widths.
func (n *Network) Matrices(l int) []Matrix {
	layer := n.Layers[l]
	queries, keys, f := layer.Heads*n.HeadSize, layer.KVHeads*n.HeadSize, layer.FeedForward
	out := Matrix{"attn_output", n.Hidden, queries}
	down := Matrix{"ffn_down", n.Hidden, f}
	if n.Fused {
		return []Matrix{{"attn_qkv", queries + 2*keys, n.Hidden}, out, {"ffn_up", 2 * f, n.Hidden}, down}
	}
	return []Matrix{
		{"attn_q", queries, n.Hidden}, {"attn_k", keys, n.Hidden}, {"attn_v", keys, n.Hidden}, out,
		{"ffn_gate", f, n.Hidden}, {"ffn_up", f, n.Hidden}, down,
	}
}

// A Matrix is a linear map: Out rows of In numbers.
type Matrix struct {
	Name    string
	Out, In int
}

// norms names the norms of a layer, with their widths.
func (n *Network) norms(a anatomy) map[string]int {
	norms := map[string]int{"attn_norm": n.Hidden, "ffn_norm": n.Hidden}
	if a.postNorms {
		norms["post_attention_norm"], norms["post_ffw_norm"] = n.Hidden, n.Hidden
	}
	if a.headNorms {
		norms["attn_q_norm"], norms["attn_k_norm"] = n.HeadSize, n.HeadSize
	}
	return norms
}

// readTensors holds the tensors against what the architecture has: each of them there
// with its shape, and none that the graph would pass over. What belongs to other
// towers is left alone.
func (n *Network) readTensors(f *gguf.File, a anatomy) error {
	words, ok := f.Tensor(embedding)
	if !ok || len(words.Shape) != 2 || words.Shape[0] != uint64(n.Hidden) || words.Shape[1] > math.MaxInt32 {
		return fmt.Errorf("%s is missing or not %d wide: %w", embedding, n.Hidden, ErrUnfit)
	}
	n.Vocabulary = int(words.Shape[1])
	want := map[string][]uint64{
		"output_norm.weight": {uint64(n.Hidden)},
		n.Output:             {uint64(n.Hidden), uint64(n.Vocabulary)},
	}
	for l := range n.Layers {
		prefix := fmt.Sprintf("blk.%d.", l)
		for name, width := range n.norms(a) {
			want[prefix+name+".weight"] = []uint64{uint64(width)}
		}
		for _, m := range n.Matrices(l) {
			want[prefix+m.Name+".weight"] = []uint64{uint64(m.In), uint64(m.Out)}
		}
	}
	for name, shape := range want {
		t, ok := f.Tensor(name)
		if !ok {
			return fmt.Errorf("it has no tensor %s: %w", name, ErrNoNetwork)
		}
		if !slices.Equal(t.Shape, shape) {
			return fmt.Errorf("tensor %s has shape %v, not %v: %w", name, t.Shape, shape, ErrNoNetwork)
		}
	}
	return n.refuseUnknown(f, a, want)
}

// refuseUnknown refuses a file with a tensor that would be left out of the sum.
func (n *Network) refuseUnknown(f *gguf.File, a anatomy, known map[string][]uint64) error {
	for _, t := range f.Tensors {
		weight, biased := strings.CutSuffix(t.Name, ".bias")
		matrix := known[weight+".weight"]
		switch _, _, inLayer := blockTensor(t.Name); {
		case known[t.Name] != nil, t.Name == embedding:
		case biased && len(matrix) == 2 && len(t.Shape) == 1 && t.Shape[0] == matrix[1]:
		case a.factors && strings.HasPrefix(t.Name, "rope_f"):
		case inLayer || strings.HasPrefix(t.Name, "output") || strings.HasPrefix(t.Name, "rope"):
			return fmt.Errorf("its tensor %s is not among those of a plain %s: %w", t.Name, n.Architecture, ErrNoNetwork)
		}
	}
	return nil
}
