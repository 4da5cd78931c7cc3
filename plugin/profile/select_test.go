package profile

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pare/plugin"
)

// twelve is a model whose layers 6-8 turn the stream least.
var twelve = []float64{.2, .1, .05, .06, .05, .04, .01, .012, .011, .03, .04, .2}

func input(turn []float64, chunks int, noise float64) Input {
	return Input{Model: "sha256:m", Trace: "sha256:t", Layers: len(turn),
		Chunks: simulate(turn, repeat(500, chunks), noise, 7)}
}

func TestSelectFindsTheFlattestBlock(t *testing.T) {
	for _, criterion := range []string{"angular", "cumulative", "influence"} {
		p, err := Select(input(twelve, 20, .001), plugin.Selection{Rate: .25, Criterion: criterion}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.Remove, []int{6, 7, 8}) || p.Chosen.Wins != 1 {
			t.Errorf("%s: removes %v, wins %g", criterion, p.Remove, p.Chosen.Wins)
		}
		c := p.Chosen
		if !(c.Low < c.Score && c.Score < c.High) || !reflect.DeepEqual(c.Remove, p.Remove) {
			t.Errorf("%s: %+v", criterion, c)
		}
		if len(p.Alternatives) != 5 || len(p.Notes) != 0 {
			t.Errorf("%s: alternatives %v, notes %q", criterion, p.Alternatives, p.Notes)
		}
		if !slices.IsSortedFunc(p.Alternatives, func(a, b plugin.Candidate) int { return int(math.Copysign(1, a.Score-b.Score)) }) {
			t.Errorf("%s: alternatives are not best first: %v", criterion, p.Alternatives)
		}
		if p.Model != "sha256:m" || p.Profile != "sha256:t" || p.Criterion != criterion || p.TokensUsed != "all" ||
			p.Tokens != 10000 || p.Chunks != 20 || p.Layers != 12 || p.Version != Version {
			t.Errorf("%s: %+v", criterion, p)
		}
	}
}

// The chosen block is the best of all there are, and its score is that of scoreOf
// on the profile, whatever the sums.
func TestSelectAgreesWithScoreOnRandomModels(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for trial := range 20 {
		turn := make([]float64, 5+random.IntN(12))
		for l := range turn {
			turn[l] = .3 * random.Float64()
		}
		n := 1 + random.IntN(len(turn)-2)
		chunks := simulate(turn, []int64{100, 17, 450, 3}, .05, uint64(trial))
		p, err := New(chunks)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"angular", "cumulative"} {
			best, at := math.Inf(1), -1
			for a := 0; a+n < len(turn); a++ {
				if s, err := scoreOf(name, p.All, block(a, n)); err != nil {
					t.Fatal(err)
				} else if s < best {
					best, at = s, a
				}
			}
			plan, err := Select(Input{Model: "sha256:m", Layers: len(turn), Chunks: chunks}, plugin.Selection{Layers: n, Criterion: name}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if plan.Remove[0] != at || !near(plan.Chosen.Score, best) {
				t.Errorf("%s, %d of %d: chose %v at %g, want block %d at %g", name, n, len(turn), plan.Remove, plan.Chosen.Score, at, best)
			}
		}
	}
}

