package tap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pare/host/tap/toy"
	"pare/plugin"
)

// watch observes points until the test ends.
func watch(t *testing.T, points []plugin.Point, whole bool) {
	t.Helper()
	if err := Observe(points, whole); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Observe(nil, false) })
}

// everyPoint is every point of a model, or those of some of its layers' inputs.
func everyPoint(m toy.Model) (points []plugin.Point) {
	for l := range m.Layers + 1 {
		points = append(points, plugin.Point{Layer: l})
		if m.FeedForward != "" && l < m.Layers {
			points = append(points, plugin.Point{Layer: l, Attended: true})
		}
	}
	return points
}

// at is what a model computes at a point, row by row.
func at(r toy.Result, p plugin.Point) []float32 {
	switch {
	case p.Attended:
		return slices.Concat(r.Attended[p.Layer]...)
	case p.Layer == len(r.Residuals):
		return slices.Concat(r.Final...)
	}
	return slices.Concat(r.Residuals[p.Layer]...)
}

// kept is what a pass that nobody observes computes, with the residuals that the
// engine is told to keep.
func kept(t *testing.T, m toy.Model, b toy.Batch) toy.Result {
	t.Helper()
	watch(t, nil, true)
	b.Keep, b.Cuts = true, nil
	return forward(t, m, b)
}

// wholeBatch is a batch of five tokens with the logits of all.
func wholeBatch(m toy.Model) toy.Batch {
	return batch(m.Hidden, []int32{0, 1, 2, 0, 1}, 0, 1, 2, 3, 4)
}

var observable = []toy.Model{
	{Layers: 4, Hidden: 32, Seed: 1},
	{Layers: 5, Hidden: 20, Seed: 2, Prefix: "CUDA0#"},
	{Layers: 4, Hidden: 32, Seed: 3, NormAfter: true},
	{Layers: 4, Hidden: 32, Seed: 4, FeedForward: "behind"},
	{Layers: 4, Hidden: 32, Seed: 5, FeedForward: "behind", NormAfter: true},
}

// What is observed is what the engine computes, bit for bit, at all points at once
// and at each alone, in passes that run whole and those that end behind it; several
// passes are put together.
func TestObserved(t *testing.T) {
	for _, m := range observable {
		b := wholeBatch(m)
		want := kept(t, m, b)
		sets := [][]plugin.Point{everyPoint(m)}
		for _, p := range everyPoint(m) {
			sets = append(sets, []plugin.Point{p})
		}
		for _, points := range sets {
			for _, whole := range []bool{true, false} {
				watch(t, points, whole)
				if got := forward(t, m, b); whole && !slices.Equal(got.Head, want.Head) {
					t.Errorf("%+v at %v: the result differs from that of no observer", m, points)
				}
				forward(t, m, b)
				states := make([][]float32, len(points))
				n, err := Observed(states)
				if err != nil || n != 10 {
					t.Fatalf("%+v at %v, whole %v: %d tokens, %v", m, points, whole, n, err)
				}
				for i, p := range points {
					if x := at(want, p); !slices.Equal(states[i], slices.Concat(x, x)) {
						t.Errorf("%+v at %v, whole %v: another residual than the engine's", m, p, whole)
					}
				}
			}
		}
	}
}

// A pass split over two backends, wherever it is split, gives the same or says that
// a point was not found: it is between a norm and its weight, or within a sum.
func TestObservedOfSplitPasses(t *testing.T) {
	for _, m := range observable {
		points := everyPoint(m)
		b := wholeBatch(m)
		want := kept(t, m, b)
		nodes := forward(t, m, b).Nodes
		for _, whole := range []bool{true, false} {
			failed := 0
			for cut := 1; cut < nodes; cut++ {
				b.Cuts = []int{cut}
				watch(t, points, whole)
				forward(t, m, b)
				states := make([][]float32, len(points))
				if _, err := Observed(states); err != nil {
					failed++
					continue
				}
				for i, p := range points {
					if !slices.Equal(states[i], at(want, p)) {
						t.Errorf("%+v split at %d of %d: another residual at %v than the engine's", m, cut, nodes, p)
					}
				}
			}
			if limit := 5 * m.Layers; failed > limit {
				t.Errorf("%+v: %d of %d splits failed, at most %d are known to", m, failed, nodes-1, limit)
			}
		}
	}
}

