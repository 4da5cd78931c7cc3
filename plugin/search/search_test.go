package search

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pare/plugin"
	"pare/plugin/profile"
)

// distances rank blocks as their cost does.
func distances(w *world, n int) func(a int) float64 {
	return func(a int) float64 { return min(1, .01*w.cost(blockAt(a, n))) }
}

func TestTheSameLossesGiveTheSameResult(t *testing.T) {
	for _, criterion := range []string{"auto", "loss", "greedy"} {
		w := smol(t, 12, 5)
		sel := plugin.Selection{Layers: 4, Criterion: criterion}
		first := w.choose(w.input(4, distances(w, 4)), sel, nil)
		for range 3 {
			if r := w.choose(w.input(4, distances(w, 4)), sel, nil); !reflect.DeepEqual(r, first) {
				t.Errorf("%s: %+v, then %+v", criterion, first, r)
			}
		}
	}
}

func TestNamedLayersAreNotRun(t *testing.T) {
	in := Input{Profile: profile.Input{Model: "sha256:m", Layers: 12}}
	r, err := Select(context.Background(), in, plugin.Selection{Remove: []int{4, 5}, Criterion: "loss"}, nil, nil, nil)
	if err != nil || !slices.Equal(r.Remove, []int{4, 5}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestSelectRefuses(t *testing.T) {
	w := smol(t, 4, 1)
	for _, c := range []struct {
		in   Input
		sel  plugin.Selection
		says string
	}{
		{w.input(3, nil), plugin.Selection{Layers: 3}, "no token was traced: profile the model"},
		{w.input(3, nil), plugin.Selection{Layers: 3, Criterion: "angular"}, "it does not run the model"},
		{w.input(3, nil), plugin.Selection{Layers: 30, Criterion: "loss"}, "give 1 to 29"},
		{w.input(3, nil), plugin.Selection{Criterion: "loss"}, "nothing to remove"},
		{Input{Profile: w.input(3, nil).Profile}, plugin.Selection{Layers: 3, Criterion: "loss"}, "there is no text"},
		{w.input(3, nil), plugin.Selection{Layers: 20, Criterion: "greedy", Protect: blockAt(0, 15)}, "remove fewer or protect fewer"},
	} {
		_, err := Select(context.Background(), c.in, c.sel, nil, w.try, nil)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v:\n got %v\nwant … %s", c.sel, err, c.says)
		}
	}
}

func TestCancelStopsTheSearch(t *testing.T) {
	for _, criterion := range []string{"auto", "loss", "greedy"} {
		w := smol(t, 40, 1)
		w.asked = map[string]bool{}
		ctx, cancel := context.WithCancel(context.Background())
		calls := 0
		try := func(ctx context.Context, sets [][]int, chunks []int) ([][]Loss, error) {
			if calls++; calls == 2 {
				cancel()
			}
			return w.try(context.Background(), sets, chunks) // does not look at ctx
		}
		_, err := Select(ctx, w.input(3, distances(w, 3)), plugin.Selection{Layers: 3, Criterion: criterion}, nil, try, nil)
		if !errors.Is(err, context.Canceled) || calls != 2 {
			t.Errorf("%s: %v after %d calls", criterion, err, calls)
		}
	}
}

func TestErrorsOfTheRunComeThrough(t *testing.T) {
	broken := errors.New("the scorer went away")
	fail := func(losses [][]Loss, err error) Try {
		return func(context.Context, [][]int, []int) ([][]Loss, error) { return losses, err }
	}
	change := func(f func(set []int, c int, l *Loss)) Try {
		return func(_ context.Context, sets [][]int, chunks []int) ([][]Loss, error) {
			out := make([][]Loss, len(sets))
			for i, set := range sets {
				for _, c := range chunks {
					l := Loss{100, 300 + float64(len(set))}
					f(set, c, &l)
					out[i] = append(out[i], l)
				}
			}
			return out, nil
		}
	}
	for says, try := range map[string]Try{
		"the scorer went away":      fail(nil, broken),
		"27 sets of layers were to": fail(make([][]Loss, 5), nil),
		"4 chunks were to be run":   fail(make([][]Loss, 27), nil),
		"chunk 2 has 0 tokens":      change(func(_ []int, c int, l *Loss) { l.Tokens -= int64(c/2) * 100 }),
		"chunk 1 has 101 tokens": change(func(set []int, c int, l *Loss) {
			if c == 1 && set[0] == 7 {
				l.Tokens++
			}
		}),
		"without any of these sets": change(func(set []int, _ int, l *Loss) { l.NLL = math.NaN() }),
		"loss of the whole model": change(func(set []int, _ int, l *Loss) {
			if len(set) == 0 {
				l.NLL = math.Inf(1)
			}
		}),
	} {
		w := smol(t, 8, 1)
		_, err := Select(context.Background(), w.input(3, nil), plugin.Selection{Layers: 3, Criterion: "loss"}, nil, try, nil)
		if err == nil || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "choose layers by loss: ") {
			t.Errorf("got %v\nwant … %s", err, says)
		}
		if says == broken.Error() && !errors.Is(err, broken) {
			t.Errorf("%v does not wrap the run's error", err)
		}
	}
}