func TestInfluenceNeedNotBeContiguous(t *testing.T) {
	turn := []float64{.2, .01, .2, .02, .2, .015, .2, .0}
	p, err := Select(input(turn, 20, 0), plugin.Selection{Layers: 2, Criterion: "influence"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Remove, []int{1, 5}) { // 7 is lowest, but the last
		t.Errorf("removes %v", p.Remove)
	}
	if got := p.Alternatives[0].Remove; !slices.Equal(got, []int{1, 3}) {
		t.Errorf("the next best is %v, want one layer swapped", got)
	}
	seen := map[string]bool{fmt.Sprint(p.Remove): true}
	for _, a := range p.Alternatives {
		if seen[fmt.Sprint(a.Remove)] {
			t.Errorf("%v is listed twice", a.Remove)
		}
		seen[fmt.Sprint(a.Remove)] = true
	}
}

func TestDeepestNeedsNoTrace(t *testing.T) {
	p, err := Select(Input{Layers: 12}, plugin.Selection{Layers: 4, Criterion: "deepest"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Remove, []int{7, 8, 9, 10}) || p.Chosen.Wins != 1 || p.Chosen.Score != 1 || len(p.Notes) != 0 {
		t.Errorf("%+v", p)
	}
	if got := p.Alternatives[0].Remove; !slices.Equal(got, []int{6, 7, 8, 9}) {
		t.Errorf("the next is %v", got)
	}
}

func TestTokensLastUsesTheLastSums(t *testing.T) {
	in := input(twelve, 40, 0)
	other := slices.Clone(twelve)
	other[6], other[7], other[8], other[2], other[3], other[4] = .1, .1, .1, .001, .001, .001
	for i := range in.Chunks {
		in.Chunks[i].Last = rotate(other, 1, 1)
	}
	p, err := Select(in, plugin.Selection{Layers: 3, Criterion: "angular", Tokens: "last"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Remove, []int{2, 3, 4}) || p.TokensUsed != "last" || p.Tokens != 40 || len(p.Notes) != 0 {
		t.Errorf("%+v", p)
	}
	in.Chunks = in.Chunks[:29]
	if p, err = Select(in, plugin.Selection{Layers: 3, Criterion: "angular", Tokens: "last"}, nil); err != nil || !noted(p, "29 output rows") {
		t.Errorf("%v, notes %q", err, p.Notes)
	}
}

func TestRateRounds(t *testing.T) {
	for _, c := range []struct {
		rate   float64
		layers int
		want   int
	}{{.25, 30, 8}, {.2, 32, 6}, {.01, 12, 1}, {.5, 5, 3}, {.95, 10, 0}, {.9, 10, 9}} {
		r, err := resolve(c.layers, plugin.Selection{Rate: c.rate})
		if c.want == 0 {
			if err == nil {
				t.Errorf("%g of %d layers: took %d", c.rate, c.layers, r.n)
			}
		} else if err != nil || r.n != c.want {
			t.Errorf("%g of %d layers: %d, %v, want %d", c.rate, c.layers, r.n, err, c.want)
		}
	}
}

func TestSelectRefuses(t *testing.T) {
	type selection = plugin.Selection
	for _, c := range []struct {
		sel         selection
		field, says string
	}{
		{selection{}, "rate", "nothing to remove"},
		{selection{Rate: 1}, "rate", "above 0 and below 1"},
		{selection{Rate: -.1}, "rate", "above 0 and below 1"},
		{selection{Rate: math.NaN()}, "rate", "above 0 and below 1"},
		{selection{Rate: math.Inf(1)}, "rate", "above 0 and below 1"},
		{selection{Rate: .99}, "rate", "is all of them: give at most 0.917"},
		{selection{Rate: .2, Layers: 2}, "rate", "give one"},
		{selection{Layers: 2, Remove: []int{1}}, "rate", "give one"},
		{selection{Layers: 12}, "layers", "give 1 to 11"},
		{selection{Layers: -1}, "layers", "give 1 to 11"},
		{selection{Remove: []int{}}, "remove", "names no layer"},
		{selection{Remove: []int{3, 12}}, "remove", "no layer 12: the layers are 0 to 11"},
		{selection{Remove: []int{-1}}, "remove", "no layer -1"},
		{selection{Remove: []int{3, 4, 3}}, "remove", "layer 3 is named twice"},
		{selection{Remove: block(0, 12)}, "remove", "keep at least one"},
		{selection{Remove: []int{4, 5}, Protect: []int{5}}, "protect", "layer 5 is named in remove too"},
		{selection{Layers: 2, Protect: []int{12}}, "protect", "no layer 12"},
		{selection{Layers: 2, Protect: []int{-3}}, "protect", "no layer -3"},
		{selection{Layers: 2, Criterion: "magic"}, "criterion", "auto, angular, cumulative, influence, deepest, loss, greedy"},
		{selection{Layers: 2, Tokens: "first"}, "tokens", `"all" or "last"`},
		{selection{Layers: 6, Protect: []int{3, 8}}, "protect", "no block of 6 layers avoids protected layers 3,8 and the last layer (which stays unless remove names it): the longest free block has 4"},
		{selection{Layers: 11, Protect: []int{3}, Criterion: "influence"}, "protect", "there are 10 layers, of which 11 cannot go"},
	} {
		_, err := Select(input(twelve, 2, 0), c.sel, nil)
		var blamed *SelectionError
		if !errors.As(err, &blamed) || blamed.Field != c.field || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v:\n got %v\nwant %s: … %s", c.sel, err, c.field, c.says)
		}
	}
}

func TestSelectRefusesTracesOfAnotherModel(t *testing.T) {
	in := input(twelve, 2, 0)
	in.Layers = 13
	if _, err := Select(in, plugin.Selection{Layers: 2}, nil); err == nil || !strings.Contains(err.Error(), "profile the model again") {
		t.Error(err)
	}
	if _, err := Select(Input{Layers: 1}, plugin.Selection{Layers: 1}, nil); err == nil || !strings.Contains(err.Error(), "none to spare") || plugin.KindOf(err) != plugin.Refused {
		t.Error(err)
	}
	if _, err := Select(Input{Layers: 12}, plugin.Selection{Layers: 1}, nil); !errors.Is(err, ErrUnmeasured) {
		t.Error(err)
	}
}

func TestProtectedLayersStay(t *testing.T) {
	for _, criterion := range []string{"angular", "cumulative", "influence", "deepest"} {
		p, err := Select(input(twelve, 5, .01), plugin.Selection{Layers: 3, Criterion: criterion, Protect: []int{7, 10}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range append(p.Alternatives, p.Chosen) {
			if slices.Contains(c.Remove, 7) || slices.Contains(c.Remove, 10) || slices.Contains(c.Remove, 11) {
				t.Errorf("%s proposes %v", criterion, c.Remove)
			}
		}
	}
}

func TestArchitectureHasTheLastWord(t *testing.T) {
	even := func(remove []int) error {
		if remove[0]%2 != 0 || len(remove)%2 != 0 {
			return fmt.Errorf("%v breaks a pair: the nearest cut is %d-%d", remove, remove[0]&^1, remove[0]&^1+1)
		}
		return nil
	}
	for _, criterion := range []string{"angular", "cumulative", "influence", "deepest"} {
		p, err := Select(input(twelve, 5, .001), plugin.Selection{Layers: 2, Criterion: criterion}, even)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range append(p.Alternatives, p.Chosen) {
			if even(c.Remove) != nil {
				t.Errorf("%s proposes %v", criterion, c.Remove)
			}
		}
	}
	// Nothing passes: the reason is that of the best block, 6-8.
	_, err := Select(input(twelve, 5, 0), plugin.Selection{Layers: 3, Criterion: "angular"}, even)
	if err == nil || !strings.Contains(err.Error(), "no set of 3 layers can be removed: [6 7 8] breaks a pair: the nearest cut is 6-7") {
		t.Error(err)
	}
	reason := errors.New("kept whole")
	for _, sel := range []plugin.Selection{{Layers: 3}, {Remove: []int{2, 3}}} {
		if _, err := Select(input(twelve, 5, 0), sel, func([]int) error { return reason }); !errors.Is(err, reason) {
			t.Errorf("%+v: %v", sel, err)
		}
	}
}

func noted(p plugin.Plan, part string) bool {
	return slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, part) })
}

func TestNamedLayersAreScoredAndStay(t *testing.T) {
	in := input(twelve, 20, .001)
	profile, err := New(in.Chunks)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		remove    []int
		criterion string
		note      string
	}{
		{[]int{4, 2, 3}, "angular", "layers 6-8 would score better by angular, 0.03"},
		{[]int{2, 6}, "angular", "2 blocks"},
		{[]int{10, 11}, "angular", "known for 40 output rows only, of 10,000 tokens"},
		{[]int{0, 1}, "influence", "would score better by influence"},
		{[]int{0, 1}, "deepest", "layers 9-10 would score better by deepest, 1 against 10"},
	} {
		p, err := Select(in, plugin.Selection{Remove: c.remove, Criterion: c.criterion}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want, err := scoreOf(c.criterion, profile.All, c.remove)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(p.Remove, slices.Sorted(slices.Values(c.remove))) || !near(p.Chosen.Score, want) || p.Chosen.Wins != 0 {
			t.Errorf("%v by %s: %+v, want score %g", c.remove, c.criterion, p.Chosen, want)
		}
		if !noted(p, c.note) || len(p.Alternatives) != 5 {
			t.Errorf("%v by %s: notes %q, %d alternatives", c.remove, c.criterion, p.Notes, len(p.Alternatives))
		}
		for _, a := range p.Alternatives {
			if len(a.Remove) != len(c.remove) || slices.Equal(a.Remove, p.Remove) || slices.Contains(a.Remove, 11) {
				t.Errorf("alternative %v to %v", a.Remove, c.remove)
			}
		}
	}
}

func TestNamedLayersNeedNoTrace(t *testing.T) {
	p, err := Select(Input{Layers: 12}, plugin.Selection{Remove: []int{3, 4}}, nil)
	if err != nil || !slices.Equal(p.Remove, []int{3, 4}) || len(p.Alternatives) != 0 || !noted(p, "not scored: no token") {
		t.Errorf("%+v, %v", p, err)
	}
	in := input(twelve, 20, .001)
	for i := range in.Chunks {
		in.Chunks[i].All.OutTokens = 0
	}
	p, err = Select(in, plugin.Selection{Remove: []int{10, 11}}, nil)
	if err != nil || p.Chosen.Score != 0 || len(p.Alternatives) != 5 || !noted(p, "nothing was traced after the last layer") {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestNotesTellWhatIsUncertain(t *testing.T) {
	flat := slices.Clone(twelve)
	flat[2], flat[3], flat[4] = .0111, .011, .0112
	p, err := Select(input(flat, 20, .005), plugin.Selection{Layers: 3, Criterion: "angular"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := "layers 2-4 would be as good within the noise", "layers 6-8 would be as good within the noise"
	if p.Remove[0] == 2 {
		a, b = b, a
	}
	if !noted(p, a) || noted(p, b) || p.Chosen.Wins > .95 || p.Alternatives[0].Wins < .05 {
		t.Errorf("chose %v, wins %g and %g, notes %q", p.Remove, p.Chosen.Wins, p.Alternatives[0].Wins, p.Notes)
	}
	in := input(twelve, 4, .001)
	in.Chunks[0].Faults = []plugin.Fault{{Reason: "the graph was split", Graphs: 1}}
	in.Chunks[2].Faults = []plugin.Fault{{Reason: "some tokens were left out", Graphs: 2, Counted: true}}
	in.Chunks[1].Expected += 250
	in.Chunks[2].Expected += 300
	in.Chunks[2].LeftOut = 300
	if p, err = Select(in, plugin.Selection{Layers: 3, Criterion: "angular"}, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2,000 tokens in 4 chunks", "1 graph not traced: the graph was split", "2 graphs traced, but some tokens were left out", "250 tokens of 2554 expected"} {
		if !noted(p, want) {
			t.Errorf("no note says %q: %q", want, p.Notes)
		}
	}
	if p, err = Select(input(twelve, 1, 0), plugin.Selection{Layers: 3, Criterion: "angular"}, nil); err != nil || !noted(p, "one chunk") || p.Chosen.Low != p.Chosen.High {
		t.Errorf("%v, %+v", err, p)
	}
}

func TestSelectIsDeterministic(t *testing.T) {
	for _, criterion := range []string{"angular", "cumulative", "influence", "deepest"} {
		var first plugin.Plan
		for i := range 3 {
			p, err := Select(input(twelve, 9, .02), plugin.Selection{Layers: 3, Criterion: criterion}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = p
			} else if !reflect.DeepEqual(p, first) {
				t.Errorf("%s: %+v, then %+v", criterion, first, p)
			}
		}
	}
}

// Over many simulated traces, the 95% interval should hold the true distance
// about that often: percentile intervals of 40 unequal chunks a little less.
func TestIntervalCoversTheTruth(t *testing.T) {
	const trials = 300
	random := rand.New(rand.NewPCG(5, 6))
	covered := 0
	for trial := range trials {
		tokens := make([]int64, 40)
		for i := range tokens {
			tokens[i] = 100 + int64(random.IntN(400))
		}
		chunks := simulate([]float64{.4, .3, .3}, tokens, .05, uint64(100+trial))
		s := newSample(3, chunks, false, []term{{a: 1, b: 2}})
		_, draws := s.draw()
		values := make([]float64, len(draws))
		for i, d := range draws {
			values[i] = d[0]
		}
		if low, high := interval(values); low <= .3 && .3 <= high {
			covered++
		}
	}
	if share := float64(covered) / trials; share < .89 || share > .985 {
		t.Errorf("the 95%% interval held the truth in %.1f%% of %d trials", 100*share, trials)
	} else {
		t.Logf("coverage %.1f%%", 100*share)
	}
}

// The estimate is a ratio of sums: a long chunk weighs more than a short one.
func TestLongChunksWeighMore(t *testing.T) {
	chunks := append(simulate([]float64{.4, .1, .3}, []int64{900}, 0, 1), simulate([]float64{.4, .2, .3}, []int64{100}, 0, 1)...)
	p, err := Select(Input{Model: "sha256:m", Layers: 3, Chunks: chunks}, plugin.Selection{Remove: []int{1}}, nil)
	if err != nil || !near(p.Chosen.Score, .11) {
		t.Errorf("score %g, %v, want 0.11", p.Chosen.Score, err)
	}
}

func TestSelectIsFast(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 9))
	turn := make([]float64, 80)
	for l := range turn {
		turn[l] = .01 + .01*random.Float64()
	}
	in := input(turn, 200, .005)
	for _, criterion := range []string{"angular", "cumulative", "influence", "deepest"} {
		start := time.Now()
		if _, err := Select(in, plugin.Selection{Rate: .5, Criterion: criterion}, nil); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		t.Logf("%s: %v", criterion, took)
		if took > 5*time.Second { // a second on a quiet machine
			t.Errorf("%s took %v", criterion, took)
		}
	}
}
