package search

import (
	"context"
	"math"
	"slices"
	"testing"

	"pare/plugin"
)

// On this much text the best block of 27 is beyond doubt, and what hopeless blocks
// cost is the opening.
func TestLossFindsTheBestOfAll(t *testing.T) {
	passes, exhaustive := 0, 0
	for seed := range uint64(20) {
		w := smol(t, 64, seed)
		for _, n := range []int{1, 3, 6, 15} {
			r := w.choose(w.input(n, nil), plugin.Selection{Layers: n, Criterion: "loss"}, nil)
			best := w.best(n)
			if got, want := w.mean(r.Plan.Remove, 64), w.mean(best, 64); got > want*(1+alike) {
				t.Errorf("seed %d, %d layers: %v at %.4f, best %v at %.4f", seed, n, r.Plan.Remove, got, best, want)
			}
			passes += r.passes
			exhaustive += r.exhaustive
		}
	}
	t.Logf("%.0f%% of the exhaustive passes", 100*float64(passes)/float64(exhaustive))
	if 2*passes > exhaustive {
		t.Errorf("%d passes of %d", passes, exhaustive)
	}
}

// Blocks that are all alike end the race at once, and the plan says so.
func TestTiesEndTheRaceEarly(t *testing.T) {
	w := smol(t, 200, 1)
	w.noise = .05
	w.cost = func(remove []int) float64 {
		if remove[0] == 12 || remove[0] == 17 {
			return .5
		}
		return 2
	}
	r := w.choose(w.input(3, nil), plugin.Selection{Layers: 3, Criterion: "loss"}, nil)
	if a := r.Plan.Remove[0]; a != 12 && a != 17 {
		t.Errorf("removes %v", r.Plan.Remove)
	}
	if r.passes > r.exhaustive/4 || !noted(r.Plan, "would be as good within the noise of this text") || r.Plan.Alternatives[0].Wins < rival || noted(r.Plan, "not certain") {
		t.Errorf("%d passes of %d, %+v", r.passes, r.exhaustive, r.Plan)
	}
}

func TestTheTextEndsBeforeTheDoubt(t *testing.T) {
	w := smol(t, 6, 1)
	w.noise = .5
	w.cost = func(remove []int) float64 { return 1 + .01*float64(remove[0]) }
	r := w.choose(w.input(3, nil), plugin.Selection{Layers: 3, Criterion: "loss"}, nil)
	if !noted(r.Plan, "all of the text was run and the winner is not certain") || !noted(r.Plan, "6 chunks") || r.Plan.Chunks != 6 {
		t.Errorf("%+v", r.Plan)
	}
	if r.passes != 27*6+6 {
		t.Errorf("%d passes where nothing could be told apart", r.passes)
	}
}

// A race drops the set which is best in truth no more often than it says, and yet
// drops many.
func TestTheBestIsSeldomDropped(t *testing.T) {
	const races = 400
	wrong, left := 0, 0
	for seed := range uint64(races) {
		w := smol(t, 32, seed)
		w.asked = map[string]bool{}
		w.noise = .3
		w.cost = func(remove []int) float64 { return 1 + .05*math.Abs(float64(remove[0]-12)) }
		var blocks [][]int
		for a := range 27 {
			blocks = append(blocks, blockAt(a, 3))
		}
		o, err := exhaustive(context.Background(), newTable(w.input(3, nil).Chunks, w.try, nil), blocks)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(o.running, o.row(blocks[12])) {
			wrong++
		}
		left += len(o.running)
	}
	t.Logf("dropped in %d of %d races, which left %.1f sets", wrong, races, float64(left)/races)
	if float64(wrong) > doubt*races || left > 12*races {
		t.Errorf("the best was dropped in %d of %d races, which left %d sets", wrong, races, left)
	}
}

// Over many worlds the 95% interval of the chosen rise, and of one that dropped out
// early, holds the true rise about as often.
func TestIntervalsHoldTheTruth(t *testing.T) {
	const trials = 400
	held, rivals := 0, 0
	for seed := range uint64(trials) {
		w := smol(t, 32, seed)
		w.cost = func(remove []int) float64 { return 1 + .5*math.Abs(float64(remove[0]-12)) }
		r := w.choose(w.input(3, nil), plugin.Selection{Layers: 3, Criterion: "loss"}, nil)
		inside := func(c plugin.Candidate) int {
			if truth := w.cost(c.Remove); c.Low <= truth && truth <= c.High {
				return 1
			}
			return 0
		}
		held += inside(r.Plan.Chosen)
		rivals += inside(r.Plan.Alternatives[4])
	}
	for what, n := range map[string]int{"chosen": held, "dropped": rivals} {
		if share := float64(n) / trials; share < .92 || share > .985 {
			t.Errorf("the interval of the %s held the truth in %.1f%% of %d trials", what, 100*share, trials)
		}
	}
	t.Logf("%d and %d of %d", held, rivals, trials)
}

// By hand: chunks of 1 and 3 tokens, differences of 2 and 2, so d = 4/4 = 1; the
// residuals are 1 and -1, the error sqrt(2 * 2)/4.
func TestDifferenceByHand(t *testing.T) {
	w := newTable([]int{0, 1}, nil, nil)
	w.tokens = []float64{1, 3}
	a, b := &row{nll: []float64{5, 9}}, &row{nll: []float64{3, 7}}
	if d := w.difference(a, b); d.mean != 1 || math.Abs(d.err-.5) > 1e-12 {
		t.Errorf("%+v, want 1 and 0.5", d)
	}
	b.nll = b.nll[:1]
	if d := w.difference(a, b); d.mean != 2 || !math.IsInf(d.err, 1) {
		t.Errorf("on one chunk %+v", d)
	}
}

func TestAlternativesAreBestFirst(t *testing.T) {
	for seed := range uint64(10) {
		w := smol(t, 24, seed)
		r := w.choose(w.input(3, nil), plugin.Selection{Layers: 3, Criterion: "loss"}, nil)
		if len(r.Plan.Alternatives) != listed || !slices.IsSortedFunc(r.Plan.Alternatives, func(a, b plugin.Candidate) int { return int(math.Copysign(1, a.Score-b.Score)) }) {
			t.Errorf("%+v", r.Plan.Alternatives)
		}
	}
}
