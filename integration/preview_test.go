package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pare/host/client"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// greedy has an answer be the same each time, in whichever process.
var greedy = map[string]any{"temperature": 0, "num_predict": 24, "repeat_penalty": 1}

// TestPreview holds the answers of a model without some layers against those of
// the file without them, and looks whether anybody else could notice.
func TestPreview(t *testing.T) {
	s := startServer(t)
	s.createTiny("llama", tinymodel.Config{Architecture: "llama"})
	for _, cut := range []string{"0-1", "3-5", "6-7", "0,3-4,7"} {
		t.Run(cut, func(t *testing.T) { checkPreview(s.in(t), cut) })
	}
	t.Run("whole", func(t *testing.T) {
		s := s.in(t)
		if tried, said := s.preview("llama", "", "the light of"), s.generate("llama", "the light of", 24); tried != said {
			t.Errorf("the scoring process says %q, the server %q", tried, said)
		}
	})
	t.Run("unnoticed", func(t *testing.T) { checkUnnoticed(s.in(t)) })
	t.Run("command", func(t *testing.T) { checkTry(t, s.in(t)) })
}

// preview has a model without some layers continue a text.
func (s *server) preview(model, bypass, prompt string) string {
	s.tb.Helper()
	var said strings.Builder
	r := client.PreviewRequest{Model: model, Bypass: bypass, Prompt: prompt, Raw: true, Options: greedy}
	err := s.client().Preview(context.Background(), r, func(p client.PreviewReply) error {
		said.WriteString(p.Response)
		return nil
	})
	if err != nil {
		s.tb.Fatalf("preview %s without %s: %v\n%s", model, bypass, err, s.tail())
	}
	return said.String()
}

// checkPreview tries a cut before any runner is started, makes it, and compares.
func checkPreview(s *server, cut string) {
	s.stopRunners()
	const prompt = "the light of"
	tried := s.preview("llama", cut, prompt)
	if running := s.running(); len(running) > 0 {
		s.tb.Errorf("the preview had %v loaded to serve", running)
	}
	s.cutLayers("llama", "small", cut)
	if made := s.generate("small", prompt, 24); tried != made || tried == "" {
		s.tb.Errorf("without layers %s it said %q when tried, and %q when cut", cut, tried, made)
	}
	if whole := s.preview("llama", "", prompt); whole == tried {
		s.tb.Errorf("without layers %s it says the same as whole, %q", cut, whole)
	}
}

// checkUnnoticed tries a cut of a model that is being served.
func checkUnnoticed(s *server) {
	said, runners := s.settled("llama", "the sun is", 24), s.runners()
	for _, cut := range []string{"2-5", "0-6"} {
		s.preview("llama", cut, "the sun is")
	}
	if again := s.generate("llama", "the sun is", 24); again != said {
		s.tb.Errorf("it said %q, and %q after the preview", said, again)
	}
	if after := s.runners(); len(runners) == 0 || !slices.Equal(runners, after) {
		s.tb.Errorf("the runners were %v and are %v", runners, after)
	}
}

