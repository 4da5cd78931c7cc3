package repair

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"pare/convert/quant"
	"pare/gguf"
)

// inputExamples is how many examples tell what matrices multiply: 8,192 tokens of 256
// each, several times the width of the matrices of small models.
const inputExamples = 32

// Inputs measures what the matrices of trained layers multiply: for each the mean of
// x·xᵀ over tokens of data, so that rounding them can spare what counts. The first
// token of a document, an attention sink, is left out. Matrices with the same input
// share their moments. InputBytes tells what that takes.
func Inputs(ctx context.Context, b compute.Backend, n *Network, f *gguf.File, cfg Config, data Source) (map[string]*quant.Moments, error) {
	cfg.Dense, cfg.Head = true, false // adapters would only be in the way
	cfg.Layers, cfg.Targets = cfg.withDefaults(n).Layers, TargetsAll
	t := &training{backend: b, data: data}
	example, err := data.Read(0)
	if err != nil {
		return nil, fmt.Errorf("measure inputs: %w", err)
	}
	cfg = cfg.withDefaults(n)
	if t.shape, err = shapeOf(example, cfg); err != nil {
		return nil, fmt.Errorf("measure inputs: %w", err)
	}
	if t.student, err = frozenStudent(n, f, cfg, t.shape.embeds); err != nil {
		return nil, fmt.Errorf("measure inputs: %w", err)
	}
	defer t.close()
	seen := &watching{wanted: cfg}
	graph, err := NewExec(b, func(nodes []*Node) []*Node {
		inputs, l := t.take(nodes)
		*seen = watching{Weights: t.weights(inputs, nil), wanted: cfg, of: map[string]int{}, counts: counting(l.sequence)}
		t.residuals(seen, l, RecomputeNothing)
		return seen.grams
	})
	if err != nil {
		return nil, fmt.Errorf("measure inputs: %w", err)
	}
	defer graph.Finalize()
	sums, counted, err := t.sum(ctx, graph)
	if err != nil {
		return nil, fmt.Errorf("measure inputs: %w", err)
	}
	return seen.moments(sums, counted), nil
}

// InputBytes is the memory that Inputs takes beyond the weights, at its peak and until
// what it returns was used: of each matrix the sums in float64, and, one after the other,
// those of an example on the device and off it in float32, and their factors in float64.
// It counts matrices with the same input apart, and so is somewhat too much.
func (n *Network) InputBytes(cfg Config) (bytes int64) {
	for _, l := range cfg.withDefaults(n).Layers {
		for _, m := range n.Matrices(l) {
			bytes += int64(m.In) * int64(m.In) * (8 + 8)
		}
	}
	return bytes
}

// frozenStudent computes, and has nothing to train.
func frozenStudent(n *Network, f *gguf.File, cfg Config, embeds bool) (*student, error) {
	stored, err := n.Read(f, Part{From: cfg.First, To: len(n.Layers), Embedding: embeds, Head: cfg.Loss != LossHidden, Bits: cfg.Bits})
	if err != nil {
		return nil, err
	}
	return &student{network: n, cfg: cfg, embeds: embeds, stored: stored}, nil
}

// sum runs the graph over the first examples and adds up its outputs.
func (t *training) sum(ctx context.Context, graph *Exec) (sums [][]float64, counted float64, err error) {
	for i := range min(t.data.Len(), inputExamples) {
		e, err := t.data.Read(i)
		if err != nil {
			return nil, 0, err
		}
		outputs, err := t.call(ctx, graph, []Example{e}, 1, 0)
		if err != nil {
			return nil, 0, err
		}
		for _, at := range e.Position {
			if at > 0 {
				counted++
			}
		}
		if sums == nil {
			for _, o := range outputs {
				sums = append(sums, make([]float64, len(o)))
			}
		}
		for i, o := range outputs {
			for j, v := range o {
				sums[i][j] += float64(v)
			}
		}
	}
	return sums, counted, nil
}

// watching are weights that note what they multiply.
type watching struct {
	Weights
	wanted Config
	counts *Node // [N, 1]: 1 for tokens that count, else 0
	inputs []*Node
	grams  []*Node // x·xᵀ summed over the tokens [in, in], of each of inputs
	of     map[string]int
}

// counting is 1 for tokens that neither are padding nor begin a document: [N, 1].
func counting(s Sequence) *Node {
	return ConvertDType(Reshape(GreaterThan(s.Position, ZerosLike(s.Position)), -1, 1), dtypes.Float32)
}

func (w *watching) Linear(layer int, name string, x *Node) *Node {
	if layer >= 0 && slices.Contains(w.wanted.Layers, layer) {
		w.of[tensor(layer, name)+".weight"] = w.gram(x)
	}
	return w.Weights.Linear(layer, name, x)
}

// gram is the index of x among the inputs.
func (w *watching) gram(x *Node) int {
	for i, known := range w.inputs {
		if known == x {
			return i
		}
	}
	counted := Mul(x, w.counts) // [N, in]
	w.inputs = append(w.inputs, x)
	w.grams = append(w.grams, Dot(counted, counted).EinsumAxes([][2]int{{0, 0}}, nil)) // [in, in]
	return len(w.inputs) - 1
}

// moments turns sums into means, by tensor.
func (w *watching) moments(sums [][]float64, counted float64) map[string]*quant.Moments {
	shared := make([]*quant.Moments, len(sums))
	for i, s := range sums {
		for j := range s {
			s[j] /= max(counted, 1)
		}
		shared[i] = &quant.Moments{N: w.inputs[i].Shape().Dim(-1), Mean: s}
	}
	out := map[string]*quant.Moments{}
	for name, i := range w.of {
		out[name] = shared[i]
	}
	return out
}
