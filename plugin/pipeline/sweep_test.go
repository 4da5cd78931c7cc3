package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pare/integration/tinymodel"
	"pare/plugin"
	"pare/plugin/evaluate"
	"pare/plugin/layers"
)

// sweep asks for two rates by three criteria.
func (b *bench) sweep() plugin.SweepRequest {
	return plugin.SweepRequest{
		ID: "3", Folder: b.t.TempDir(), Profile: b.job.Profile,
		Rates: []float64{0.5, 0.25}, Criteria: []string{"auto", "deepest", "angular"}, Evaluate: b.job.Evaluate,
	}
}

// swept runs a sweep; at is called with the number of each event.
func (b *bench) swept(ctx context.Context, r plugin.SweepRequest, at func(n int)) (plugin.Sweep, error) {
	b.events = nil
	return Pipeline{Version: "test"}.Sweep(ctx, r, b, func(e plugin.Event) {
		b.events = append(b.events, e.Stage)
		if e.Completed > e.Total && e.Total > 0 {
			b.t.Errorf("%s: %d of %d done", e.Stage, e.Completed, e.Total)
		}
		at(len(b.events))
	})
}

func (b *bench) mustSweep(r plugin.SweepRequest) plugin.Sweep {
	b.t.Helper()
	s, err := b.swept(b.t.Context(), r, func(int) {})
	if err != nil {
		b.t.Fatal(err)
	}
	var kept plugin.Sweep
	b.load(filepath.Join(r.Folder, "report.json"), &kept)
	if !reflect.DeepEqual(kept, s) {
		b.t.Errorf("report.json says %+v, not %+v", kept, s)
	}
	return s
}

// TestSweepPoints tries each criterion at each rate with each seed, and equal sets of
// layers once.
func TestSweepPoints(t *testing.T) {
	b := newBench(t)
	c, _ := b.of(10)
	r := b.sweep()
	r.Profile.Corpus, r.Seeds = c, 3
	s := b.mustSweep(r)
	i := 0
	for _, criterion := range r.Criteria {
		for _, seed := range []int{1, 2, 3} {
			for _, rate := range []float64{0.25, 0.5} {
				if p := s.Points[i]; p.Criterion != criterion || p.Seed != seed || p.Rate != rate || len(p.Remove) != int(rate*modelLayers) {
					t.Errorf("point %d is %s, seed %d, rate %g, without %v; want %s, seed %d, rate %g", i, p.Criterion, p.Seed, p.Rate, p.Remove, criterion, seed, rate)
				}
				i++
			}
		}
	}
	if len(s.Points) != i {
		t.Errorf("%d points, want %d", len(s.Points), i)
	}
	b.onlyOnce(t)
	sets := map[string]bool{}
	for _, p := range s.Points {
		sets[layers.Format(p.Remove)] = true
		b.checkPoint(p)
	}
	for set := range sets {
		if scored := len(common(b.scored(set), b.scoredTexts())); scored != 3 {
			t.Errorf("without %s the model was run on %d of the 3 texts", set, scored)
		}
	}
	if got := slices.Compact(b.events); got[0] != "trace" || got[len(got)-1] != "sweep" || !slices.Contains(got, "try") {
		t.Errorf("stages %q", got)
	}
}