// A pass that ends behind the last point computes nothing after it.
func TestObservedEndsEarly(t *testing.T) {
	m := observable[3]
	b := wholeBatch(m)
	b.Keep = true
	want := forward(t, m, b)
	watch(t, []plugin.Point{{Layer: 2}}, false)
	got := forward(t, m, b)
	if !slices.Equal(at(got, plugin.Point{Layer: 2}), at(want, plugin.Point{Layer: 2})) {
		t.Error("x_2 was not computed")
	}
	if slices.Equal(at(got, plugin.Point{Layer: 3}), at(want, plugin.Point{Layer: 3})) {
		t.Error("x_3 was computed")
	}
}

// What is not there, or not for all tokens, is not made up, and the next pass is as if
// it had not been asked for.
func TestObservedRefuses(t *testing.T) {
	usual, behind, beside, strange := observable[0], observable[3], observable[3], observable[0]
	beside.FeedForward = "beside"
	strange.NormName = "strange_norm.weight"
	few := batch(usual.Hidden, []int32{0, 1, 2}, 2)
	turned := batch(usual.Hidden, []int32{0, 1, 2}, 2, 1, 0)
	for _, c := range []struct {
		name  string
		model toy.Model
		batch toy.Batch
		point plugin.Point
		says  string
	}{
		{"no such layer", usual, wholeBatch(usual), plugin.Point{Layer: 5}, "x_5 was not found"},
		{"no feed-forward", usual, wholeBatch(usual), plugin.Point{Layer: 2, Attended: true}, "feed-forward of layer 2"},
		{"feed-forward beside attention", beside, wholeBatch(usual), plugin.Point{Layer: 2, Attended: true}, "feed-forward of layer 2"},
		{"no layers", strange, wholeBatch(usual), plugin.Point{Layer: 2}, "no layers were recognised"},
		{"few logits", usual, few, plugin.Point{Layer: 4}, "not computed for all tokens"},
		{"few logits in the last layer", behind, few, plugin.Point{Layer: 3, Attended: true}, "not computed for all tokens"},
		{"logits out of turn", usual, turned, plugin.Point{Layer: 4}, "in their order"},
	} {
		for _, whole := range []bool{true, false} {
			watch(t, []plugin.Point{c.point}, whole)
			forward(t, c.model, c.batch)
			if _, err := Observed(make([][]float32, 1)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: error %v, want %q", c.name, err, c.says)
			}
			watch(t, []plugin.Point{{Layer: 1}}, whole)
			forward(t, usual, few)
			if n, err := Observed(make([][]float32, 1)); err != nil || n != 3 {
				t.Errorf("after %s: %d tokens, %v", c.name, n, err)
			}
		}
	}
}

// Two models one after the other in one observation are not put together.
func TestObservedOfTwoModels(t *testing.T) {
	watch(t, []plugin.Point{{Layer: 1}}, true)
	forward(t, observable[0], wholeBatch(observable[0]))
	forward(t, observable[1], wholeBatch(observable[1]))
	if _, err := Observed(make([][]float32, 1)); err == nil || !strings.Contains(err.Error(), "width") {
		t.Error(err)
	}
}

// Observing ends where something else begins.
func TestObserveAndOthers(t *testing.T) {
	m := observable[0]
	want := forward(t, m, wholeBatch(m))
	watch(t, []plugin.Point{{Layer: 1}}, false)
	without(t, []int{2})
	forward(t, m, wholeBatch(m))
	if err := BypassError(nil); err != nil {
		t.Error(err)
	}
	without(t, nil)
	if got := forward(t, m, wholeBatch(m)); !slices.Equal(got.Head, want.Head) {
		t.Error("another result with nothing asked for")
	}
	if err := Observe(make([]plugin.Point, 513), true); err == nil {
		t.Error(fmt.Errorf("513 points are taken"))
	}
}
