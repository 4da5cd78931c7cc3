package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pare/plugin"
	"pare/plugin/corpus"
)

// plan asks for a plan from what is kept.
func (b *bench) plan(sel plugin.Selection) (plugin.Plan, error) {
	return Pipeline{Version: "test"}.Plan(b.t.Context(), plugin.PlanRequest{
		Model: b.model.Digest, Path: b.model.Path, Folder: b.job.Profile.Folder, Selection: sel,
	})
}

// TestPlanFromKeptScores asks for the plan of a job again: it is the same, and
// nothing is run for it.
func TestPlanFromKeptScores(t *testing.T) {
	for _, criterion := range []string{"", "auto", "loss", "greedy", "angular", "influence", "deepest"} {
		t.Run(criterion, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.profile(b.job.Profile)
			b.job.DryRun = true
			b.job.Selection = plugin.Selection{Rate: 0.25, Criterion: criterion, Protect: []int{1}}
			want := b.mustPrune().Plan
			runs, calls := b.onlyOnce(t), b.calls
			got, err := b.plan(b.job.Selection)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("planned %+v, %v, want %+v", got, err, want)
			}
			if b.onlyOnce(t) != runs || b.calls != calls {
				t.Errorf("%d runs and %d calls more", len(b.runs)-runs, b.calls-calls)
			}
			if compares := runs > 0; compares != (len(want.Text) > 0) {
				t.Errorf("%d runs, and the plan says it was made by running %v", runs, want.Text)
			}
			if slices.Contains([]string{"", "auto", "loss"}, criterion) && !slices.Equal(got.Remove, []int{4, 5}) {
				t.Errorf("removes %v, not the cheapest block", got.Remove)
			}
		})
	}
}

// TestPlanWithoutScores has a profile alone. Only where no criterion is named does
// distance take the place of losses.
func TestPlanWithoutScores(t *testing.T) {
	b := newBench(t)
	b.profile(b.job.Profile)
	p, err := b.plan(plugin.Selection{Layers: 2})
	if err != nil || p.Criterion != "angular" || !strings.Contains(strings.Join(p.Notes, "\n"), "by distance alone") {
		t.Errorf("%+v, %v", p, err)
	}
	for _, criterion := range []string{"auto", "loss", "greedy"} {
		_, err := b.plan(plugin.Selection{Layers: 2, Criterion: criterion})
		if plugin.KindOf(err) != plugin.NotFound || !strings.Contains(fmt.Sprint(err), "pare prune --dry-run") {
			t.Errorf("%s: %v", criterion, err)
		}
	}
	if p, err := b.plan(plugin.Selection{Remove: []int{2}}); err != nil || !slices.Equal(p.Remove, []int{2}) {
		t.Errorf("layers that are named: %+v, %v", p, err)
	}
}

