package integration

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pare/host/client"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// judge has a model judged on little.
func (s *server) judge(r client.EvaluateRequest) (string, plugin.Evaluation) {
	s.tb.Helper()
	r.Corpus, r.Tasks = &client.Corpus{Name: "tales.jsonl", Text: tales}, []client.Corpus{{Name: "riddles", Text: riddles}}
	last, err := s.client().Evaluate(context.Background(), r, func(client.Progress) {})
	if err != nil {
		s.tb.Fatalf("evaluate %s: %v\n%s", r.Model, err, s.tail())
	}
	return last.Job, *last.Evaluation
}

// TestEvaluate judges a model alone, without some layers, and against the file that
// lacks them.
func TestEvaluate(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	s.cutLayers("tiny", "small", "2-4")
	s.write("tales.jsonl", tales)
	s.write("riddles", riddles)
	said, running, before := s.settled("tiny", "the light of", 16), s.running(), s.contents()

	_, alone := s.judge(client.EvaluateRequest{Model: "tiny"})
	if alone.After != nil || alone.Verdict != nil || alone.Text[0].KL != nil || alone.Text[0].Before.Value < 2 || alone.Tasks[0].Questions != 2 {
		t.Errorf("alone: %+v", alone)
	}
	tried, without := s.judge(client.EvaluateRequest{Model: "tiny", Bypass: "2-4"})
	made, against := s.judge(client.EvaluateRequest{Model: "tiny", Other: "small"})
	if tried == made {
		t.Errorf("both are job %s", made)
	}
	quick := client.Evaluate{Level: plugin.LevelQuick} // as if nothing was said
	if again, _ := s.judge(client.EvaluateRequest{Model: "tiny", Bypass: "2-4", Evaluate: quick}); again != tried {
		t.Errorf("the same request is job %s and job %s", tried, again)
	}
	checkAlike(t, without, against)
	if same := s.generate("tiny", "the light of", 16); same != said || !slices.Equal(s.running(), running) {
		t.Errorf("it said %q with %v, and says %q with %v", said, running, same, s.running())
	}
	out := s.must("eval", "tiny", "small", "--score", "tales.jsonl", "--tasks", "riddles")
	for _, want := range []string{"tiny:latest", "small:latest", "perplexity", "KL divergence", "Verdict:"} {
		if !strings.Contains(out, want) {
			t.Errorf("the command says no %q:\n%s", want, out)
		}
	}
	list := s.must("jobs")
	for _, want := range []string{"evaluate", "without 2-4", "against small:latest", "2-4"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q:\n%s", want, list)
		}
	}
	checkSameStore(t, s, before)
}

// checkAlike demands that a model tried without layers is judged as the file
// without them.
func checkAlike(t *testing.T, tried, made plugin.Evaluation) {
	t.Helper()
	for i, a := range tried.Text {
		b := made.Text[i]
		if a.Style != b.Style || a.Tokens != b.Tokens || !near(a.Rise.Value, b.Rise.Value) || !near(a.KL.Value, b.KL.Value) || a.KL.Value <= 0 {
			t.Errorf("%s: %+v tried, %+v made", a.Style, a, b)
		}
	}
	if tried.Verdict.Say != made.Verdict.Say || tried.Generation.ChrF != made.Generation.ChrF || *tried.Tasks[0].After != *made.Tasks[0].After {
		t.Errorf("tried: %+v, made: %+v", tried, made)
	}
	if tried.After.Parameters != made.After.Parameters || tried.After.Layers != made.After.Layers || tried.After.Footprint != nil || made.After.Footprint == nil {
		t.Errorf("tried: %+v, made: %+v", tried.After, made.After)
	}
}

// near allows for the order in which numbers are added up.
func near(a, b float64) bool { return max(a, b)-min(a, b) < 1e-3 }

// checkSameStore demands that no model came or went.
func checkSameStore(t *testing.T, s *server, before map[string]string) {
	t.Helper()
	checkUntouched(s, before)
	checkStore(t, s.models())
}

// TestHeldOut has a job choose by a text and be judged by the same: each piece has
// one part alone.
func TestHeldOut(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	text := client.Corpus{Name: "light", Text: lightCorpus()}
	n := 2
	r := client.PruneRequest{Model: "tiny", Name: "small", Layers: &n, Corpus: &text, Repair: unrepaired,
		Evaluate: &client.Evaluate{Corpus: &text, Tasks: []client.Corpus{{Text: riddles}}}}
	last, err := s.prune(context.Background(), r)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	chosen, scored := last.Report.Plan.Text[0].Texts, last.Report.Evaluation.Corpora[0].Texts
	if len(chosen) != 6 || len(scored) != 2 {
		t.Fatalf("of 8 pieces %d were chosen by and %d scored", len(chosen), len(scored))
	}
	for _, digest := range scored {
		if slices.Contains(chosen, digest) {
			t.Errorf("%s was used for both", digest)
		}
	}
	first := s.job("prune").ID
	r.Evaluate.Level = plugin.LevelFull
	r.Force = true
	if _, err := s.prune(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if jobs, err := s.client().Jobs(context.Background()); err != nil || len(jobs) != 2 || jobs[0].Kind != client.KindPrune || first == "" {
		t.Errorf("to be judged otherwise is another job: %+v, %v", jobs, err)
	}
}

// TestUnscorable prunes a model that only Ollama's own engine can run: it cannot be
// run without some of its layers, which the report says.
func TestUnscorable(t *testing.T) {
	s := startServer(t)
	s.createTiny("olmo", tinymodel.Config{Architecture: "olmo3"})
	n := 2
	last, err := s.prune(context.Background(), client.PruneRequest{Model: "olmo", Name: "small", Layers: &n, Corpus: &client.Corpus{Name: "tales", Text: tales}})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	r := last.Report
	if r.Evaluation != nil || !strings.Contains(r.Unmeasured, "Ollama's own engine") || r.Plan.Criterion != "angular" ||
		!slices.ContainsFunc(r.Plan.Notes, func(n string) bool { return strings.Contains(n, "by distance alone") }) {
		t.Errorf("the report says %+v", r)
	}
	if r.Result.Layers != 6 {
		t.Errorf("%d layers are left", r.Result.Layers)
	}
	s.generate("small", "the light of", 4)
	if out := s.must("jobs", "report", last.Job); !strings.Contains(out, "by distance alone") {
		t.Errorf("the report says:\n%s", out)
	}
	_, err = s.client().Evaluate(context.Background(), client.EvaluateRequest{Model: "olmo"}, func(client.Progress) {})
	if !hasStatus(err, http.StatusUnprocessableEntity) || !strings.Contains(err.Error(), "Ollama's own engine") {
		t.Errorf("to evaluate it: %v", err)
	}
	checkStore(t, s.models())
}
