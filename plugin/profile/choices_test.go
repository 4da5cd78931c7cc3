package profile

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pare/plugin"
)

func TestSelectLeavesRunningTheModelToOthers(t *testing.T) {
	traced, bare := input(twelve, 5, .001), Input{Model: "sha256:m", Layers: 12}
	refuse := func([]int) error { return errors.New("kept whole") }
	for _, c := range []struct {
		in        Input
		criterion string
		cuttable  func([]int) error
		want      error
		says      string
	}{
		{traced, "", nil, ErrUnscored, "choose layers by auto"},
		{bare, "", nil, ErrUnmeasured, "profile the model"},
		{bare, "loss", nil, ErrUnscored, "choose layers by loss"},
		{bare, "greedy", nil, ErrUnscored, "choose layers by greedy"},
		{bare, "", refuse, nil, "kept whole"},
		{bare, "loss", refuse, nil, "kept whole"},
	} {
		_, err := Select(c.in, plugin.Selection{Layers: 3, Criterion: c.criterion}, c.cuttable)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.criterion, err)
		}
	}
}

// Named layers need no run, so a criterion that runs the model is not in the way.
func TestNamedLayersAreJudgedByDistance(t *testing.T) {
	for _, criterion := range []string{"", "auto", "loss", "greedy"} {
		p, err := Select(input(twelve, 20, .001), plugin.Selection{Remove: []int{2, 3, 4}, Criterion: criterion}, nil)
		if err != nil || p.Criterion != "angular" || p.Chosen.Score == 0 {
			t.Errorf("%q: %+v, %v", criterion, p, err)
		}
		p, err = Select(Input{Layers: 12}, plugin.Selection{Remove: []int{2, 3, 4}, Criterion: criterion}, nil)
		if err != nil || !slices.Equal(p.Remove, []int{2, 3, 4}) {
			t.Errorf("%q without a trace: %+v, %v", criterion, p, err)
		}
	}
}

func TestChoicesOfAutoAreRankedByDistance(t *testing.T) {
	in := input(twelve, 20, .001)
	in.Chunks[3].Faults = []plugin.Fault{{Reason: "the graph was split", Graphs: 1}}
	odd := func(remove []int) error {
		if remove[0]%2 == 0 {
			return fmt.Errorf("%v", remove)
		}
		return nil
	}
	c, err := Choose(in, plugin.Selection{Rate: .25, Protect: []int{0}}, odd)
	if err != nil || c.Criterion != "auto" || c.Count != 3 || len(c.Notes) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	// Of twelve's turns: 7-9 is .053, 5-7 .062, 3-5 .15, 1-3 .21.
	if want := [][]int{{7, 8, 9}, {5, 6, 7}, {3, 4, 5}, {1, 2, 3}}; !reflect.DeepEqual(c.Blocks, want) {
		t.Errorf("blocks %v, want %v", c.Blocks, want)
	}
	angular, err := Select(in, plugin.Selection{Rate: .25, Criterion: "angular", Protect: []int{0}}, odd)
	if err != nil || !slices.Equal(angular.Remove, c.Blocks[0]) {
		t.Errorf("angular removes %v, %v", angular.Remove, err)
	}
}

func TestChoicesWithoutATrace(t *testing.T) {
	in := Input{Layers: 12}
	c, err := Choose(in, plugin.Selection{Layers: 9, Criterion: "loss", Protect: []int{0}}, nil)
	if want := [][]int{block(1, 9), block(2, 9)}; err != nil || !reflect.DeepEqual(c.Blocks, want) {
		t.Errorf("%+v, %v", c, err)
	}
	// No block of six avoids layer 5, and six layers do.
	c, err = Choose(in, plugin.Selection{Layers: 6, Criterion: "greedy", Protect: []int{5}}, nil)
	if want := []int{0, 1, 2, 3, 4, 6, 7, 8, 9, 10}; err != nil || !slices.Equal(c.Free, want) {
		t.Errorf("%+v, %v", c, err)
	}
	var blamed *SelectionError
	if _, err = Choose(in, plugin.Selection{Layers: 6, Criterion: "loss", Protect: []int{5}}, nil); !errors.As(err, &blamed) || blamed.Field != "protect" {
		t.Error(err)
	}
	if _, err = Choose(in, plugin.Selection{Layers: 6}, nil); !errors.Is(err, ErrUnmeasured) {
		t.Error(err)
	}
	for _, sel := range []plugin.Selection{{Layers: 6, Criterion: "deepest"}, {Remove: []int{3}}} {
		if _, err = Choose(in, sel, nil); err == nil {
			t.Errorf("%+v: took it", sel)
		}
	}
}

func TestHalfIsAFairHalf(t *testing.T) {
	chunks := make([]int, 101)
	for i := range chunks {
		chunks[i] = i
	}
	a, again, b := Half(chunks, 1), Half(chunks, 1), Half(chunks, 2)
	if !slices.Equal(a, again) || slices.Equal(a, b) {
		t.Errorf("seed 1: %v, then %v; seed 2: %v", a, again, b)
	}
	if len(a) != 51 || a[50] != 100 {
		t.Errorf("half of 101 is %v", a)
	}
	for i, c := range a {
		if c/2 != i {
			t.Errorf("%d is from pair %d, not %d", c, c/2, i)
		}
	}
	if got := Half([]int(nil), 1); len(got) != 0 {
		t.Error(got)
	}
}
