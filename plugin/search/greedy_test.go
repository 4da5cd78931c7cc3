package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pare/plugin"
)

// Where costs add up, the greedy choice is the best there is: the cheapest layers.
func TestGreedyFindsTheCheapestLayers(t *testing.T) {
	w := smol(t, 24, 1)
	cheap := []int{3, 8, 9, 14, 21, 25}
	w.cost = func(remove []int) float64 {
		sum := 0.
		for _, l := range remove {
			if i := slices.Index(cheap, l); i >= 0 {
				sum += .1 + .05*float64(i)
			} else {
				sum += 1 + .02*float64(l)
			}
		}
		return sum
	}
	for n := 1; n <= len(cheap); n++ {
		r := w.choose(w.input(n, nil), plugin.Selection{Layers: n, Criterion: "greedy"}, nil)
		if !slices.Equal(r.Plan.Remove, cheap[:n]) {
			t.Errorf("%d layers: %v, want %v", n, r.Plan.Remove, cheap[:n])
		}
		if n == 6 && (!noted(r.Plan, "in this order: 3, 8, 9, 14, 21, 25") || r.passes > r.exhaustive/3) {
			t.Errorf("%d passes of %d, notes %q", r.passes, r.exhaustive, r.Plan.Notes)
		}
	}
}

// A layer that was cheap and is not any more, once another is gone, is passed over.
func TestGreedyLooksAgain(t *testing.T) {
	w := smol(t, 24, 1)
	w.cost = func(remove []int) float64 {
		sum := 0.
		for _, l := range remove {
			sum += .2 + .03*float64(l)
		}
		if slices.Contains(remove, 0) && slices.Contains(remove, 1) {
			sum += 5
		}
		return sum
	}
	r := w.choose(w.input(3, nil), plugin.Selection{Layers: 3, Criterion: "greedy"}, nil)
	if want := []int{0, 2, 3}; !slices.Equal(r.Plan.Remove, want) {
		t.Errorf("%v, want %v", r.Plan.Remove, want)
	}
}

// alternating is a model in which every fourth layer is of another kind, and each
// that remains must keep its kind.
func alternating(layers int) func([]int) error {
	return func(remove []int) error {
		moved := 0
		for l := range layers {
			if slices.Contains(remove, l) {
				moved++
			} else if (l%4 == 3) != ((l-moved)%4 == 3) {
				return fmt.Errorf("layer %d would become layer %d", l, l-moved)
			}
		}
		return nil
	}
}

// The single layer 12 may go from 14 layers, and leads to no four that may.
func TestGreedyFallsBackOnWhatIsAllowed(t *testing.T) {
	w := smol(t, 12, 1)
	w.layers = 14
	w.cost = func(remove []int) float64 { return 1 + .1*float64((remove[0]-5)*(remove[0]-5)) }
	cuttable := alternating(w.layers)
	if cuttable([]int{12}) != nil {
		t.Fatal("the test needs a single layer that may go")
	}
	r := w.choose(w.input(4, nil), plugin.Selection{Layers: 4, Criterion: "greedy"}, cuttable)
	if !slices.Equal(r.Plan.Remove, blockAt(5, 4)) {
		t.Errorf("removes %v", r.Plan.Remove)
	}
	for _, n := range []int{1, 3, 5, 8, 9} {
		r := w.choose(w.input(n, nil), plugin.Selection{Layers: n, Criterion: "greedy"}, cuttable)
		if err := cuttable(r.Plan.Remove); err != nil || len(r.Plan.Remove) != n {
			t.Errorf("%d layers: %v: %v", n, r.Plan.Remove, err)
		}
	}
	for _, n := range []int{2, 6} {
		_, err := Select(context.Background(), w.input(n, nil), plugin.Selection{Layers: n, Criterion: "greedy"}, cuttable, w.try, nil)
		if err == nil || !strings.Contains(err.Error(), "would become layer") || !strings.Contains(err.Error(), `use the criterion "loss"`) {
			t.Errorf("%d layers: %v", n, err)
		}
	}
}

func TestGreedyTellsWhyNothingMayGo(t *testing.T) {
	whole := errors.New("kept whole")
	w := smol(t, 12, 1)
	_, err := Select(context.Background(), w.input(2, nil), plugin.Selection{Layers: 2, Criterion: "greedy"}, func([]int) error { return whole }, w.try, nil)
	if !errors.Is(err, whole) {
		t.Error(err)
	}
}
