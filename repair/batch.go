package repair

import (
	"fmt"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// An order is the order in which examples are learnt from: all of them, shuffled, then
// all of them again, shuffled anew. It depends on the seed alone, so that training
// can go on from any step.
type order struct {
	examples int
	seed     int64
	epoch    int
	shuffled []int // of epoch; nil at first
}

// at is the example that is the i-th to be learnt from.
func (o *order) at(i int) int {
	if epoch := i / o.examples; o.shuffled == nil || epoch != o.epoch {
		o.epoch = epoch
		o.shuffled = Order(o.examples, o.seed, epoch)
	}
	return o.shuffled[i%o.examples]
}

// Order is the order in which a training of that seed learns from its examples when it
// goes through them for the epoch-th time, the first being 0.
func Order(examples int, seed int64, epoch int) []int {
	return rand.New(rand.NewPCG(uint64(seed), uint64(epoch))).Perm(examples)
}

// read reads the examples of a step, the first being 0.
func (o *order) read(data Source, step, batch int) ([]Example, error) {
	examples := make([]Example, batch)
	for i := range examples {
		at := o.at(step*batch + i)
		e, err := data.Read(at)
		if err != nil {
			return nil, fmt.Errorf("read example %d: %w", at, err)
		}
		examples[i] = e
	}
	return examples, nil
}

// A shape is what all examples of a training have in common.
type shape struct {
	tokens int // T
	top    int // K; 0 unless the loss is LossDistill
	embeds bool
}

// shapeOf reads the shape off an example.
func shapeOf(e Example, cfg Config) (shape, error) {
	s := shape{tokens: len(e.Tokens), embeds: e.State == nil}
	if cfg.Loss == LossDistill && s.tokens > 0 {
		s.top = len(e.TopTokens) / s.tokens
	}
	switch {
	case s.tokens == 0:
		return s, fmt.Errorf("it is empty")
	case cfg.Loss == LossDistill && s.top == 0:
		return s, fmt.Errorf("it has no probabilities of a teacher, which the loss %s needs", LossDistill)
	case s.embeds && cfg.First > 0:
		return s, fmt.Errorf("it has no residuals for layer %d to begin with", cfg.First)
	}
	return s, nil
}

// check holds an example against the shape and the model, so that a graph can take it.
func (s shape) check(e Example, n *Network, cfg Config) error {
	t, h := s.tokens, n.Hidden
	for _, c := range []struct {
		name       string
		want, have int
		needed     bool
	}{
		{"tokens", t, len(e.Tokens), true}, {"segments", t, len(e.Segment), true}, {"positions", t, len(e.Position), true},
		{"targets", t, len(e.Target), true}, {"weights", t, len(e.Weight), true},
		{"residual numbers", t * h, len(e.State), !s.embeds},
		{"numbers to aim at", t * h, len(e.Aim), cfg.Loss == LossHidden},
		{"likely tokens", t * s.top, len(e.TopTokens), cfg.Loss == LossDistill},
		{"probabilities", t * s.top, len(e.TopLogProb), cfg.Loss == LossDistill},
	} {
		if c.needed && c.want != c.have {
			return fmt.Errorf("it has %d %s, not %d", c.have, c.name, c.want)
		}
	}
	for _, tokens := range [][]int32{e.Tokens, e.Target, e.TopTokens} {
		for _, id := range tokens {
			if id < 0 || int(id) >= n.Vocabulary {
				return fmt.Errorf("it has token %d, of a vocabulary of %d", id, n.Vocabulary)
			}
		}
	}
	return nil
}

// weight is what the examples' predictions count for together.
func weight(examples []Example) (sum float64) {
	for _, e := range examples {
		for _, w := range e.Weight {
			sum += float64(w)
		}
	}
	return sum
}

// A lesson is a micro-batch of B examples in a graph; N = B·T.
type lesson struct {
	state    *Node // [B, T, H], or tokens, int32 [B, T]
	tokens   *Node
	sequence Sequence
	weight   *Node // [N], as a share of what the step's predictions weigh together

	target                *Node // int32 [N], for LossNext
	topTokens, topLogProb *Node // int32 [N, K] and [N, K], for LossDistill
	aim                   *Node // [N, H], for LossHidden
	seed                  *Node // uint32, of dropout
}

// take takes apart what a graph is given: what inputs lists, and then what batch does.
func (s *student) take(nodes []*Node) (inputs []*Node, l lesson) {
	fixed := len(s.inputs())
	inputs, nodes = nodes[:fixed], nodes[fixed:]
	next := func() (n *Node) {
		n, nodes = nodes[0], nodes[1:]
		return n
	}
	if s.embeds {
		l.tokens = next()
	} else {
		l.state = next()
	}
	l.sequence = Sequence{Segment: next(), Position: next()}
	l.weight = next()
	switch s.cfg.Loss {
	case LossNext:
		l.target = next()
	case LossDistill:
		l.topTokens, l.topLogProb = next(), next()
	case LossHidden:
		l.aim = next()
	}
	l.seed = next()
	return inputs, l
}

// batch makes a micro-batch of examples. Weights are scaled by scale.
func (s *student) batch(examples []Example, scale float64, seed uint32) []*tensors.Tensor {
	b, t := len(examples), len(examples[0].Tokens)
	n, h := b*t, s.network.Hidden
	integers := func(of func(Example) []int32, dims ...int) *tensors.Tensor {
		return tensors.FromFlatDataAndDimensions(joined(examples, of), dims...)
	}
	reals := func(of func(Example) []float32, dims ...int) *tensors.Tensor {
		return tensors.FromFlatDataAndDimensions(joined(examples, of), dims...)
	}
	var out []*tensors.Tensor
	if s.embeds {
		out = append(out, integers(func(e Example) []int32 { return e.Tokens }, b, t))
	} else {
		out = append(out, reals(func(e Example) []float32 { return e.State }, b, t, h))
	}
	weights := joined(examples, func(e Example) []float32 { return e.Weight })
	for i := range weights {
		weights[i] *= float32(scale)
	}
	out = append(out,
		integers(func(e Example) []int32 { return e.Segment }, b, t),
		integers(func(e Example) []int32 { return e.Position }, b, t),
		tensors.FromFlatDataAndDimensions(weights, n))
	switch s.cfg.Loss {
	case LossNext:
		out = append(out, integers(func(e Example) []int32 { return e.Target }, n))
	case LossDistill:
		k := len(examples[0].TopTokens) / t
		out = append(out,
			integers(func(e Example) []int32 { return e.TopTokens }, n, k),
			reals(func(e Example) []float32 { return e.TopLogProb }, n, k))
	case LossHidden:
		out = append(out, reals(func(e Example) []float32 { return e.Aim }, n, h))
	}
	return append(out, tensors.FromScalar(seed))
}

// joined is one column of the examples, one after another.
func joined[T any](examples []Example, column func(Example) []T) []T {
	out := make([]T, 0, len(examples)*len(column(examples[0])))
	for _, e := range examples {
		out = append(out, column(e)...)
	}
	return out
}
