package profile

import (
	"cmp"
	"fmt"
	"slices"

	"pare/plugin"
	"pare/plugin/layers"
)

// border is how many layers on either side of the cut-off of an influence
// ranking are swapped to make alternatives.
const border = 8

// A candidate is a set of layers with its score: over all chunks, and over each
// draw of the bootstrap, where there is one.
type candidate struct {
	remove []int
	terms  []int     // indices into the sample's terms
	score  float64   // over all chunks
	draws  []float64 // len Resamples, or none where the score needs no data
	wins   int       // draws in which no candidate scored lower; without draws 1 or 0
}

// report is the candidate as a plan shows it. One whose score needs no data is
// certain of it.
func (c *candidate) report() plugin.Candidate {
	p := plugin.Candidate{Remove: c.remove, Score: c.score, Low: c.score, High: c.score, Wins: float64(c.wins) / float64(max(1, len(c.draws)))}
	if len(c.draws) > 0 {
		p.Low, p.High = interval(c.draws)
	}
	return p
}

// beats is the share of the draws in which c scores lower than d. The two are
// compared draw by draw, which is sharper than comparing their intervals: a
// text that is hard for one block is hard for its neighbours too.
func (c *candidate) beats(d *candidate) float64 {
	n := 0
	for i := range c.draws {
		if c.draws[i] < d.draws[i] {
			n++
		}
	}
	return over(float64(n), float64(len(c.draws)))
}

// blocks lists the contiguous sets of n layers that touch none to be kept.
func (r *request) blocks() [][]int {
	var sets [][]int
	for a := 0; a+r.n <= r.layers; a++ {
		if !slices.Contains(r.keep[a:a+r.n], true) {
			sets = append(sets, block(a, r.n))
		}
	}
	return sets
}

// lowest returns the n layers of lowest value among those free to go, as a
// sorted set, and all free layers in the order of their value.
func (r *request) lowest(value func(l int) float64) (set, order []int) {
	for l, kept := range r.keep {
		if !kept {
			order = append(order, l)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(value(a), value(b)) })
	if len(order) < r.n {
		return nil, order
	}
	return slices.Sorted(slices.Values(order[:r.n])), order
}

// scattered lists sets of n layers worth considering where they need not be
// contiguous: the lowest n over all chunks and over each draw, the former with
// one layer near the cut-off swapped, and the contiguous ones, which models
// with alternating layers may alone allow.
func (r *request) scattered(s *sample, point []float64, draws [][]float64) [][]int {
	seen := map[string]bool{}
	var sets [][]int
	add := func(set []int) {
		if key := fmt.Sprint(set); set != nil && !seen[key] {
			seen[key] = true
			sets = append(sets, set)
		}
	}
	at := func(values []float64) func(l int) float64 {
		return func(l int) float64 { return values[s.index[term{l, l + 1, true}]] }
	}
	best, order := r.lowest(at(point))
	add(best)
	if best != nil {
		for in := r.n - 1; in >= max(0, r.n-border); in-- {
			for out := r.n; out < min(len(order), r.n+border); out++ {
				swap := slices.Clone(order[:r.n])
				swap[in] = order[out]
				add(slices.Sorted(slices.Values(swap)))
			}
		}
	}
	for _, values := range draws {
		set, _ := r.lowest(at(values))
		add(set)
	}
	for _, set := range r.blocks() {
		add(set)
	}
	return sets
}

// free describes what protection leaves when no set of n layers is left.
func (r *request) free() error {
	const last = "the last layer (which stays unless remove names it)"
	protected := last
	if len(r.protected) > 0 {
		protected = "protected " + layers.Phrase(r.protected) + " and " + last
	}
	var open []int
	for l, kept := range r.keep {
		if !kept {
			open = append(open, l)
		}
	}
	if r.by.free {
		return &SelectionError{"protect", fmt.Sprintf("besides %s there are %d layers, of which %d cannot go: remove fewer or protect fewer",
			protected, len(open), r.n)}
	}
	longest := 0
	for _, w := range layers.Runs(open) {
		longest = max(longest, w.Last-w.First+1)
	}
	return &SelectionError{"protect", fmt.Sprintf("no block of %d layers avoids %s: the longest free block has %d: remove fewer or protect fewer",
		r.n, protected, longest)}
}
