package search

import (
	"cmp"
	"context"
	"slices"
)

const (
	// share: "auto" may take 1/share of the passes that trying all blocks on all text
	// would. It should take a quarter of the time, and the whole model is slower.
	share   = 5
	glance  = 4  // and spend 1/glance of those on blocks that the trace speaks against
	invited = 4  // how many of the best at first glance race
	cheap   = 20 // passes it may always take: fewer are not worth saving
	widest  = 8  // blocks in a shortlist at most
)

// shortlist is how many of n sets the cheap ranking proposes: a third, at least
// four. On representative text the best block by loss is among the first few by
// distance. More than eight would leave too few passes to tell them apart by: a
// fifth of the blocks on all of the text is all that the limit allows.
func shortlist(n int) int { return min(n, max(4, min(n/3, widest))) }

// auto races the blocks that come first in the order given, which is that of the
// angular distance. If the trace is of unrepresentative text that order
// misleads, and the best block by loss may be anywhere: distances of a repetitive
// prompt have put blocks of 30 layers first that cost a factor of 6 in
// perplexity. One chunk tells such blocks apart, so the rest are run on one, all
// of them or as many as a quarter of the limit allows, spread over the model, and the
// best of all at this first glance race too.
func auto(ctx context.Context, t *table, blocks [][]int) (outcome, error) {
	passes := len(blocks) * len(t.chunks)
	limit := max(passes/share, cheap)
	n := shortlist(len(blocks))
	scouts := spread(blocks[n:], blocks[:n], limit/glance)
	entrants, seen := t.all(blocks[:n]), t.all(slices.Concat(blocks[:n], scouts))

	t.ahead = func() int { return max(0, limit-t.passes) }
	if err := t.extend(ctx, seen, 1); err != nil {
		return outcome{}, err
	}
	slices.SortStableFunc(seen, func(a, b *row) int { return compareLoss(a.nll[0], b.nll[0]) })
	for _, v := range seen[:min(invited, len(seen))] {
		if !slices.Contains(entrants, v) {
			entrants = append(entrants, v)
		}
	}
	r := newRace(t, entrants)
	r.limit = limit
	end, err := r.run(ctx)
	return outcome{race: r, end: end, exhaustive: passes}, err
}

// compareLoss orders losses, those that are not finite last.
func compareLoss(a, b float64) int {
	if finite(a) != finite(b) {
		if finite(a) {
			return -1
		}
		return 1
	}
	return cmp.Compare(a, b)
}

// spread picks n of the blocks in rest, one by one, each as far as can be from
// those taken and picked before, and from both ends, which models seldom spare.
func spread(rest, taken [][]int, n int) [][]int {
	if n >= len(rest) {
		return rest
	}
	rest = slices.Clone(rest)
	byPosition := func(a, b []int) int { return cmp.Compare(a[0], b[0]) }
	slices.SortFunc(rest, byPosition)
	every := slices.Concat(rest, taken)
	near := []int{slices.MinFunc(every, byPosition)[0] - 1, slices.MaxFunc(every, byPosition)[0] + 1}
	for _, b := range taken {
		near = append(near, b[0])
	}
	var picked [][]int
	for range n {
		far := slices.MaxFunc(rest, func(a, b []int) int { return cmp.Compare(distance(a[0], near), distance(b[0], near)) })
		picked = append(picked, far)
		near = append(near, far[0])
	}
	return picked
}

// distance is that of a from the nearest of some places.
func distance(a int, places []int) int {
	d := max(a-places[0], places[0]-a)
	for _, p := range places[1:] {
		d = min(d, max(a-p, p-a))
	}
	return d
}
