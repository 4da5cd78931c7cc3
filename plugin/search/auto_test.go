package search

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pare/plugin"
)

// On text held out, the block that auto chooses is within 2% of the one that
// running all blocks on all text chooses, for a quarter of the passes, whether the
// trace is of good text or misleads altogether.
func TestAutoFindsTheBestForAQuarter(t *testing.T) {
	const chunks, held = 40, 400
	for _, mislead := range []bool{false, true} {
		passes, exhaustive, worst := 0, 0, 0.
		for seed := range uint64(40) {
			w := smol(t, chunks, seed)
			for _, n := range []int{3, 6, 9} {
				random := rand.New(rand.NewPCG(seed, uint64(n)))
				rank := func(a int) float64 {
					d := .1 + .02*w.cost(blockAt(a, n))*(1+.3*random.NormFloat64())
					if mislead {
						d = .9 - d/4
					}
					return min(max(d, 0), 1)
				}
				r := w.choose(w.input(n, rank), plugin.Selection{Layers: n}, nil)
				if want := (30 - n) * chunks; r.exhaustive != want || 4*r.passes > want {
					t.Errorf("seed %d, %d layers: %d passes, of %d (%d wanted)", seed, n, r.passes, r.exhaustive, want)
				}
				passes += r.passes
				exhaustive += r.exhaustive
				loss, best := w.between(r.Plan.Remove, chunks, chunks+held), w.between(w.best(n), chunks, chunks+held)
				worst = max(worst, loss/best-1)
				if loss > 1.02*best {
					t.Errorf("seed %d, %d layers, misled %v: %v has a loss of %.4f, the best %.4f; notes %q", seed, n, mislead, r.Plan.Remove, loss, best, r.Plan.Notes)
				}
			}
		}
		t.Logf("misled %v: %.1f%% of the passes, at worst %.2f%% above the best", mislead, 100*float64(passes)/float64(exhaustive), 100*worst)
	}
}

func TestAutoTellsWhenTheTraceMisled(t *testing.T) {
	w := smol(t, 40, 3)
	w.cost = func(remove []int) float64 { // 20-25 is best, and its neighbours are not
		return []float64{.4, 3, 2, 2.5}[(remove[0]-20)&3] + .1*math.Abs(float64(remove[0]-20))
	}
	good := w.choose(w.input(6, func(a int) float64 { return .01 * w.cost(blockAt(a, 6)) }), plugin.Selection{Layers: 6}, nil)
	bad := w.choose(w.input(6, func(a int) float64 { return .5 - .01*w.cost(blockAt(a, 6)) }), plugin.Selection{Layers: 6}, nil)
	if want := blockAt(20, 6); !slices.Equal(good.Plan.Remove, want) || !slices.Equal(bad.Plan.Remove, want) {
		t.Errorf("%v, or misled %v", good.Plan.Remove, bad.Plan.Remove)
	}
	const says = "number 24 of 24"
	if says := "runs of the model, of the"; !noted(good.Plan, says) {
		t.Errorf("notes %q", good.Plan.Notes)
	}
	if noted(good.Plan, "by angular distance") || !noted(bad.Plan, says) {
		t.Errorf("notes %q and, misled, %q", good.Plan.Notes, bad.Plan.Notes)
	}
	if good.Plan.Criterion != "auto" || good.Plan.Profile != "sha256:t" || good.Plan.TokensUsed != "all" || good.Plan.Model != "sha256:m" || good.Plan.Layers != 30 {
		t.Errorf("%+v", good.Plan)
	}
}

func TestAutoKeepsTheTracesNotes(t *testing.T) {
	w := smol(t, 20, 3)
	in := w.input(3, func(a int) float64 { return .01 * w.cost(blockAt(a, 3)) })
	in.Profile.Chunks[0].Faults = []plugin.Fault{{Reason: "the graph was split", Graphs: 1}}
	if r := w.choose(in, plugin.Selection{Layers: 3}, nil); !noted(r.Plan, "the graph was split") {
		t.Errorf("notes %q", r.Plan.Notes)
	}
}

func TestSpreadFillsTheWidestGaps(t *testing.T) {
	at := func(places ...int) (sets [][]int) {
		for _, a := range places {
			sets = append(sets, blockAt(a, 3))
		}
		return sets
	}
	rest := at(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26)
	var got []int
	for _, b := range spread(rest, at(10, 11, 12, 13, 14, 15, 16, 17), 4) {
		got = append(got, b[0])
	}
	if want := []int{4, 22, 7, 1}; !slices.Equal(got, want) {
		t.Errorf("picked %v, want %v", got, want)
	}
	if got := spread(rest, nil, 19); len(got) != 19 {
		t.Errorf("picked %d of 19", len(got))
	}
}

func noted(p plugin.Plan, part string) bool {
	return slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, part) })
}
