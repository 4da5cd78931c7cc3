package repair

import (
	"fmt"
	"math"
	"slices"
)

// Losses to train by, in Config.Loss; see loss.go for their formulas.
const (
	LossDistill = "distill" // KL divergence to the uncut model's probabilities; the default
	LossNext    = "next"    // cross-entropy of the next token
	LossHidden  = "hidden"  // squared error to the uncut model's last residual, in units of its size
)

// Matrices that get adapters, in Config.Targets.
const (
	TargetsAll         = "all" // linear maps of a layer; the default
	TargetsFeedForward = "ffn"
	TargetsAttention   = "attention"
)

// What the backward pass computes again, rather than find it in memory. "Selective" and
// "full" are as in arXiv 2205.05198.
const (
	RecomputeNothing   = ""          // all is kept
	RecomputeSelective = "selective" // norms, attention weights and activations; products with the model's matrices are kept
	RecomputeFull      = "full"      // all but what enters each layer: the least memory, and the most time
)

// Config says what is trained, and how. Rank has no default (unless Dense or Scales is set);
// other fields take theirs where they are zero.
type Config struct {
	Base string `json:"base"` // digest of the GGUF that is trained, so that a checkpoint is taken up with no other

	Loss    string  `json:"loss"`
	First   int     `json:"first"`   // lowest layer that is computed: what enters it is Example.State, or the embedding of layer 0
	Layers  []int   `json:"layers"`  // that are trained, none below First; nil for all from First on
	Targets string  `json:"targets"` // of each trained layer
	Rank    int     `json:"rank"`    // of adapters
	Alpha   float64 `json:"alpha"`   // an adapter's product is scaled by Alpha/Rank; default 2·Rank
	Dropout float64 `json:"dropout"` // share of what enters an adapter that is left out
	Dense   bool    `json:"dense"`   // train the matrices themselves, without adapters
	Scales  bool    `json:"scales"`  // train the scales and minima of the blocks that weights are stored in, without adapters
	Head    bool    `json:"head"`    // train the output matrix itself, too; where it is the embedding, a copy of its own
	Bits    int     `json:"bits"`    // of frozen weights in memory: 0 as they are stored, or 4 or 8

	Steps        int     `json:"steps"`      // default 100
	Batch        int     `json:"batch"`      // sequences of a step; default 4
	Accumulate   int     `json:"accumulate"` // micro-batches that a step is computed in; default 1
	LearningRate float64 `json:"learning_rate"`
	WarmUp       int     `json:"warm_up"` // steps
	Decay        float64 `json:"decay"`   // of weights, decoupled from the gradient
	Clip         float64 `json:"clip"`    // global norm of the gradient at most; default 1
	Seed         int64   `json:"seed"`

	Check     int     `json:"check"`            // steps from one measurement of the held-out loss to the next; default a tenth of Steps
	Patience  int     `json:"patience"`         // end when so many measurements in a row were no better than the best; default 3
	Enough    float64 `json:"enough,omitempty"` // held-out loss at which training ends; 0 for never
	Save      int     `json:"save"`             // steps from checkpoint to checkpoint; default Check
	Recompute string  `json:"recompute"`        // what the backward pass computes again rather than find in memory: RecomputeNothing, …
}

