package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pare/host/client"
	"pare/host/live"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// ask has a model answer by /api/generate and returns the tokens of the prompt and of
// the answer.
func (s *server) ask(model, prompt, label string, tokens int, keepAlive any) (prompted, generated int64, err error) {
	body, err := json.Marshal(map[string]any{
		"model": model, "prompt": prompt, "raw": true, "stream": false, "keep_alive": keepAlive,
		"options": map[string]any{"temperature": 0, "num_predict": tokens},
	})
	if err != nil {
		return 0, 0, err
	}
	q, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/api/generate", strings.NewReader(string(body)))
	if err != nil {
		return 0, 0, err
	}
	if label != "" {
		q.Header.Set(live.LabelHeader, label)
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	var r struct {
		Error    string
		Prompt   int64 `json:"prompt_eval_count"`
		Answered int64 `json:"eval_count"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return 0, 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("status %d: %s", resp.StatusCode, r.Error)
	}
	return r.Prompt, r.Answered, nil
}

// traffic is what was measured of a model, all labels together.
func (s *server) traffic(model string) (all client.Traffic, labels map[string]client.Traffic) {
	s.tb.Helper()
	status, err := s.client().Traced(s.tb.Context(), model)
	if err != nil {
		s.tb.Fatal(err)
	}
	labels = map[string]client.Traffic{}
	for _, l := range status[0].Labels {
		labels[l.Label] = l
		all.Requests += l.Requests
		all.Prompt += l.Prompt
		all.Generated += l.Generated
		all.Measured += l.Measured
	}
	return all, labels
}

// A text that users send gives the profile that it gives as a corpus.
func TestLiveProfileEqualsCorpusProfile(t *testing.T) {
	s := startServer(t)
	for _, arch := range []string{"llama", "gemma3"} { // one of each engine
		s.createTiny(arch, tinymodel.Config{Architecture: arch})
		s.write("tales.jsonl", tales)
		s.must("profile", arch, "--corpus", "tales.jsonl")
		want := s.kept(arch)
		s.must("stop", arch)

		s.must("trace", arch, "--sample", "100%")
		for _, text := range documents(t, tales) {
			// Unloaded after each: nothing comes from the prompt cache, and the sums must
			// be there before the runner is gone.
			if _, _, err := s.ask(arch, text, "", 1, 0); err != nil {
				t.Fatal(err)
			}
		}
		lines := progressLines(t, s.must("profile", arch, "--corpus", "live", "--json"))
		got := lines[len(lines)-1].Profile
		if got == nil {
			t.Fatalf("%s: the last line is %+v", arch, lines[len(lines)-1])
		}
		// Ollama's engine may compute the token that it made, though nobody waits for
		// another: that is traffic too, and no distance is more than 1.
		extra := got.Tokens - want.Tokens
		if extra < 0 || extra > int64(len(documents(t, tales))) || arch == "llama" && extra != 0 {
			t.Errorf("%s: %d tokens were measured, the corpus has %d", arch, got.Tokens, want.Tokens)
		}
		for a := range want.All.Distance {
			for b, d := range want.All.Distance[a] {
				of := got.All.Tokens
				if max(a, b) == want.Layers {
					of = got.All.OutTokens
				}
				if math.Abs(got.All.Distance[a][b]-d) > 1e-6+float64(extra)/float64(of) {
					t.Errorf("%s: distance %d, %d is %g, in the corpus's profile %g", arch, a, b, got.All.Distance[a][b], d)
				}
			}
		}
		if c := got.Corpora; len(c) != 1 || c[0].Name != "live" || c[0].From == nil || c[0].Documents != len(documents(t, tales)) {
			t.Errorf("%s: the profile's origin is %+v", arch, c)
		}
		if kept := s.kept(arch); kept.Trace != want.Trace {
			t.Errorf("%s: the kept profile changed", arch)
		}
	}
}

// checkByTraffic asks at once for what a job found by the traffic of tiny labelled code.
func (s *server) checkByTraffic(want plugin.Plan) {
	s.tb.Helper()
	r := client.PruneRequest{Model: "tiny", Layers: new(1), Criterion: "angular", Corpus: &client.Corpus{Name: "live:code"}}
	plan, err := s.client().Plan(s.tb.Context(), r)
	if err != nil || !reflect.DeepEqual(plan.Chosen, want.Chosen) || !slices.Equal(plan.Notes, want.Notes) {
		s.tb.Errorf("%v: the plan is %+v, a job's %+v", err, plan, want)
	}
	var profile plugin.Profile
	code, answer := s.get("/api/prune/profile/tiny?corpus=live:code")
	if err := json.Unmarshal([]byte(answer), &profile); err != nil || code != http.StatusOK {
		s.tb.Fatalf("status %d: %s", code, answer)
	}
	if c := profile.Corpora; len(c) != 1 || c[0].Name != "live:code" || c[0].Documents != 3 {
		s.tb.Errorf("the profile is of %+v", c)
	}
	s.must("profile", "tiny", "--corpus", "live:code", "--drop", "1", "-o", "code.svg")
	if svg, err := os.ReadFile(filepath.Join(s.home, "code.svg")); err != nil || !strings.Contains(string(svg), "live:code") {
		s.tb.Errorf("the drawing does not say of what it is: %v", err)
	}
	for path, code := range map[string]int{
		"/api/prune/profile/tiny":                  http.StatusNotFound, // of text none is kept
		"/api/prune/profile/tiny?corpus=live:mail": http.StatusNotFound,
		"/api/prune/profile/tiny?corpus=notes":     http.StatusBadRequest,
	} {
		if got, answer := s.get(path); got != code {
			s.tb.Errorf("%s: status %d, want %d: %s", path, got, code, answer)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.models(), "pare", ".*")); len(left) > 0 {
		s.tb.Errorf("left behind: %v", left)
	}
}

// Users of two models never notice what goes on: models come and go, profiles are made,
// the plugin dies, and each token is counted.
func TestLiveUnderLoad(t *testing.T) {
	long := 10 * time.Second
	if d, err := time.ParseDuration(os.Getenv("PARE_LOAD")); err == nil {
		long = d
	}
	s := startServer(t, "OLLAMA_NUM_PARALLEL=4")
	models := []string{"llama", "qwen2"}
	for _, m := range models {
		s.createTiny(m, tinymodel.Config{Architecture: m})
		s.must("trace", m, "--sample", "100%")
	}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var users, others sync.WaitGroup
	var requests, prompted, generated [2]atomic.Int64
	for user := range 8 {
		users.Go(func() {
			label := []string{"", "code"}[user/2%2]
			for n := 0; ctx.Err() == nil; n++ {
				keep := any("5m")
				if n%10 == 9 {
					keep = 0 // unload the model
				}
				p, g, err := s.ask(models[user%2], fmt.Sprintf("%x were the letters on the door. %s", rand.Uint64(), more), label, 20, keep)
				if err != nil {
					t.Errorf("a request of user %d failed: %v", user, err)
					return
				}
				requests[user%2].Add(1)
				prompted[user%2].Add(p)
				generated[user%2].Add(g)
			}
		})
	}
	kills := 0
	others.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(long / 12)
			for _, m := range models {
				if out, errs, err := s.pare("profile", m, "--corpus", "live", "--json"); err != nil {
					t.Errorf("profile: %v\n%s%s", err, out, errs)
				}
			}
			for pid, what := range s.children() {
				if what == "pare-plugin" && kills < 5 && syscall.Kill(pid, syscall.SIGKILL) == nil {
					kills++
				}
			}
		}
	})
	users.Wait()
	others.Wait()
	if kills != 5 {
		t.Errorf("the plugin was killed %d times, want 5", kills)
	}
	check := func(when string) {
		for i, m := range models {
			all, labels := s.traffic(m)
			if all.Requests != requests[i].Load() || all.Prompt != prompted[i].Load() || all.Generated != generated[i].Load() {
				t.Errorf("%s, %s: %d requests, %d and %d tokens were counted, want %d, %d and %d", when, m,
					all.Requests, all.Prompt, all.Generated, requests[i].Load(), prompted[i].Load(), generated[i].Load())
			}
			// The last token of an answer is not computed, and what prompts have in
			// common at their beginning may not be.
			missing := all.Prompt + all.Generated - all.Measured
			if missing < -all.Requests || missing > 5*all.Requests {
				t.Errorf("%s, %s: %d of %d tokens were not measured, of %d requests", when, m, missing, all.Prompt+all.Generated, all.Requests)
			}
			if len(labels) != 2 {
				t.Errorf("%s, %s: labels are %v", when, m, slices.Collect(maps.Keys(labels)))
			}
			t.Logf("%s, %s: %d requests, %d tokens, %d measured", when, m, all.Requests, all.Prompt+all.Generated, all.Measured)
		}
	}
	check("at the end")
	s.kill()
	s.start()
	check("after a crash")
}

// What was measured is on disk within seconds, and decides what a plan by traffic removes.
func TestLiveSurvivesCrash(t *testing.T) {
	s := startServer(t)
	s.createTiny("tiny", tinymodel.Config{Architecture: "llama"})
	out, errs, err := s.pare("prune", "tiny", "small", "--drop", "1", "--corpus", "live", "--dry-run")
	if err == nil || !strings.Contains(errs, "pare trace tiny") {
		t.Errorf("a plan by traffic that was never measured: %v\n%s%s", err, out, errs)
	}
	s.must("trace", "tiny", "--sample", "1")
	for n := range 3 {
		if _, _, err := s.ask("tiny", fmt.Sprintf("%d. %s", n, more), "code", 200, "5m"); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := s.traffic("tiny")
	time.Sleep(4 * time.Second)
	s.kill()
	s.start()
	if after, _ := s.traffic("tiny"); after.Measured != before.Measured || after.Requests != 3 {
		t.Errorf("after a crash %d requests and %d tokens are left, of 3 and %d", after.Requests, after.Measured, before.Measured)
	}
	if _, _, err := s.ask("tiny", "Still traced. "+more, "", 10, "5m"); err != nil {
		t.Fatal(err)
	}
	if _, labels := s.traffic("tiny"); labels[""].Measured == 0 {
		t.Error("the model is not traced any more")
	}
	last, err := s.prune(t.Context(), client.PruneRequest{
		Model: "tiny", Layers: new(1), Criterion: "angular", Corpus: &client.Corpus{Name: "live:code"}, DryRun: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	plan := last.Report.Plan
	if !strings.Contains(strings.Join(plan.Notes, "\n"), "of 3 requests") {
		t.Errorf("the plan's notes are %q", plan.Notes)
	}
	s.checkByTraffic(plan)
	s.must("trace", "tiny", "--reset", "--label", "code")
	if _, labels := s.traffic("tiny"); labels["code"].Requests != 0 || labels[""].Requests != 1 {
		t.Errorf("after the reset there is %+v", labels)
	}
	s.must("trace", "tiny", "--off")
	for path, body := range map[string]string{
		"a sample that is no share": `{"model":"tiny","sample":2}`,
		"decay and reset":           `{"model":"tiny","reset":true,"decay":0.5}`,
		"decay of nothing":          `{"model":"tiny","decay":0}`,
		"a label alone":             `{"model":"tiny","label":"code"}`,
		"a reset with a bad sample": `{"model":"tiny","reset":true,"sample":5}`,
	} {
		if code, answer := s.post("/api/prune/trace", body); code != http.StatusBadRequest {
			t.Errorf("%s: status %d: %s", path, code, answer)
		}
	}
	if all, _ := s.traffic("tiny"); all.Requests != 1 {
		t.Error("a request that was refused changed what was measured")
	}
	if _, _, err := s.ask("tiny", "x", "two words", 1, "5m"); err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("a bad label: %v", err)
	}
}
