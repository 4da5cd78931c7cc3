package search

import (
	"cmp"
	"fmt"
	"slices"

	"pare/plugin/layers"
	"pare/plugin/profile"
)

// patience is how many sets of layers are put to the architecture before a way to
// the number asked for is taken not to exist.
const patience = 2000

// units finds what a greedy search can remove next.
type units struct {
	layers   int // all below this may stand between others
	count    int // how many are to go in the end
	free     []bool
	cuttable func([]int) error
	dead     map[string]bool // sets from which there is no way to count
}

func newUnits(c profile.Choices, cuttable func([]int) error) *units {
	if cuttable == nil {
		cuttable = func([]int) error { return nil }
	}
	u := &units{layers: slices.Max(c.Free) + 1, count: c.Count, cuttable: cuttable, dead: map[string]bool{}}
	u.free = make([]bool, u.layers)
	for _, l := range c.Free {
		u.free[l] = true
	}
	return u
}

// after lists what may go once some layers are gone: runs of neighbours, all of
// one length, each of them allowed and on the way to enough layers. It is the
// shortest length by which at least half of the layers could go, or else that by
// which the most could: single layers if the architecture does not mind, whole
// periods where its layers alternate, though a single one near the end may go there.
func (u *units) after(gone []int) ([][]int, error) {
	var widest [][]int
	var refused error
	most := 0
	for size := 1; size <= u.count-len(gone); size++ {
		var allowed [][]int
		for _, run := range u.runs(gone, size) {
			set := union(gone, run)
			if err := u.cuttable(set); err != nil {
				refused = cmp.Or(refused, err)
				continue
			}
			if tries := 0; u.completes(set, &tries) {
				allowed = append(allowed, run)
			}
		}
		if n := covered(allowed); n > most {
			widest, most = allowed, n
		}
		if 2*most >= u.left(gone) {
			break
		}
	}
	if most > 0 {
		return widest, nil
	}
	if refused == nil {
		refused = fmt.Errorf("no way from there to %d layers was found", u.count)
	}
	if len(gone) > 0 {
		return nil, fmt.Errorf("%s can go, and nothing more on the way to %d layers: use the criterion %q: %w", layers.Phrase(gone), u.count, "loss", refused)
	}
	return nil, fmt.Errorf("no %d layers can be removed one after another: use the criterion %q: %w", u.count, "loss", refused)
}

// covered is the number of layers in any of the runs.
func covered(runs [][]int) int {
	layers := slices.Concat(runs...)
	slices.Sort(layers)
	return len(slices.Compact(layers))
}

// left is the number of free layers once some are gone.
func (u *units) left(gone []int) int {
	n := -len(gone)
	for _, free := range u.free {
		if free {
			n++
		}
	}
	return n
}

// runs lists the runs of size layers that are neighbours once some are gone, and
// free.
func (u *units) runs(gone []int, size int) [][]int {
	var left []int
	for l := range u.layers {
		if !slices.Contains(gone, l) {
			left = append(left, l)
		}
	}
	var runs [][]int
	for i := 0; i+size <= len(left); i++ {
		run := left[i : i+size]
		if !slices.ContainsFunc(run, func(l int) bool { return !u.free[l] }) {
			runs = append(runs, slices.Clone(run))
		}
	}
	return runs
}

// completes reports whether a set can be added to, run by run, until enough layers
// are gone. It begins with the longest runs: where anything may go, the first fits.
func (u *units) completes(gone []int, tries *int) bool {
	key := fmt.Sprint(gone)
	if u.dead[key] {
		return false
	}
	if len(gone) == u.count {
		return true
	}
	for size := u.count - len(gone); size > 0; size-- {
		for _, run := range u.runs(gone, size) {
			if *tries++; *tries > patience {
				return false
			}
			set := union(gone, run)
			if u.cuttable(set) == nil && u.completes(set, tries) {
				return true
			}
		}
	}
	u.dead[key] = *tries <= patience
	return false
}