// A loss that is not finite takes a set out of the race, and nothing else.
func TestBrokenCutsDropOut(t *testing.T) {
	for _, criterion := range []string{"auto", "loss", "greedy"} {
		w := smol(t, 20, 4)
		sound := w.cost
		w.cost = func(remove []int) float64 {
			if remove[0] < 9 || slices.Contains(remove, 13) {
				return math.Inf(1)
			}
			return sound(remove)
		}
		r := w.choose(w.input(3, func(a int) float64 { return .02 * float64(a) }), plugin.Selection{Layers: 3, Criterion: criterion}, nil)
		for _, c := range append(r.Plan.Alternatives, r.Plan.Chosen) {
			if c.Remove[0] < 9 || slices.Contains(c.Remove, 13) || !finite(c.Score) || !finite(c.Low) || !finite(c.High) {
				t.Errorf("%s lists %+v", criterion, c)
			}
		}
	}
}

func TestOneChunkIsAllThereIs(t *testing.T) {
	for _, criterion := range []string{"auto", "loss", "greedy"} {
		w := smol(t, 1, 2)
		r := w.choose(w.input(3, distances(w, 3)), plugin.Selection{Layers: 3, Criterion: criterion}, nil)
		if c := r.Plan.Chosen; c.Low != c.High || !noted(r.Plan, "one chunk of text") || r.Plan.Chunks != 1 {
			t.Errorf("%s: %+v", criterion, r)
		}
		if criterion == "loss" && (r.passes != 28 || !slices.Equal(r.Plan.Remove, w.best(3))) {
			t.Errorf("removes %v after %d passes", r.Plan.Remove, r.passes)
		}
	}
}

func TestAllLayersButTheLast(t *testing.T) {
	for _, criterion := range []string{"auto", "loss", "greedy"} {
		w := smol(t, 12, 2)
		w.layers = 6
		r := w.choose(w.input(5, func(int) float64 { return .4 }), plugin.Selection{Layers: 5, Criterion: criterion}, nil)
		if !slices.Equal(r.Plan.Remove, blockAt(0, 5)) || r.Plan.Chosen.Wins < .999 || r.Plan.Criterion != criterion {
			t.Errorf("%s: %+v", criterion, r.Plan)
		}
		if criterion != "greedy" && (r.passes != 8 || len(r.Plan.Alternatives) != 0) {
			t.Errorf("%s: %d passes for the only block, alternatives %v", criterion, r.passes, r.Plan.Alternatives)
		}
	}
}

func TestProtectedLayersStay(t *testing.T) {
	for _, criterion := range []string{"auto", "loss", "greedy"} {
		w := smol(t, 12, 2)
		r := w.choose(w.input(3, distances(w, 3)), plugin.Selection{Layers: 3, Criterion: criterion, Protect: []int{12, 15}}, nil)
		for _, c := range append(r.Plan.Alternatives, r.Plan.Chosen) {
			if slices.Contains(c.Remove, 12) || slices.Contains(c.Remove, 15) {
				t.Errorf("%s proposes %v", criterion, c.Remove)
			}
		}
	}
}

func TestHalvesAreChosenFromAlike(t *testing.T) {
	w := smol(t, 40, 6)
	in := w.input(3, nil)
	in.Chunks = profile.Half(in.Chunks, 1)
	w.asked = map[string]bool{}
	_, err := Select(context.Background(), in, plugin.Selection{Layers: 3, Criterion: "loss"}, nil, func(ctx context.Context, sets [][]int, chunks []int) ([][]Loss, error) {
		for _, c := range chunks {
			if !slices.Contains(in.Chunks, c) {
				t.Errorf("chunk %d is not in the half", c)
			}
		}
		return w.try(ctx, sets, chunks)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}