// runners are the processes that serve.
func (s *server) runners() (pids []int) {
	for pid, what := range s.children() {
		if what == "runner" {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// running lists the models that the server says it has loaded.
func (s *server) running() (names []string) {
	s.tb.Helper()
	var said struct{ Models []struct{ Name string } }
	resp, err := http.Get("http://" + s.addr + "/api/ps")
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil {
		s.tb.Fatal(err)
	}
	for _, m := range said.Models {
		names = append(names, m.Name)
	}
	return names
}

// stopRunners has the server let go of all models.
func (s *server) stopRunners() {
	s.tb.Helper()
	for _, name := range s.running() {
		s.must("stop", name)
	}
	for deadline := time.Now().Add(20 * time.Second); len(s.running()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.tb.Fatalf("the server keeps %v\n%s", s.running(), s.tail())
		}
	}
}

// cutLayers makes a model without some layers, and does not judge it.
func (s *server) cutLayers(model, name, cut string) {
	s.tb.Helper()
	r := client.PruneRequest{Model: model, Name: name, Range: cut, Force: true, Repair: unrepaired, Evaluate: &client.Evaluate{Level: plugin.LevelNone}}
	if _, err := s.prune(context.Background(), r); err != nil {
		s.tb.Fatalf("cut layers %s of %s: %v\n%s", cut, model, err, s.tail())
	}
}

// checkTry asks by the command line what the API was asked before.
func checkTry(t *testing.T, s *server) {
	flags := []string{"--temperature", "0", "--num-predict", "8", "--seed", "1"}
	try := func(more ...string) string {
		t.Helper()
		return s.must(slices.Concat([]string{"try", "llama"}, flags, more)...)
	}
	cut := try("--drop", "2-3", "the light of")
	if strings.TrimSpace(cut) == "" || cut != try("--drop", "2-3", "the", "light of") {
		t.Errorf("it says %q, and not the same twice", cut)
	}
	both := try("--drop", "2-3", "--both", "the light of")
	whole, ok := strings.CutSuffix(both, "\nllama without layers 2-3:\n"+cut)
	if !ok || !strings.HasPrefix(whole, "the whole model:\n") || strings.Contains(whole, cut) {
		t.Errorf("both say %q", both)
	}
	var text strings.Builder
	for line := range strings.Lines(try("--drop", "2-3", "--json", "the light of")) {
		var p client.PreviewReply
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		text.WriteString(p.Response)
	}
	if strings.TrimSuffix(text.String(), "\n") != strings.TrimSuffix(cut, "\n") {
		t.Errorf("as JSON it is %q, else %q", text.String(), cut)
	}
	for want, args := range map[string][]string{
		"say what to leave out":   {"hello"},
		"is not a layer":          {"--drop", "2-x", "hello"},
		"no layer 8":              {"--drop", "7-8", "hello"},
		"keep at least one":       {"--drop", "0-7", "hello"},
		"pare profile":            {"--drop", "2", "hello"},
		"the prompt is empty":     {"--drop", "2-3"},
		`"code":400`:              {"--drop", "0-7", "--json", "hello"},
		"unknown flag":            {"--frobnicate", "hello"},
		"share of the layers bet": {"--drop", "120%", "hello"},
	} {
		out, errs, err := s.pare(slices.Concat([]string{"try", "llama"}, args)...)
		if err == nil || !strings.Contains(out+errs, want) {
			t.Errorf("%v: %v, %q, want %q", args, err, out+errs, want)
		}
	}
}

// TestBypassIsTheCut holds the log-probabilities that a model has without some
// layers against those of the file without them, token by token.
func TestBypassIsTheCut(t *testing.T) {
	s := startServer(t)
	cuts := map[string][]string{
		"llama": {"0-1", "3-5", "6-7", "0,3-4,7"},
		"qwen3": {"0-1", "3-5", "6-7", "0,3-4,7"},
		// As many as the period of its sliding window, before each layer that sees all.
		"gemma3": {"0-5", "3-8", "12-17", "0-5,9-14"},
	}
	for _, arch := range slices.Sorted(maps.Keys(cuts)) {
		config := tinymodel.Config{Architecture: arch}
		if arch == "gemma3" {
			config.Layers = 18
		}
		s.createTiny(arch, config)
		for _, context := range []int{0, 64} {
			tried := s.score(client.ScoreRequest{Model: arch, Text: tales, Context: context, Bypass: cuts[arch]})
			for i, cut := range cuts[arch] {
				t.Run(fmt.Sprintf("%s %s by %d", arch, cut, context), func(t *testing.T) {
					s := s.in(t)
					s.cutLayers(arch, "small", cut)
					made := s.score(client.ScoreRequest{Model: "small", Tokens: tried.Tokens, Context: context})
					checkScores(t, cut, tried.Variants[0], tried.Variants[i+1], made.Variants[0])
				})
			}
		}
	}
}

// checkScores compares the scores of a cut as it is tried with those of the file
// that was cut, and of the whole one.
func checkScores(t *testing.T, cut string, whole, tried, made client.ScoreSeries) {
	t.Helper()
	if tried.Bypass != cut || tried.Scored != made.Scored || tried.Scored < 100 {
		t.Fatalf("%d tokens were scored without layers %s, %d of the file", tried.Scored, tried.Bypass, made.Scored)
	}
	worst, moved := 0.0, 0.0
	for i, p := range made.LogProbs {
		worst = max(worst, math.Abs(float64(p-tried.LogProbs[i])))
		moved = max(moved, math.Abs(float64(p-whole.LogProbs[i])))
	}
	if worst > 1e-3 || !(moved > 0.01) || tried.KL <= 0 {
		t.Errorf("log-probabilities differ by up to %.2g from those of the cut file; from the whole model's by %.2g, divergence %.2g", worst, moved, tried.KL)
	}
}

func (s *server) score(r client.ScoreRequest) client.ScoreReply {
	s.tb.Helper()
	reply, err := s.client().Score(context.Background(), r)
	if err != nil {
		s.tb.Fatalf("score %s: %v\n%s", r.Model, err, s.tail())
	}
	return reply
}

// TestScoreRefuses asks for what the model itself cannot do.
func TestScoreRefuses(t *testing.T) {
	s := startServer(t)
	s.createTiny("llama", tinymodel.Config{Architecture: "llama"})
	long := make([]int32, tinymodel.ContextLength+1)
	for want, r := range map[string]client.ScoreRequest{
		"the model takes 2048 tokens at once": {Model: "llama", Tokens: long},
		"the vocabulary has 0 to":             {Model: "llama", Tokens: []int32{1, 1 << 30}},
		"token 1 is -1":                       {Model: "llama", Tokens: []int32{1, -1}},
		"no layer 8":                          {Model: "llama", Text: tales, Bypass: []string{"2-3", "8"}},
		"keep at least one":                   {Model: "llama", Text: tales, Bypass: []string{"0-7"}},
		"fewer than the 2000":                 {Model: "llama", Text: "a short text", Context: 2000},
	} {
		code, body := s.post("/api/prune/score", r)
		if code < 400 || code >= 500 || !strings.Contains(body, want) {
			t.Errorf("status %d, %s, want %q", code, body, want)
		}
	}
}