// TestPlanForMoreThanWasTried asks for other layers than the job before compared, and
// for those again whose text is lost.
func TestPlanForMoreThanWasTried(t *testing.T) {
	b := newBench(t)
	b.profile(b.job.Profile)
	b.job.DryRun = true
	b.mustPrune()
	if p, err := b.plan(plugin.Selection{Layers: 3}); err != nil || p.Criterion != "angular" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := b.plan(plugin.Selection{Layers: 3, Criterion: "auto"}); plugin.KindOf(err) != plugin.NotFound {
		t.Error(err)
	}
	text := filepath.Join(plugin.ProfileFolder(b.job.Profile.Folder, b.model.Digest), "text.json")
	if err := save(text, tried{Version: triedVersion + 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.plan(plugin.Selection{Layers: 2, Criterion: "auto"}); plugin.KindOf(err) != plugin.NotFound {
		t.Error(err)
	}
}

// TestTriedTextIsShort runs no more of a long corpus than it takes, a part of each
// document.
func TestTriedTextIsShort(t *testing.T) {
	b := newBench(t)
	var docs []string
	for i := range 40 {
		docs = append(docs, ofWords(fmt.Sprintf("doc%d.", i), 200).Text)
	}
	f, shape, err := open(b.model)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	all, err := readPieces(b.corpus(t.TempDir(), "long", docs...))
	if err != nil {
		t.Fatal(err)
	}
	chosen, _ := corpus.Split(all.docs, heldOut)
	ps, err := choice{model: b.model, shape: shape}.passages(t.Context(), chosen, b)
	if err != nil {
		t.Fatal(err)
	}
	tokens := 0
	for i, p := range ps {
		tokens += len(p.Tokens)
		if b.text(p.Tokens[:1]) != begin || p.piece != i%len(chosen) {
			t.Errorf("passage %d is of document %d and begins with %q", i, p.piece, b.text(p.Tokens[:1]))
		}
		if len(p.Tokens) > triedWindow {
			t.Errorf("a passage of %d tokens", len(p.Tokens))
		}
	}
	if tokens > triedTokens || tokens < triedTokens-triedWindow {
		t.Errorf("%d tokens in %d passages", tokens, len(ps))
	}
}

// TestPlanNamesTheModelsFault refuses what no measurement could help.
func TestPlanNamesTheModelsFault(t *testing.T) {
	b := newBench(t)
	for name, sel := range map[string]plugin.Selection{
		"all layers":   {Layers: modelLayers},
		"no layers":    {},
		"no criterion": {Layers: 2, Criterion: "taste"},
	} {
		if _, err := b.plan(sel); plugin.KindOf(err) != plugin.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCriteria prunes by each criterion and says what it took.
func TestCriteria(t *testing.T) {
	for criterion, want := range map[string]struct {
		trace, try bool
		remove     []int // nil: whatever the trace says
	}{
		"":           {true, true, []int{4, 5}},
		"auto":       {true, true, []int{4, 5}},
		"loss":       {false, true, []int{4, 5}},
		"greedy":     {false, true, []int{4, 5}},
		"angular":    {true, false, nil},
		"cumulative": {true, false, nil},
		"influence":  {true, false, nil},
		"deepest":    {false, false, []int{5, 6}},
	} {
		t.Run(criterion, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.job.DryRun = true
			b.job.Selection.Criterion = criterion
			r := b.mustPrune()
			if traced, tried := len(b.traced) > 0, len(b.runs) > 0; traced != want.trace || tried != want.try {
				t.Errorf("traced: %v, tried: %v", traced, tried)
			}
			if want.remove != nil && !slices.Equal(r.Plan.Remove, want.remove) {
				t.Errorf("removes %v, want %v", r.Plan.Remove, want.remove)
			}
		})
	}
}

// TestTheModelCannotBeScored refuses to run it without some layers. Distance decides
// where a trace is there to tell it, and the model is made unmeasured.
func TestTheModelCannotBeScored(t *testing.T) {
	for _, criterion := range []string{"", "auto", "loss", "angular"} {
		b := newBench(t)
		b.unscored = plugin.Errorf(plugin.Unsupported, "no layer of this kind can be left out")
		b.job.Selection.Criterion = criterion
		r, err := b.prune(t.Context(), func(int) {})
		if criterion == "loss" {
			if plugin.KindOf(err) != plugin.Unsupported || len(b.made) > 0 {
				t.Errorf("by loss: %v", err)
			}
			continue
		}
		if err != nil || r.Plan.Criterion != "angular" || r.Result.Layers != modelLayers-2 || b.made["small:latest"].Digest != r.Result.Digest {
			t.Fatalf("%q: %+v, %v", criterion, r, err)
		}
		noted := strings.Contains(strings.Join(r.Plan.Notes, "\n"), "no layer of this kind can be left out")
		if noted != (criterion != "angular") {
			t.Errorf("%q: notes %q", criterion, r.Plan.Notes)
		}
		if r.Evaluation != nil || !strings.Contains(r.Unmeasured, "no layer of this kind can be left out") {
			t.Errorf("%q: measured %+v, unmeasured because %q", criterion, r.Evaluation, r.Unmeasured)
		}
	}
}

// TestTheScorerIsLost is no reason to choose otherwise, nor to make the model
// unmeasured, whatever went wrong: the job is to be asked for again.
func TestTheScorerIsLost(t *testing.T) {
	for _, criterion := range []string{"auto", "angular"} {
		for _, kind := range []plugin.Kind{plugin.Internal, plugin.Invalid, plugin.Refused, plugin.NoSpace, plugin.Unavailable} {
			b := newBench(t)
			b.job.Selection.Criterion = criterion
			b.unscored = plugin.Errorf(kind, "no score")
			if _, err := b.prune(t.Context(), func(int) {}); plugin.KindOf(err) != kind || len(b.made) > 0 {
				t.Errorf("by %s, kind %d: %v", criterion, kind, err)
			}
		}
	}
}

// TestCheck tells whether layers may go, and reads nothing for it.
func TestCheck(t *testing.T) {
	b := newBench(t)
	folder := plugin.ProfileFolder(b.job.Profile.Folder, b.model.Digest)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "profile.json"), []byte("not a profile"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(remove ...int) (plugin.Plan, error) {
		return Pipeline{}.Plan(t.Context(), plugin.PlanRequest{
			Model: b.model.Digest, Path: b.model.Path, Folder: b.job.Profile.Folder, Selection: plugin.Selection{Remove: remove}, Check: true,
		})
	}
	if p, err := check(4, 3); err != nil || !slices.Equal(p.Remove, []int{3, 4}) || p.Tokens != 0 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, remove := range [][]int{nil, {modelLayers}, {3, 3}} {
		if _, err := check(remove...); plugin.KindOf(err) != plugin.Invalid {
			t.Errorf("layers %v: %v", remove, err)
		}
	}
}
