package profile

import (
	"fmt"

	"pare/plugin"
)

// Choices are what a selection leaves to choose from.
type Choices struct {
	Criterion string  // the default's name where the selection gives none
	Count     int     // how many layers go
	Blocks    [][]int // contiguous sets of Count layers that may go
	Free      []int   // layers that are not to be kept, for criteria whose sets need not be contiguous
	Last      bool    // Tokens is "last"
	Notes     []string
}

// Choose resolves a selection for a criterion that compares sets by running the
// model. For "auto" the blocks come in the order of their angular distance, least
// first, which takes a trace, and Notes tell of trouble with it; for "loss" they
// come by position; "greedy" goes by the layers that are free. It refuses what
// Select refuses, and a selection that names its layers, which leaves no choice.
func Choose(in Input, sel plugin.Selection, cuttable func(remove []int) error) (Choices, error) {
	r, total, err := in.resolve(sel)
	if err != nil {
		return Choices{}, err
	}
	if !r.by.runs {
		return Choices{}, fmt.Errorf("choose layers by %s: it does not run the model: choose from the profile alone", r.by.name)
	}
	if cuttable == nil {
		cuttable = func([]int) error { return nil }
	}
	c, err := r.choices(in.Chunks, cuttable)
	if err == nil && r.by.terms != nil {
		c.Notes = trouble(&total)
	}
	return c, err
}

func (r *request) choices(chunks []plugin.TraceDelta, cuttable func([]int) error) (Choices, error) {
	c := Choices{Criterion: r.by.name, Count: r.n, Last: r.last}
	for l, kept := range r.keep {
		if !kept {
			c.Free = append(c.Free, l)
		}
	}
	if err := r.hopeless(cuttable); err != nil || r.by.free {
		return c, err
	}
	if r.by.terms == nil {
		for _, set := range r.blocks() {
			if cuttable(set) == nil {
				c.Blocks = append(c.Blocks, set)
			}
		}
		return c, nil
	}
	s := newSample(r.layers, chunks, r.last, r.terms())
	if s.tokens == 0 {
		return c, r.unmeasured(cuttable)
	}
	allowed, _ := sift(r.propose(s, s.point(), nil), cuttable)
	for _, a := range allowed {
		c.Blocks = append(c.Blocks, a.remove)
	}
	return c, nil
}
