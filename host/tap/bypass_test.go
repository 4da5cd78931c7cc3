package tap

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"pare/host/tap/toy"
)

// without runs models without some layers until the test ends.
func without(t *testing.T, layers []int) {
	t.Helper()
	if err := Bypass(layers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = Bypass(nil) })
}

// cuts are sets of layers of a model with six.
var cuts = [][]int{{0}, {2}, {5}, {0, 1}, {2, 3}, {4, 5}, {1, 3}, {0, 2, 4}, {1, 2, 4, 5}, {0, 5}, {1, 2, 3, 4, 5}}

// A model that runs without some layers computes, bit for bit, what one does from
// which they were cut.
func TestBypassIsACut(t *testing.T) {
	for _, m := range []toy.Model{
		{Layers: 6, Hidden: 32, Seed: 1},
		{Layers: 6, Hidden: 20, Seed: 2, Prefix: "CUDA0#"},
		{Layers: 6, Hidden: 32, Seed: 3, NormAfter: true},
	} {
		for name, p := range passes {
			b := batch(m.Hidden, p.positions, p.outputs...)
			for _, layers := range cuts {
				cut := m
				cut.Cut = layers
				want := forward(t, cut, b)
				without(t, layers)
				got := forward(t, m, b)
				if err := BypassError(nil); err != nil || !slices.Equal(got.Head, want.Head) {
					t.Errorf("%+v, %s, without %v: %v, want %v (%v)", m, name, layers, got.Head, want.Head, err)
				}
				without(t, nil)
			}
		}
	}
}

// unsplit is how many of the places where a graph can be split are too near to each
// of the cuts, in models that normalise before a layer and after one.
var unsplit = map[bool][]int{
	false: {2, 2, 5, 2, 2, 5, 4, 7, 7, 6, 5},
	true:  {8, 8, 12, 8, 8, 7, 16, 26, 15, 19, 7},
}

// A pass split over two backends, wherever it is split, gives the same, or fails
// and says why where the split is in the midst of what tells a residual: between a
// norm and its weight, and in models that normalise what a layer adds, in many places
// around the layers left out.
func TestBypassOfSplitPasses(t *testing.T) {
	for _, m := range []toy.Model{
		{Layers: 6, Hidden: 32, Seed: 1},
		{Layers: 6, Hidden: 32, Seed: 1, NormAfter: true},
	} {
		b := batch(m.Hidden, []int32{0, 1, 2, 0, 1}, 2, 4)
		nodes := forward(t, m, b).Nodes
		for i, layers := range cuts {
			cut := m
			cut.Cut = layers
			b.Cuts = nil
			want := forward(t, cut, b)
			without(t, layers)
			failed := 0
			for at := 1; at < nodes; at++ {
				b.Cuts = []int{at}
				got, err := m.Forward(b)
				if err != nil {
					if BypassError(err) == err {
						t.Errorf("without %v, split at %d: %v and no reason", layers, at, err)
					}
					failed++
				} else if !slices.Equal(got.Head, want.Head) {
					t.Errorf("after norms %v, without %v, split at %d of %d: %v, want %v", m.NormAfter, layers, at, nodes, got.Head, want.Head)
				}
			}
			if limit := unsplit[m.NormAfter][i]; failed > limit {
				t.Errorf("after norms %v, without %v: %d of %d splits failed, at most %d are known to", m.NormAfter, layers, failed, nodes-1, limit)
			}
			without(t, nil)
		}
	}
}

