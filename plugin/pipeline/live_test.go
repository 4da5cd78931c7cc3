package pipeline

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pare/plugin"
	"pare/plugin/traffic"
)

// traffic keeps chunks of requests as the host does for a job. By it no block of two
// layers is of less distance than the one that begins at a layer.
func (b *bench) traffic(chunks, begins int) plugin.Corpus {
	b.t.Helper()
	from := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var all []traffic.Chunk
	for i := range chunks {
		d := b.measure(plugin.Text{Digest: fmt.Sprint(i), Text: strings.Repeat("x", 600)})
		d.Model, d.Expected, d.Texts = "", 0, nil
		for a := range modelLayers - 1 {
			d.All.Angle[plugin.Pair(modelLayers, a, a+2)] += 1
		}
		d.All.Angle[plugin.Pair(modelLayers, begins, begins+2)] = 0
		all = append(all, traffic.Chunk{From: from, To: from.Add(time.Duration(i) * time.Hour), Requests: 2, Delta: d})
	}
	path := filepath.Join(b.t.TempDir(), "live")
	if err := traffic.Snapshot(path, all); err != nil {
		b.t.Fatal(err)
	}
	return plugin.Corpus{Name: "live:code", Path: path, Live: true}
}

func TestProfileOfTraffic(t *testing.T) {
	b := newBench(t)
	before, _ := b.profile(b.job.Profile)
	r := b.job.Profile
	r.Corpus = b.traffic(20, 1)
	p, traced := b.profile(r)
	if traced != 0 || p.Chunks != 20 || p.Tokens != 20*600 || p.Model != b.model.Digest {
		t.Errorf("%d texts were traced; the profile has %d chunks and %d tokens of %s", traced, p.Chunks, p.Tokens, p.Model)
	}
	if c := p.Corpora[0]; c.Name != "live:code" || c.Documents != 40 || c.To.Sub(*c.From) != 19*time.Hour {
		t.Errorf("its origin is %+v", c)
	}
	if kept, err := plugin.LoadProfile(r.Folder, b.model.Digest); err != nil || kept.Trace != before.Trace {
		t.Errorf("kept is %s, %v, not %s", kept.Trace, err, before.Trace)
	}
}

// A plan by traffic says on how much it rests, and what the kept text favours.
func TestPlanByTraffic(t *testing.T) {
	for _, kept := range []bool{false, true} {
		for _, criterion := range []string{"angular", ""} {
			b := newBench(t)
			text := b.job.Profile
			if kept {
				b.profile(text)
			}
			b.job.DryRun, b.job.Selection.Criterion = true, criterion
			b.job.Profile.Corpus = b.traffic(20, 1)
			plan := b.mustPrune().Plan
			at, err := Pipeline{}.Plan(t.Context(), plugin.PlanRequest{
				Model: b.model.Digest, Path: b.model.Path, Folder: text.Folder, Selection: b.job.Selection, Corpus: b.job.Profile.Corpus,
			})
			if err != nil || !reflect.DeepEqual(at.Chosen, plan.Chosen) || !slices.Equal(at.Notes, plan.Notes) {
				t.Errorf("kept %v, criterion %q: %v: a plan alone is %+v, a job's %+v", kept, criterion, err, at, plan)
			}
			if criterion == "angular" && !slices.Equal(plan.Remove, []int{1, 2}) {
				t.Errorf("layers %v would go, want 1 and 2", plan.Remove)
			}
			notes := strings.Join(plan.Notes, "\n")
			want := []string{"12,000 tokens of 40 requests, 2026-03-01 12:00 to 2026-03-02 07:00 UTC"}
			if kept {
				want = append(want, "this traffic favours layers 1-2, in 100% of resamplings, and the text of the kept profile layers")
			} else {
				want = append(want, "no profile of text is kept")
			}
			if criterion == "" {
				want = append(want, "losses are of Pare's own text")
				if len(plan.Text) != 1 || plan.Text[0].Name != defaultCorpus {
					t.Errorf("losses are of %+v", plan.Text)
				}
			}
			for _, w := range want {
				if !strings.Contains(notes, w) {
					t.Errorf("kept %v, criterion %q: the notes lack %q:\n%s", kept, criterion, w, notes)
				}
			}
		}
	}
}

// Traffic of which nothing was measured, or of other layers, makes no profile.
func TestTrafficThatTellsNothing(t *testing.T) {
	b := newBench(t)
	r := b.job.Profile
	r.Corpus = b.traffic(1, 1)
	other := traffic.Chunk{Requests: 1, Delta: plugin.TraceDelta{
		Layers: 3, Hidden: 8, All: plugin.NewSums(3), Last: plugin.NewSums(3), First: plugin.NewSums(3),
	}}
	other.Delta.All.Tokens = 600
	for name, c := range map[string]struct {
		chunk traffic.Chunk
		kind  plugin.Kind
		says  string
	}{
		"nothing":      {traffic.Chunk{Requests: 1, Skipped: 5}, plugin.NotFound, "no traffic of tiny was measured"},
		"other layers": {other, plugin.Refused, "8 layers and 3 were seen"},
	} {
		if err := traffic.Snapshot(r.Corpus.Path, []traffic.Chunk{c.chunk}); err != nil {
			t.Fatal(err)
		}
		_, err := Pipeline{}.Profile(t.Context(), r, b, func(plugin.Event) {})
		if plugin.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
