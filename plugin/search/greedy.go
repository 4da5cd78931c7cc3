package search

import (
	"context"
	"fmt"
	"math"
	"slices"

	"pare/plugin/layers"
	"pare/plugin/profile"
)

// greedy removes one layer after another, each time the one whose removal, given
// those already gone, costs least, until c.Count are gone. Where the architecture
// refuses single layers, short runs that it allows take their place.
//
// All units race in the first step. After that only a shortlist does: those that
// cost least when they were last tried. Removal makes the layers that remain
// dearer, so an old cost is too low rather than too high, and a unit long untried
// comes up again before it could have been missed by much.
func greedy(ctx context.Context, t *table, c profile.Choices, cuttable func([]int) error) (outcome, error) {
	next := newUnits(c, cuttable)
	costs := map[string]float64{}
	base := t.row(nil)
	o := outcome{}
	var order []string
	for len(base.remove) < c.Count {
		units, err := next.after(base.remove)
		if err != nil {
			return o, err
		}
		o.exhaustive += len(units) * len(t.chunks)
		units = cheapest(units, costs)
		sets := make([][]int, len(units))
		for i, u := range units {
			sets[i] = union(base.remove, u)
		}
		o.race = newRace(t, t.all(sets))
		o.later = (c.Count - len(base.remove) - 1) * widest * opening
		if o.end, err = o.run(ctx); err != nil {
			return o, err
		}
		if len(base.remove) == 0 {
			if err := t.extend(ctx, []*row{base}, o.seen); err != nil {
				return o, err
			}
		}
		winner := o.running[0]
		for i, v := range o.entered {
			costs[fmt.Sprint(units[i])] = t.difference(v, base).mean
			if v == winner {
				order = append(order, layers.Format(units[i]))
			}
		}
		base = winner
	}
	o.order = order
	return o, nil
}

// cheapest keeps those units that were never tried, and of the others a shortlist
// of the cheapest. Broken ones are the dearest.
func cheapest(units [][]int, costs map[string]float64) [][]int {
	var fresh, tried [][]int
	for _, u := range units {
		if _, ok := costs[fmt.Sprint(u)]; ok {
			tried = append(tried, u)
		} else {
			fresh = append(fresh, u)
		}
	}
	cost := func(u []int) float64 {
		if c := costs[fmt.Sprint(u)]; finite(c) {
			return c
		}
		return math.Inf(1)
	}
	slices.SortStableFunc(tried, func(a, b []int) int { return compareLoss(cost(a), cost(b)) })
	return append(fresh, tried[:min(len(tried), shortlist(len(units)))]...)
}

// union is the sorted union of two sets that share nothing.
func union(a, b []int) []int {
	u := slices.Concat(a, b)
	slices.Sort(u)
	return u
}
