package convert

import (
	"cmp"
	"math"
	"slices"
)

// What a cut that was not asked for costs: a layer spared or one taken in
// addition counts layerCost, the latter once more for each layer that lies
// between, and each run of removed layers counts 1, so that of equally near cuts
// the least scattered wins.
const layerCost = 1 << 12

// nearest returns the possible cut that differs least from the wanted one, or nil
// if there is none. Of equally near ones it prefers the smaller, then the earlier.
//
// Whether a layer may stay depends only on how many go before it, so one pass
// over the layers with that number as the state finds the best cut of every size.
func (m Model) nearest(wanted []bool) []int {
	search := newSearch(m, wanted)
	for i := range m.Layers {
		search.step(i)
	}
	sizes := search.sizes()
	for _, n := range sizes {
		if m.end(n) != "" {
			continue
		}
		if cut := search.cut(n); m.refusal(cut) == "" {
			return indices(cut)
		}
	}
	return nil
}

// search holds, for the layers seen so far, the cheapest way to have removed n of
// them with the last one removed (1) or kept (0), and how it came about.
type search struct {
	m      Model
	wanted []bool
	extra  []int        // cost of removing each layer
	cost   [][2]int     // by n
	from   [][][2]wayOf // by layer, then n: whether the layer before was removed
}

// wayOf is the state of the layer before: removed (1) or kept (0).
type wayOf = uint8

const never = math.MaxInt / 2

func newSearch(m Model, wanted []bool) *search {
	s := &search{m: m, wanted: wanted, extra: make([]int, m.Layers), cost: make([][2]int, m.Layers+1)}
	for n := range s.cost {
		s.cost[n] = [2]int{never, never}
	}
	s.cost[0][0] = 0
	for i := range s.extra {
		s.extra[i] = layerCost * distance(wanted, i)
	}
	return s
}

// distance is how many places layer i is away from the nearest wanted one.
func distance(wanted []bool, i int) int {
	best := len(wanted)
	for j, w := range wanted {
		if w {
			best = min(best, max(i-j, j-i))
		}
	}
	return best
}

// step decides what may happen to layer i, for each number of layers gone before.
func (s *search) step(i int) {
	next := make([][2]int, len(s.cost))
	ways := make([][2]wayOf, len(s.cost))
	_, mayGo := s.m.rules.leave(i)
	for n := range next {
		next[n] = [2]int{never, never}
		if n <= i && s.mayStay(i, n) {
			next[n][0], ways[n][0] = cheaper(s.cost[n], 0)
			if s.wanted[i] {
				next[n][0] += layerCost
			}
		}
		if n > 0 && mayGo {
			next[n][1], ways[n][1] = cheaper(s.cost[n-1], 1)
			next[n][1] += s.extra[i]
		}
	}
	s.cost, s.from = next, append(s.from, ways)
}

// mayStay reports whether layer i may stay if n go before it.
func (s *search) mayStay(i, n int) bool {
	return s.m.rules.move(i, i-n) == "" && (n < i || s.m.rules.begin(i) == "")
}

// cheaper picks the better predecessor; a run that begins costs run.
func cheaper(cost [2]int, run int) (int, wayOf) {
	if cost[0]+run <= cost[1] {
		return min(cost[0]+run, never), 0
	}
	return min(cost[1], never), 1
}

// sizes returns the sizes of cut that can be reached, the nearest first.
func (s *search) sizes() []int {
	var sizes []int
	for n := 1; n < s.m.Layers; n++ {
		if min(s.cost[n][0], s.cost[n][1]) < never {
			sizes = append(sizes, n)
		}
	}
	slices.SortStableFunc(sizes, func(a, b int) int {
		return cmp.Compare(min(s.cost[a][0], s.cost[a][1]), min(s.cost[b][0], s.cost[b][1]))
	})
	return sizes
}

// cut walks back along the cheapest way to remove n layers.
func (s *search) cut(n int) []bool {
	cut := make([]bool, s.m.Layers)
	_, way := cheaper(s.cost[n], 0)
	for i := s.m.Layers - 1; i >= 0; i-- {
		before := s.from[i][n][way]
		if cut[i] = way == 1; cut[i] {
			n--
		}
		way = before
	}
	return cut
}

// indices lists what is marked.
func indices(marked []bool) []int {
	var out []int
	for i, on := range marked {
		if on {
			out = append(out, i)
		}
	}
	return out
}