// withDefaults fills in what is zero.
func (c Config) withDefaults(n *Network) Config {
	defaultTo(&c.Loss, LossDistill)
	defaultTo(&c.Targets, TargetsAll)
	defaultTo(&c.Alpha, 2*float64(c.Rank))
	defaultTo(&c.Steps, 100)
	defaultTo(&c.Batch, 4)
	defaultTo(&c.Accumulate, 1)
	defaultTo(&c.LearningRate, 5e-4)
	defaultTo(&c.Clip, 1)
	defaultTo(&c.Check, max(c.Steps/10, 1))
	defaultTo(&c.Patience, 3)
	defaultTo(&c.Save, c.Check)
	if c.Layers == nil {
		for l := c.First; l < len(n.Layers); l++ {
			c.Layers = append(c.Layers, l)
		}
	}
	return c
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate names the field at fault. The fields are as a model n would have them
// trained, with zero ones at their defaults.
func (c Config) Validate(n *Network) error {
	c = c.withDefaults(n)
	layers := len(n.Layers)
	switch {
	case !slices.Contains([]string{LossDistill, LossNext, LossHidden}, c.Loss):
		return fmt.Errorf("config: Loss is %q: give %q, %q or %q", c.Loss, LossDistill, LossNext, LossHidden)
	case !slices.Contains([]string{RecomputeNothing, RecomputeSelective, RecomputeFull}, c.Recompute):
		return fmt.Errorf("config: Recompute is %q: give %q, %q or %q", c.Recompute, RecomputeNothing, RecomputeSelective, RecomputeFull)
	case !slices.Contains([]string{TargetsAll, TargetsFeedForward, TargetsAttention}, c.Targets):
		return fmt.Errorf("config: Targets is %q: give %q, %q or %q", c.Targets, TargetsAll, TargetsFeedForward, TargetsAttention)
	case c.First < 0 || c.First >= layers:
		return fmt.Errorf("config: First is %d: the model has layers 0 to %d", c.First, layers-1)
	case c.Bits != 0 && c.Bits != 4 && c.Bits != 8:
		return fmt.Errorf("config: Bits is %d: give 4 or 8, or 0 for weights as they are stored", c.Bits)
	case c.Head && c.Loss == LossHidden:
		return fmt.Errorf("config: Head is trained by %s or %s: the loss %s does not come to it", LossDistill, LossNext, LossHidden)
	case c.Head && n.OwnHead() == "":
		return fmt.Errorf("config: Head cannot be trained: the output matrix of %s models is their embedding", n.Architecture)
	case len(c.Layers) == 0 && !c.Head:
		return fmt.Errorf("config: Layers is empty: give at least one")
	}
	if err := c.validateSteps(); err != nil {
		return err
	}
	for i, l := range c.Layers {
		if l < c.First || l >= layers || slices.Contains(c.Layers[:i], l) {
			return fmt.Errorf("config: Layers has %d: give layers from %d to %d, each once", l, c.First, layers-1)
		}
	}
	return c.validateRank(n)
}

// validateSteps checks the numbers that do not depend on the model.
func (c Config) validateSteps() error {
	for _, f := range []struct {
		name  string
		value int
	}{{"steps", c.Steps}, {"batch", c.Batch}, {"accumulate", c.Accumulate}, {"check", c.Check}, {"patience", c.Patience}, {"save", c.Save}} {
		if f.value < 1 {
			return fmt.Errorf("config: %s is %d: give at least 1", f.name, f.value)
		}
	}
	switch {
	case c.Batch%c.Accumulate != 0:
		return fmt.Errorf("config: Accumulate is %d: a batch of %d does not divide into so many", c.Accumulate, c.Batch)
	case c.WarmUp < 0 || c.WarmUp >= c.Steps && c.WarmUp > 0:
		return fmt.Errorf("config: WarmUp is %d: give fewer than the %d steps", c.WarmUp, c.Steps)
	case !(c.LearningRate > 0 && c.LearningRate <= 1):
		return fmt.Errorf("config: LearningRate is %g: give more than 0 and at most 1", c.LearningRate)
	case !(c.Enough >= 0):
		return fmt.Errorf("config: Enough is %g: give a loss, or 0 for none", c.Enough)
	case !(c.Decay >= 0 && c.Decay < 1):
		return fmt.Errorf("config: Decay is %g: give 0 or more and less than 1", c.Decay)
	case !(c.Clip > 0):
		return fmt.Errorf("config: Clip is %g: give more than 0", c.Clip)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return fmt.Errorf("config: Dropout is %g: give 0 or more and less than 1", c.Dropout)
	}
	return nil
}

// validateRank holds the rank against the matrices that get adapters: an adapter of
// a matrix's own rank is the matrix again.
func (c Config) validateRank(n *Network) error {
	if c.Dense || c.Scales {
		return nil
	}
	limit, narrowest := math.MaxInt, ""
	for _, l := range c.Layers {
		for _, m := range n.Matrices(l) {
			if least := min(m.In, m.Out); c.targets(m.Name) && least < limit {
				limit, narrowest = least, tensor(l, m.Name)
			}
		}
	}
	if c.Rank < 1 || c.Rank > limit {
		return fmt.Errorf("config: Rank is %d: give 1 to %d, as many as %s has", c.Rank, limit, narrowest)
	}
	if !(c.Alpha > 0) || math.IsInf(c.Alpha, 0) {
		return fmt.Errorf("config: Alpha is %g: give more than 0", c.Alpha)
	}
	return nil
}

// targets reports whether the matrix of that name in a layer is trained.
func (c Config) targets(name string) bool {
	feedForward := len(name) > 4 && name[:4] == "ffn_"
	switch c.Targets {
	case TargetsFeedForward:
		return feedForward
	case TargetsAttention:
		return !feedForward
	}
	return true
}