// TestSeedsTakeHalves chooses by other halves of the text, of the trace and of what is
// run.
func TestSeedsTakeHalves(t *testing.T) {
	b := newBench(t)
	r := b.sweep()
	r.Profile.Corpus, _ = b.of(10) // eight are chosen by
	f, shape, err := open(b.model)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, chunks, err := measure(t.Context(), b.model, shape, r.Profile, b, func(plugin.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	for half, want := range []int{8, 4, 4} {
		c := choice{model: b.model, shape: shape, chunks: chunks, half: half, selection: plugin.Selection{Layers: 2, Criterion: "angular"}}
		if p, err := c.plan(); err != nil || p.Chunks != want {
			t.Errorf("half %d: %d chunks, %v, want %d", half, p.Chunks, err, want)
		}
	}
	r.Criteria, r.Rates = []string{"loss"}, []float64{0.25}
	for seeds := 1; seeds <= 2; seeds++ {
		r.Seeds = seeds
		b.mustSweep(r)
		tried := len(b.scored("4-5")) - len(b.scoredTexts())
		if seeds == 1 && tried != 4 || seeds == 2 && tried <= 4 {
			t.Errorf("%d seeds: %d texts were run to choose by", seeds, tried)
		}
	}
}

// scoredTexts are those of the bench's evaluation.
func (b *bench) scoredTexts() []string {
	return []string{"a text that is for scores alone", "and another such text", "which makes three of them"}
}

// checkPoint holds a point against what the model is known to lose.
func (b *bench) checkPoint(p plugin.SweepPoint) {
	b.t.Helper()
	name := fmt.Sprintf("%s at %g, seed %d, without %v", p.Criterion, p.Rate, p.Seed, p.Remove)
	if cost := costOf(plugin.Variant{Bypass: p.Remove}); !near(p.Text[0].Rise, cost) || !near(p.Text[0].KL, cost) {
		b.t.Errorf("%s: rise %+v and KL %+v, want about %g", name, p.Text[0].Rise, p.Text[0].KL, cost)
	}
	want := float64(modelLayers) / float64(modelLayers-len(p.Remove))
	if math.Abs(p.Speed.Median-want) > 1e-6 {
		b.t.Errorf("%s: %g times as fast, want %g", name, p.Speed.Median, want)
	}
	if p.Bytes <= 0 || p.Bytes >= b.model.Size || p.Parameters == 0 || p.Verdict.Say == "" {
		b.t.Errorf("%s: %d bytes, %d parameters, verdict %+v", name, p.Bytes, p.Parameters, p.Verdict)
	}
}

// TestSweepReport says what was scored, how, and what the whole model made of it.
func TestSweepReport(t *testing.T) {
	b := newBench(t)
	s := b.mustSweep(b.sweep())
	if s.Version != plugin.EvaluationVersion || s.Job != "3" || s.Model.Digest != b.model.Digest || s.Model.Layers != modelLayers {
		t.Errorf("%+v", s)
	}
	if s.Before.Style != evaluate.All || s.Before.Chunks != 3 || s.Before.Tokens != 16 || s.Before.Rise != nil {
		t.Errorf("before: %+v", s.Before)
	}
	if len(s.Corpora) != 1 || s.Corpora[0].Name != "apart.jsonl" || len(s.Corpora[0].Texts) != 3 || !strings.Contains(s.Protocol, "512") {
		t.Errorf("scored %+v by %q", s.Corpora, s.Protocol)
	}
	if p := s.Points[0]; p.Seed != 0 || p.Criterion != "auto" || p.Rate != 0.25 {
		t.Errorf("the first point is %+v", p)
	}
	if s.Layers != nil || s.Best != nil || !strings.Contains(strings.Join(s.Notes, "\n"), "little text") {
		t.Errorf("layers %v, best %v, notes %q", s.Layers, s.Best, s.Notes)
	}
}

// TestBest proposes the most that can go within a tolerance.
func TestBest(t *testing.T) {
	b := newBench(t)
	r := b.sweep()
	r.Criteria = append(r.Criteria, "loss", "auto", "loss") // each counts once
	for tolerance, want := range map[float64][]int{
		1e-6: nil,
		0.1:  {4, 5},       // costs 0.03
		10:   {3, 4, 5, 6}, // costs 0.73
	} {
		r.Tolerance = tolerance
		s := b.mustSweep(r)
		if s.Tolerance != tolerance || (s.Best == nil) != (want == nil) || s.Best != nil && !slices.Equal(s.Best.Remove, want) {
			t.Errorf("within %g: %+v, want %v", tolerance, s.Best, want)
		}
		if confirm := fmt.Sprintf("picked among %d cuts", len(r.Rates)*len(once(r.Criteria))); strings.Contains(strings.Join(s.Notes, "\n"), confirm) != (want != nil) {
			t.Errorf("within %g: notes %q", tolerance, s.Notes)
		}
	}
}

// TestBestIsBeyondDoubt proposes no cut whose rise may be above the tolerance.
func TestBestIsBeyondDoubt(t *testing.T) {
	point := func(value, high float64, remove ...int) plugin.SweepPoint {
		return plugin.SweepPoint{Remove: remove, Text: []plugin.TextScore{{Rise: &plugin.Estimate{Value: value, High: high}}}}
	}
	sure, unsure := point(0.05, 0.06, 4), point(0.05, 0.2, 4, 5)
	if got := best([]plugin.SweepPoint{unsure, sure}, 0.1); got == nil || !slices.Equal(got.Remove, sure.Remove) {
		t.Errorf("proposed %+v", got)
	}
}

// TestEachLayer leaves out each layer alone, and ends the model before each.
func TestEachLayer(t *testing.T) {
	b := newBench(t)
	r := b.sweep()
	r.Criteria, r.EachLayer = []string{"deepest"}, true
	s := b.mustSweep(r)
	if len(s.Layers) != modelLayers {
		t.Fatalf("%d layers", len(s.Layers))
	}
	for l, got := range s.Layers {
		var after []int
		for k := l; k < modelLayers; k++ {
			after = append(after, k)
		}
		ended := costOf(plugin.Variant{Bypass: after})
		if got.Layer != l || !near(&got.Rise, rise[l]) || !near(&got.KL, rise[l]) {
			t.Errorf("layer %d: %+v, want a rise of %g", l, got, rise[l])
		}
		if lost := got.Lens.Value - math.Log(s.LayersOf.Before.Value); math.Abs(lost-ended) > 0.06*ended {
			t.Errorf("ended before layer %d the model loses %g, want %g", l, lost, ended)
		}
		if share := max(0, 1-ended); math.Abs(got.Agreement.Value-share) > 0.2 {
			t.Errorf("ended before layer %d: they agree on %g, want about %g", l, got.Agreement.Value, share)
		}
	}
	if tried := len(common(b.scored("7"), b.scoredTexts())); tried != 3 {
		t.Errorf("the last layer alone, which is the lens before it too, was left out on %d texts", tried)
	}
	b.onlyOnce(t)
}

// TestSweepResumes cancels a sweep at each of its events in turn and asks for it
// again: only what is missing is run, and the report is that of one left alone.
func TestSweepResumes(t *testing.T) {
	undisturbed := newBench(t)
	request := func(b *bench) plugin.SweepRequest {
		r := b.sweep()
		r.Seeds, r.EachLayer, r.Tolerance = 2, true, 0.1
		return r
	}
	want := undisturbed.mustSweep(request(undisturbed))
	stages, runs := undisturbed.events, undisturbed.onlyOnce(t)
	// Every fifth event is enough: most of them tell of one run each.
	for n := 0; n < len(stages); n += 5 {
		t.Run(fmt.Sprintf("%d-%s", n, stages[n]), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			r := request(b)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if _, err := b.swept(ctx, r, func(at int) {
				if at == n+1 {
					cancel()
				}
			}); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if got := b.mustSweep(r); !reflect.DeepEqual(got, want) {
				t.Errorf("found %+v, want %+v", got, want)
			}
			if got := b.onlyOnce(t); got != runs {
				t.Errorf("%d runs, want %d", got, runs)
			}
		})
	}
}

// TestSweepOfAlternatingLayers has a model whose sixth layer is of a kind of its own
// and must keep its place, so that no four layers below it can go. What can go is
// tried, and the rest is noted.
func TestSweepOfAlternatingLayers(t *testing.T) {
	b := newBench(t)
	data, err := tinymodel.New(tinymodel.Config{Architecture: "gemma3", Layers: modelLayers, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.model.Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r := b.sweep()
	r.Rates, r.Criteria, r.Protect = []float64{0.5}, []string{"auto", "loss"}, []int{5}
	if _, err := b.swept(t.Context(), r, func(int) {}); plugin.KindOf(err) != plugin.Refused || len(b.traced) > 0 || len(b.runs) > 0 {
		t.Errorf("%d texts traced, %d runs, %v", len(b.traced), len(b.runs), err)
	}
	r.Rates = []float64{0.125, 0.5}
	s := b.mustSweep(r)
	if len(s.Points) != 2 || !slices.Equal(s.Points[0].Remove, []int{6}) || !slices.Equal(s.Points[1].Remove, []int{6}) {
		t.Errorf("%d points: %+v", len(s.Points), s.Points)
	}
	if len(s.Notes) < 2 || !strings.HasPrefix(s.Notes[0], "auto at 50%: ") || !strings.HasPrefix(s.Notes[1], "loss at 50%: ") {
		t.Errorf("notes %q", s.Notes)
	}
}

// TestSweepDefaults sweeps with nothing said, on Pare's own text.
func TestSweepDefaults(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.mustSweep(plugin.SweepRequest{ID: "4", Folder: t.TempDir(), Profile: plugin.ProfileRequest{Model: "tiny", Folder: b.job.Profile.Folder}})
	if len(s.Points) != len(sweptCriteria)*len(sweptRates) || s.Corpora[0].Name != defaultCorpus+" (held out)" {
		t.Errorf("%d points on %q", len(s.Points), s.Corpora[0].Name)
	}
	if s.Before.Tokens < 1000 || s.Before.Tokens > sweptTokens {
		t.Errorf("%d tokens were scored", s.Before.Tokens)
	}
	if kept, err := plugin.LoadProfile(b.job.Profile.Folder, b.model.Digest); err != nil || len(common(usedList(kept.Corpora), s.Corpora[0].Texts)) > 0 {
		t.Errorf("%v, or text was both traced and scored", err)
	}
}

// TestSweepRefuses names what is wrong before anything is run.
func TestSweepRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*plugin.SweepRequest)
		kind   plugin.Kind
		say    string
	}{
		"rate 0":           {func(r *plugin.SweepRequest) { r.Rates = []float64{0, 0.1} }, plugin.Invalid, "rate 0 "},
		"rate 1":           {func(r *plugin.SweepRequest) { r.Rates = []float64{1} }, plugin.Invalid, "rate 1 "},
		"rate of nothing":  {func(r *plugin.SweepRequest) { r.Rates = []float64{math.NaN()} }, plugin.Invalid, "rate NaN"},
		"criterion":        {func(r *plugin.SweepRequest) { r.Criteria = []string{"auto", "taste"} }, plugin.Invalid, `"taste"`},
		"no criterion":     {func(r *plugin.SweepRequest) { r.Criteria = []string{""} }, plugin.Invalid, `criterion ""`},
		"seeds":            {func(r *plugin.SweepRequest) { r.Seeds = mostSeeds + 1 }, plugin.Invalid, "21 seeds"},
		"tolerance":        {func(r *plugin.SweepRequest) { r.Tolerance = -0.1 }, plugin.Invalid, "tolerance -0.1"},
		"endless":          {func(r *plugin.SweepRequest) { r.Tolerance = math.Inf(1) }, plugin.Invalid, "tolerance +Inf"},
		"level":            {func(r *plugin.SweepRequest) { r.Level = "deep" }, plugin.Invalid, `"deep"`},
		"thresholds":       {func(r *plugin.SweepRequest) { r.Thresholds.KeepLoss = -1 }, plugin.Invalid, "keep"},
		"unknown model":    {func(r *plugin.SweepRequest) { r.Profile.Model = "none" }, plugin.NotFound, `"none"`},
		"protected layers": {func(r *plugin.SweepRequest) { r.Protect = []int{8} }, plugin.Invalid, "no layer 8"},
	} {
		b := newBench(t)
		r := b.sweep()
		c.change(&r)
		_, err := b.swept(t.Context(), r, func(int) {})
		if err == nil || plugin.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.say) || len(b.runs) > 0 || len(b.traced) > 0 {
			t.Errorf("%s: kind %d, want %d; %d runs, %d texts traced: %v", name, plugin.KindOf(err), c.kind, len(b.runs), len(b.traced), err)
		}
		if left, _ := filepath.Glob(filepath.Join(r.Folder, "*")); len(left) > 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
}
