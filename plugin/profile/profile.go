// Package profile is the arithmetic between a trace and a plan: it averages
// the sums measured on a model's residual stream, scores the sets of layers
// that could be removed, and says how far the text behind a score can be
// trusted. It reads and writes no files and knows nothing of weights.
//
// Letters: a model has L layers; x_l, l = 0..L, is the residual stream entering
// layer l, and x_L is what the final norm reads. D[a][b] is the mean over tokens
// of the angular distance d(x_a, x_b) = arccos(cos(x_a, x_b))/pi, on the scale
// 0..1. Removing the block (a, n) takes out layers a..a+n-1, so that x_a feeds
// layer a+n.
package profile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"pare/plugin"
)

// Version is the version of the profiles and plans made here.
const Version = plugin.ProfileVersion

// New averages the deltas of one model, one a chunk of text, into a profile. It
// does not know the architecture, the corpora or the digest of the trace: the
// caller fills in those fields.
func New(chunks []plugin.TraceDelta) (plugin.Profile, error) {
	sum, err := Merge(chunks)
	if err != nil {
		return plugin.Profile{}, err
	}
	p := plugin.Profile{
		Version:  Version,
		Model:    sum.Model,
		Layers:   sum.Layers,
		Hidden:   sum.Hidden,
		Tokens:   sum.All.Tokens,
		Expected: sum.Expected,
		All:      Means(sum.Layers, sum.All),
		Last:     Means(sum.Layers, sum.Last),
		First:    Means(sum.Layers, sum.First),
		Faults:   sum.Faults,
	}
	for i := range chunks {
		if chunks[i].All.Tokens > 0 && chunks[i].Finite() {
			p.Chunks++
		}
	}
	return p, nil
}

// Merge adds up the deltas of one model. A delta that holds a NaN or an infinity
// would spoil every mean: it is left out and counted as a fault, while what was
// expected of its text stays counted, so that the loss shows. Faults come out
// sorted by reason.
func Merge(chunks []plugin.TraceDelta) (plugin.TraceDelta, error) {
	if len(chunks) == 0 {
		return plugin.TraceDelta{}, errors.New("merge traces: there are none: trace some text first")
	}
	sum := plugin.TraceDelta{Model: chunks[0].Model, Layers: chunks[0].Layers, Hidden: chunks[0].Hidden}
	for i := range chunks {
		c := &chunks[i]
		if err := check(c, &sum); err != nil {
			return plugin.TraceDelta{}, fmt.Errorf("merge trace %d of %d: %w", i+1, len(chunks), err)
		}
		if i == 0 {
			sum.All, sum.Last, sum.First = plugin.NewSums(c.Layers), plugin.NewSums(c.Layers), plugin.NewSums(c.Layers)
		}
		add := *c
		if !c.Finite() {
			add = plugin.TraceDelta{Expected: c.Expected, Faults: append(slices.Clone(c.Faults), plugin.Fault{Reason: plugin.NotFinite, Graphs: 1})}
		}
		if err := sum.Add(add); err != nil {
			return plugin.TraceDelta{}, fmt.Errorf("merge trace %d of %d: %w", i+1, len(chunks), err)
		}
	}
	slices.SortFunc(sum.Faults, func(a, b plugin.Fault) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Graphs, b.Graphs))
	})
	return sum, nil
}

// check reports whether c is well formed and of the same model as first.
func check(c, first *plugin.TraceDelta) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Model != first.Model || c.Layers != first.Layers || c.Hidden != first.Hidden {
		return fmt.Errorf("it is of model %q, %dx%d, the first of model %q, %dx%d: trace one model at a time",
			c.Model, c.Layers, c.Hidden, first.Model, first.Layers, first.Hidden)
	}
	for _, s := range []*plugin.Sums{&c.All, &c.Last, &c.First} {
		if s.Tokens < 0 || s.OutTokens < 0 {
			return fmt.Errorf("it counts %d tokens and %d output tokens", s.Tokens, s.OutTokens)
		}
	}
	if c.LeftOut < 0 {
		return fmt.Errorf("it counts %d tokens left out", c.LeftOut)
	}
	return nil
}
