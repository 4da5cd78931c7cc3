package repair

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"pare/convert"
	"pare/convert/quant"
	bridge "pare/convert/tensors"
	"pare/gguf"
)

// A parameter is a matrix that training changes.
type parameter struct {
	tensor     string // of the file that it belongs to, "blk.7.ffn_down.weight"
	part       string // "A" or "B" (transposed) of an adapter, "scales" or "minima", "" for the tensor itself
	rows, cols int
	values     *tensors.Tensor // float32 [rows, cols]
	input      int             // index among what a graph takes
}

// Parts that are scales of blocks.
const (
	partScales = "scales"
	partMinima = "minima"
)

// A student is a model in training. Its graphs take the weights as they are stored,
// then the adapters, then a batch; their outputs are the loss and, of learn, its gradient.
type student struct {
	network    *Network
	cfg        Config
	embeds     bool // begins at the embedding, rather than with Example.State
	stored     *Stored
	places     []place           // that have adapters
	beside     []*tensors.Tensor // A and B of each; or scales and minima, as many as parameters tell
	parameters []parameter       // that of the head last, if it is trained
}

// newStudent reads what of a model is computed, and makes what is trained.
func newStudent(n *Network, f *gguf.File, cfg Config, embeds bool) (*student, error) {
	network := *n
	head := network.Output
	if cfg.Head {
		network.Output = network.OwnHead()
	}
	stored, err := network.Read(f, Part{
		From: cfg.First, To: len(n.Layers), Embedding: embeds, Head: cfg.Loss != LossHidden, Bits: cfg.Bits,
	})
	if err != nil {
		return nil, err
	}
	s := &student{network: &network, cfg: cfg, embeds: embeds, stored: stored}
	for _, l := range slices.Sorted(slices.Values(cfg.Layers)) {
		for _, m := range n.Matrices(l) {
			name := tensor(l, m.Name) + ".weight"
			switch {
			case err != nil || !cfg.targets(m.Name):
			case cfg.Scales:
				s.tune(name)
			case cfg.Dense:
				err = s.loosen(f, name, name)
			default:
				s.adapt(l, m)
			}
		}
	}
	if cfg.Head && err == nil {
		err = s.loosen(f, head, network.Output)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.number()
	return s, nil
}

// adapt gives a matrix an adapter. What it begins with depends on the seed and on the
// matrix's name alone.
func (s *student) adapt(layer int, m convert.Matrix) {
	random := rand.New(rand.NewChaCha8(hashed(fmt.Sprint(s.cfg.Seed, " ", tensor(layer, m.Name)))))
	rank := s.cfg.Rank
	a := tensors.FromFlatDataAndDimensions(newA(rank, m.In, random), rank, m.In)
	b := tensors.FromFlatDataAndDimensions(make([]float32, rank*m.Out), rank, m.Out)
	name := tensor(layer, m.Name) + ".weight"
	s.places = append(s.places, place{layer, m.Name})
	s.beside = append(s.beside, a, b)
	s.parameters = append(s.parameters,
		parameter{tensor: name, part: "A", rows: rank, cols: m.In, values: a},
		parameter{tensor: name, part: "B", rows: rank, cols: m.Out, values: b})
}

// tune makes the scales and minima of a stored matrix trainable, as far as its type has
// any: what is trained is by how much of itself each changes.
func (s *student) tune(name string) {
	m := s.stored.matrices[name]
	perRow, minima := m.Factors()
	add := func(part string) {
		v := tensors.FromFlatDataAndDimensions(make([]float32, m.Rows*perRow), m.Rows, perRow)
		s.beside = append(s.beside, v)
		s.parameters = append(s.parameters, parameter{tensor: name, part: part, rows: m.Rows, cols: m.Cols, values: v})
	}
	if perRow > 0 {
		add(partScales)
	}
	if minima {
		add(partMinima)
	}
}

// loosen makes a matrix trainable itself: float32 numbers, of the tensor called from,
// take the place of what is stored as name.
func (s *student) loosen(f *gguf.File, from, name string) error {
	t, _ := f.Tensor(from)
	data := make([]byte, t.Size)
	if _, err := io.ReadFull(f.Data(t), data); err != nil {
		return fmt.Errorf("read tensor %s: %w", from, err)
	}
	w, err := quant.Floats(t.Type, data)
	if err != nil {
		return fmt.Errorf("unpack tensor %s: %w", from, err)
	}
	m := bridge.New(w, int(t.Shape[1]), int(t.Shape[0]))
	if err := s.stored.replace(name, m); err != nil {
		return err
	}
	s.parameters = append(s.parameters, parameter{tensor: name, rows: m.Rows, cols: m.Cols, values: m.Values[0]})
	return nil
}

// replace puts m in the place of the matrix called name, or beside the others if there
// is none.
func (s *Stored) replace(name string, m *bridge.Matrix) error {
	if old := s.matrices[name]; old == nil {
		s.names = append(s.names, name)
	} else if err := old.Close(); err != nil {
		return err
	}
	s.matrices[name] = m
	s.values = nil
	for _, name := range s.names {
		s.first[name] = len(s.values)
		s.values = append(s.values, s.matrices[name].Values...)
	}
	return nil
}

// number finds out where a graph takes each parameter.
func (s *student) number() {
	all := s.inputs()
	for i := range s.parameters {
		s.parameters[i].input = slices.Index(all, s.parameters[i].values)
	}
}

// inputs is what graphs take before the batch.
func (s *student) inputs() []*tensors.Tensor {
	return slices.Concat(s.stored.Tensors(), s.beside)
}

// weights are the model's in a graph that takes inputs and, for dropout, a seed.
func (s *student) weights(inputs []*Node, seed *Node) Weights {
	frozen := len(s.stored.Tensors())
	base := &bound{Stored: s.stored, params: inputs[:frozen], tuned: map[string][]*Node{}}
	for _, p := range s.parameters {
		if p.part == partScales || p.part == partMinima {
			base.tuned[p.tensor] = append(base.tuned[p.tensor], inputs[p.input])
		}
	}
	if len(s.places) == 0 {
		return base
	}
	w := &adapted{Weights: base, pairs: map[place]pair{}, scale: s.cfg.Alpha / float64(s.cfg.Rank)}
	if seed != nil {
		w.dropout = dropout{s.cfg.Dropout, seed}
	}
	for i, p := range s.places {
		w.pairs[p] = pair{inputs[frozen+2*i], inputs[frozen+2*i+1], i}
	}
	return w
}

// learn is the graph of a micro-batch's loss and of its gradient with respect to each
// parameter.
func (s *student) learn(nodes []*Node) []*Node {
	inputs, lesson := s.take(nodes)
	w := s.weights(inputs, lesson.seed)
	x := s.residuals(w, lesson, s.cfg.Recompute) // [B, T, H]
	var body, head []*Node
	for _, p := range s.parameters {
		if p.tensor == s.network.Output {
			head = append(head, inputs[p.input])
		} else {
			body = append(body, inputs[p.input])
		}
	}
	if s.cfg.Loss == LossHidden {
		loss := s.hidden(x, lesson)
		return append([]*Node{loss}, Gradient(loss, body...)...)
	}
	h := s.network.Head(w, x) // [N, H]
	loss := overVocabulary(w, s.slice(h), h, lesson.weight, s.perToken(lesson), true, head...)
	out := []*Node{loss.sum}
	if len(body) > 0 {
		// The gradient of Σ h·g with respect to h is g, whatever g was made of.
		out = append(out, Gradient(ReduceAllSum(Mul(h, StopGradient(loss.residuals))), body...)...)
	}
	return append(out, loss.matrices...)
}

// judge is the graph of a micro-batch's loss, without dropout.
func (s *student) judge(nodes []*Node) *Node {
	inputs, lesson := s.take(nodes)
	w := s.weights(inputs, nil)
	x := s.residuals(w, lesson, RecomputeNothing)
	if s.cfg.Loss == LossHidden {
		return s.hidden(x, lesson)
	}
	h := s.network.Head(w, x)
	return overVocabulary(w, s.slice(h), h, lesson.weight, s.perToken(lesson), false).sum
}

// residuals runs the layers: [B, T, H].
func (s *student) residuals(w Weights, l lesson, recompute string) *Node {
	x := l.state
	if s.embeds {
		x = s.network.Embed(w, l.tokens)
	}
	return s.network.Blocks(w, s.cfg.First, len(s.network.Layers), x, l.sequence, recompute)
}

// hidden is the weighted sum of the errors of last residuals x [B, T, H].
func (s *student) hidden(x *Node, l lesson) *Node {
	return ReduceAllSum(Mul(hiddenError(Reshape(x, -1, s.network.Hidden), l.aim), l.weight))
}

// slice is how many tokens of h [N, H] the head deals with at a time.
func (s *student) slice(h *Node) int { return sliceTokens(h.Shape().Dim(0), s.network.Vocabulary) }

func (s *student) perToken(l lesson) tokenLoss {
	if s.cfg.Loss == LossNext {
		return nextToken(l.target)
	}
	return distillation(l.topTokens, l.topLogProb)
}

// changes is what training made of the parameters, given their values.
func (s *student) changes(values [][]float32) []convert.Change {
	var changes []convert.Change
	for i, p := range s.parameters {
		switch p.part {
		case partScales:
			c := convert.Change{Name: p.tensor, Out: p.rows, In: p.cols, Scales: values[i]}
			if i+1 < len(values) && s.parameters[i+1].part == partMinima {
				c.Minima = values[i+1]
			}
			changes = append(changes, c)
		case "A":
			b := s.parameters[i+1]
			changes = append(changes, convert.Change{
				Name: p.tensor, Out: b.cols, In: p.cols, Rank: p.rows, Scale: float32(s.cfg.Alpha / float64(p.rows)),
				A: values[i], B: transposed(values[i+1], b.cols),
			})
		case "":
			changes = append(changes, convert.Change{Name: p.tensor, Out: p.rows, In: p.cols, Dense: values[i]})
		}
	}
	return changes
}

// transposed is a matrix with rows of cols numbers, column by column.
func transposed(w []float32, cols int) []float32 {
	out := make([]float32, 0, len(w))
	for from := range cols {
		for at := from; at < len(w); at += cols {
			out = append(out, w[at])
		}
	}
	return out
}

// close frees the memory.
func (s *student) close() error {
	err := s.stored.Close()
	for _, t := range s.beside {
		if e := t.FinalizeAll(); err == nil {
			err = e
		}
	}
	return err
}