// A pass that another one preceded, finished or failed, runs as the first one does.
func TestBypassBeginsAnew(t *testing.T) {
	small, large := toy.Model{Layers: 6, Hidden: 20, Seed: 1}, toy.Model{Layers: 6, Hidden: 32, Seed: 2, NormAfter: true}
	layers := []int{2, 3}
	cut := large
	cut.Cut = layers
	want := forward(t, cut, batch(large.Hidden, []int32{0, 1, 2}, 2))
	without(t, layers)
	for _, before := range []toy.Model{small, {Layers: 6, Hidden: 20, Seed: 1, Shortcut: 2}} {
		_, failed := before.Forward(batch(before.Hidden, []int32{0, 1}, 1))
		if refused := BypassError(failed) != nil; refused != (before.Shortcut > 0) {
			t.Fatalf("shortcut %d: %v", before.Shortcut, failed)
		}
		without(t, layers) // changes nothing
		got := forward(t, large, batch(large.Hidden, []int32{0, 1, 2}, 2))
		if err := BypassError(nil); err != nil || !slices.Equal(got.Head, want.Head) {
			t.Errorf("after shortcut %d: %v, want %v (%v)", before.Shortcut, got.Head, want.Head, err)
		}
	}
}

// A pass that failed for a reason that is not the tap's keeps it.
func TestBypassErrorOfAnother(t *testing.T) {
	without(t, []int{2})
	full := errors.New("the cache is full")
	if err := BypassError(full); err != full {
		t.Error(err)
	}
	if err := BypassError(nil); err == nil {
		t.Error("no pass at all is taken for one without the layer")
	}
}

// The layers left out are not computed: what would spoil them does not matter, and
// it is fewer nodes that the backend gets.
func TestBypassComputesNoneOfIt(t *testing.T) {
	m := toy.Model{Layers: 6, Hidden: 16, Seed: 1}
	b := batch(m.Hidden, []int32{0, 1, 2}, 2)
	cut := m
	cut.Cut = []int{2, 3}
	b.Keep = true
	whole, smaller := forward(t, m, b), forward(t, cut, b)
	without(t, cut.Cut)
	got := forward(t, m, b)
	for l := range m.Layers {
		from := l
		if l > 3 {
			from = l - 2
		}
		same := fmt.Sprint(got.Residuals[l]) == fmt.Sprint(smaller.Residuals[min(from, 3)])
		if computed := l != 3; computed != same {
			t.Errorf("x_%d: as in the smaller model %v, want %v", l, same, computed)
		}
	}
	if fmt.Sprint(got.Residuals[3]) == fmt.Sprint(whole.Residuals[3]) {
		t.Error("x_3 was computed")
	}
}

// A model whose later layers read what the ones left out compute cannot be run.
func TestBypassRefusesAShortcut(t *testing.T) {
	m := toy.Model{Layers: 6, Hidden: 16, Seed: 1, Shortcut: 2}
	b := batch(m.Hidden, []int32{0, 1, 2}, 0, 1, 2)
	forward(t, m, b)
	without(t, []int{2})
	_, failed := m.Forward(b)
	if failed == nil {
		t.Error("it was run")
	}
	if err := BypassError(failed); err == nil || err.Error() != "leave out layers: later layers use what those to leave out compute" {
		t.Error(err)
	}
	without(t, []int{4})
	if got := forward(t, m, b); math.IsNaN(float64(got.Head[0])) {
		t.Error("not a number")
	}
}

// A model whose layers are not recognised does not pass for one that ran without
// some of them, nor does one that has too few.
func TestBypassOfAStrangeModel(t *testing.T) {
	b := batch(16, []int32{0, 1, 2}, 2)
	without(t, []int{2})
	for _, m := range []toy.Model{{Layers: 3, Hidden: 16, NormName: "strange_norm.weight"}, {Layers: 2, Hidden: 16}} {
		_, failed := m.Forward(b) // it may fail, or not
		if err := BypassError(failed); err == nil || err == failed {
			t.Errorf("%+v ran without layer 2", m)
		}
	}
}

func TestBypassChecksLayers(t *testing.T) {
	for _, layers := range [][]int{{-1}, {512}} {
		if err := Bypass(layers); err == nil {
			t.Errorf("layers %v are taken", layers)
		}
	}
}
