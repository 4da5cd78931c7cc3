package plugin

import (
	"fmt"
	"math"
	"slices"
)

// A TraceDelta carries what was measured of a model's residual stream over a
// number of tokens. It holds sums, never text, tokens or hidden states, so
// that deltas can be added up in any order.
//
// Notation, here and everywhere: a model has L layers and a hidden width H;
// x_l, l = 0..L, is the residual stream entering layer l, and x_L is what the
// final norm reads.
type TraceDelta struct {
	Model  string // digest of the GGUF, "sha256:…"
	Layers int    // L
	Hidden int    // H

	// All sums over every token but the first of each sequence. Last sums over
	// the output rows alone, those whose logits were computed: the last token
	// of a prompt, and each generated one. First sums over the tokens at
	// position 0, kept apart because they are attention sinks whose norm is
	// orders of magnitude above the rest.
	All, Last, First Sums

	Expected int64    // prompt tokens the server reported for this text
	LeftOut  int64    // tokens computed but not measured, for want of memory
	Faults   []Fault  // why some graphs were not traced, or not in full
	Texts    []string // digests of the texts these sums cover, if known
}

// A Fault counts the computation graphs that, for one reason, were left out of a
// trace or, if Counted, are in its sums with a reservation: some of their tokens
// or residuals are missing, or stand among others. Inference is never affected.
type Fault struct {
	Reason  string `json:"reason"`
	Graphs  int64  `json:"graphs"`
	Counted bool   `json:"counted,omitempty"`
}

// Sums are totals over tokens. Pairs of residuals (a, b), a < b, are indexed by
// [Pair].
//
// The last layer of a prompt is computed for the output rows alone, so x_L, and
// with it each pair (a, L) and step L-1, is known for OutTokens tokens, and all
// else for Tokens.
type Sums struct {
	Tokens    int64
	OutTokens int64
	Angle     []float64 // Σ d(x_a, x_b), angular distance on the scale 0..1, len (L+1)L/2
	Cosine    []float64 // Σ cos(x_a, x_b), len (L+1)L/2
	Step      []float64 // Σ |x_{l+1} - x_l| / |x_l|, len L
	Norm      []float64 // Σ |x_l|, len L+1
}

// Pairs is the number of residual pairs a < b of a model with L layers.
func Pairs(layers int) int { return (layers + 1) * layers / 2 }

// Pair is the index of the pair (a, b), 0 <= a < b <= layers, in the rows of
// the upper triangle: (0,1) (0,2) … (0,L) (1,2) ….
func Pair(layers, a, b int) int {
	return a*(2*layers-a+1)/2 + b - a - 1
}

// NewSums returns empty sums for a model with the given number of layers.
func NewSums(layers int) Sums {
	return Sums{
		Angle:  make([]float64, Pairs(layers)),
		Cosine: make([]float64, Pairs(layers)),
		Step:   make([]float64, layers),
		Norm:   make([]float64, layers+1),
	}
}

// Add adds t to s. Both must be of the same model.
func (s *Sums) Add(t Sums) {
	s.Tokens += t.Tokens
	s.OutTokens += t.OutTokens
	addTo(s.Angle, t.Angle)
	addTo(s.Cosine, t.Cosine)
	addTo(s.Step, t.Step)
	addTo(s.Norm, t.Norm)
}

func (s *Sums) clone() Sums {
	c := *s
	c.Angle, c.Cosine = slices.Clone(s.Angle), slices.Clone(s.Cosine)
	c.Step, c.Norm = slices.Clone(s.Step), slices.Clone(s.Norm)
	return c
}

func addTo(dst, src []float64) {
	for i, v := range src {
		dst[i] += v
	}
}

// Add adds t to d, which may be empty. Both must be valid, and of the same model.
func (d *TraceDelta) Add(t TraceDelta) error {
	for _, f := range t.Faults {
		d.Fault(f)
	}
	switch {
	case t.Layers == 0:
	case d.Layers == 0:
		d.Layers, d.Hidden = t.Layers, t.Hidden
		d.All, d.Last, d.First = t.All.clone(), t.Last.clone(), t.First.clone()
	case d.Layers != t.Layers || d.Hidden != t.Hidden:
		return fmt.Errorf("add traces: one is of %d layers %d wide, another of %d layers %d wide", d.Layers, d.Hidden, t.Layers, t.Hidden)
	default:
		d.All.Add(t.All)
		d.Last.Add(t.Last)
		d.First.Add(t.First)
	}
	d.Expected += t.Expected
	d.LeftOut += t.LeftOut
	d.Texts = append(d.Texts, t.Texts...)
	return nil
}

// Fault adds to the faults of d.
func (d *TraceDelta) Fault(f Fault) {
	for i := range d.Faults {
		if have := d.Faults[i]; have.Reason == f.Reason && have.Counted == f.Counted {
			d.Faults[i].Graphs += f.Graphs
			return
		}
	}
	d.Faults = append(d.Faults, f)
}

// NotFinite is the reason of the fault that stands for sums that are left out because
// they are not [TraceDelta.Finite].
const NotFinite = "sums are not finite: the model's residual stream overflowed"

// Finite reports whether every sum is a number.
func (d *TraceDelta) Finite() bool {
	for _, s := range []*Sums{&d.All, &d.Last, &d.First} {
		for _, row := range [][]float64{s.Angle, s.Cosine, s.Step, s.Norm} {
			for _, v := range row {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return false
				}
			}
		}
	}
	return true
}

// Validate reports whether the lengths of the sums agree with d.Layers, so that
// a delta from another process can be indexed without fear.
func (d *TraceDelta) Validate() error {
	if d.Layers < 1 || d.Layers > 4096 {
		return fmt.Errorf("trace of %d layers", d.Layers)
	}
	for _, s := range []*Sums{&d.All, &d.Last, &d.First} {
		if len(s.Angle) != Pairs(d.Layers) || len(s.Cosine) != Pairs(d.Layers) ||
			len(s.Step) != d.Layers || len(s.Norm) != d.Layers+1 {
			return fmt.Errorf("trace sums do not match %d layers", d.Layers)
		}
	}
	return nil
}
