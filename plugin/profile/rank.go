package profile

import (
	"cmp"
	"fmt"
	"slices"

	"pare/plugin"
)

// A field is the outcome of a ranking.
type field struct {
	sample *sample
	chosen *candidate
	scored bool         // chosen was measured
	others []*candidate // best first
}

// rank scores every set that may go and sorts them.
func (r *request) rank(chunks []plugin.TraceDelta, cuttable func([]int) error) (*field, error) {
	f := &field{sample: newSample(r.layers, chunks, r.last, r.terms())}
	var point []float64
	var draws [][]float64
	measured := r.by.terms == nil || f.sample.tokens > 0
	if !measured && r.remove == nil {
		return nil, r.unmeasured(cuttable)
	}
	if r.by.terms != nil && f.sample.tokens > 0 {
		point, draws = f.sample.draw()
	}
	var all []*candidate
	if measured {
		all = r.propose(f.sample, point, draws)
	}
	allowed, err := sift(all, cuttable)
	switch {
	case r.remove != nil:
		f.chosen = &candidate{remove: r.remove}
		if r.by.terms == nil || f.sample.measured(r.by.terms(r.remove)) {
			f.chosen, f.scored = r.score(f.sample, r.remove, point, draws), true
			allowed = append(allowed, f.chosen)
		}
	case len(all) == 0:
		return nil, r.free()
	case len(allowed) == 0:
		return nil, fmt.Errorf("no set of %d layers can be removed: %w", r.n, err)
	default:
		f.chosen, f.scored = allowed[0], true
	}
	count(allowed)
	f.others = slices.DeleteFunc(allowed, func(c *candidate) bool { return c == f.chosen })
	return f, nil
}

// unmeasured is the error where no token was traced: a trace would help, or the
// reason why none could.
func (r *request) unmeasured(cuttable func([]int) error) error {
	if err := r.hopeless(cuttable); err != nil {
		return err
	}
	return fmt.Errorf("choose layers by %s: %w: profile the model, or use the criterion %q, which needs no trace",
		r.by.name, ErrUnmeasured, "deepest")
}

// hopeless says why no trace could find a set that may go, so that none is made
// in vain. Sets that need not be contiguous are too many to be tried.
func (r *request) hopeless(cuttable func([]int) error) error {
	if r.by.free {
		if any, _ := r.lowest(func(int) float64 { return 0 }); any == nil {
			return r.free()
		}
		return nil
	}
	var first error
	for _, set := range r.blocks() {
		err := cuttable(set)
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	if first == nil {
		return r.free()
	}
	return fmt.Errorf("no set of %d layers can be removed: %w", r.n, first)
}

// propose scores all sets worth considering, but not the one that the selection
// names, and sorts them, best first.
func (r *request) propose(s *sample, point []float64, draws [][]float64) []*candidate {
	sets := r.blocks()
	if r.by.free {
		sets = r.scattered(s, point, draws)
	}
	var all []*candidate
	for _, set := range sets {
		if !slices.Equal(set, r.remove) {
			all = append(all, r.score(s, set, point, draws))
		}
	}
	slices.SortStableFunc(all, func(a, b *candidate) int { return cmp.Compare(a.score, b.score) })
	return all
}

// terms lists what the criterion needs of every set that may be considered. The
// pairs with x_L, known for few tokens, are among them only where the selection
// removes the last layer.
func (r *request) terms() []term {
	if r.by.terms == nil {
		return nil
	}
	seen := map[term]bool{}
	var terms []term
	sets := r.blocks()
	if r.by.free {
		for l := range r.layers - 1 {
			sets = append(sets, []int{l})
		}
	}
	if r.remove != nil {
		sets = append(sets, r.remove)
	}
	for _, set := range sets {
		for _, t := range r.by.terms(set) {
			if !seen[t] {
				seen[t] = true
				terms = append(terms, t)
			}
		}
	}
	return terms
}

// score judges one set over all chunks and over each draw.
func (r *request) score(s *sample, remove []int, point []float64, draws [][]float64) *candidate {
	c := &candidate{remove: remove}
	if r.by.terms == nil {
		c.score = r.by.position(r.layers, remove)
		return c
	}
	for _, t := range r.by.terms(remove) {
		c.terms = append(c.terms, s.index[t])
	}
	c.score = c.sum(point)
	c.draws = make([]float64, len(draws))
	for i, values := range draws {
		c.draws[i] = c.sum(values)
	}
	return c
}

func (c *candidate) sum(values []float64) float64 {
	sum := 0.0
	for _, i := range c.terms {
		sum += values[i]
	}
	return sum
}

// sift keeps the candidates that the architecture allows. The error is the
// reason it gave for the first it refused, which is the best of them.
func sift(all []*candidate, cuttable func([]int) error) (allowed []*candidate, first error) {
	for _, c := range all {
		if err := cuttable(c.remove); err == nil {
			allowed = append(allowed, c)
		} else if first == nil {
			first = err
		}
	}
	return allowed, first
}

// count gives each draw to the candidate that scores lowest in it, and where
// scores need no data, all of them to the lowest. Ties go to the candidate
// listed first.
func count(candidates []*candidate) {
	if len(candidates) == 0 {
		return
	}
	lowest := func(score func(c *candidate) float64) *candidate {
		return slices.MinFunc(candidates, func(a, b *candidate) int { return cmp.Compare(score(a), score(b)) })
	}
	draws := len(candidates[0].draws)
	if draws == 0 {
		lowest(func(c *candidate) float64 { return c.score }).wins = 1
	}
	for i := range draws {
		lowest(func(c *candidate) float64 { return c.draws[i] }).wins++
	}
}
