package integration

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pare/host/client"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// swept is a sweep of a tiny model that scores little.
func (s *site) swept() client.SweepRequest {
	return client.SweepRequest{
		Model: "tiny", Rates: []float64{0.125, 0.25, 0.5}, Criteria: []string{"auto", "angular", "deepest"}, Tolerance: 0.2,
		Corpus:   &client.Corpus{Name: filepath.Base(s.corpus), Text: s.text},
		Evaluate: &client.Evaluate{Level: plugin.LevelQuick, Corpus: &client.Corpus{Name: "tales.jsonl", Text: tales}},
	}
}

// sweep is the command line of the same sweep.
func (s *site) sweep(more ...string) []string {
	s.write("tales.jsonl", tales)
	return append([]string{"sweep", "tiny", "--drop", "12.5%,25%,50%", "--criteria", "auto,angular,deepest", "--max-ppl-rise", "20%",
		"--corpus", s.corpus, "--score", "tales.jsonl"}, more...)
}

// TestSweep takes a sweep through the command line.
func TestSweep(t *testing.T) {
	s := newSite(t, 8)
	before := s.contents()
	out := s.must(s.sweep("--each-layer", "-o", "sweep.png")...)
	for _, want := range []string{"tiny:latest", "auto", "angular", "deepest", "perplexity", "verdict"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	var r plugin.Sweep
	checkReports(t, s.server, s.job("sweep").ID, &r, "perplexity", "deepest", "lens")
	drawn, err := os.ReadFile(filepath.Join(s.home, "sweep.png"))
	again, err2 := os.ReadFile(filepath.Join(s.home, "report.png"))
	if err != nil || err2 != nil || !bytes.Equal(drawn, again) {
		t.Errorf("-o wrote another figure than the report's: %v, %v", err, err2)
	}
	checkSweep(t, s, r)
	if after := s.contents(); len(after) != len(before) {
		t.Errorf("a sweep made files: %v", after)
	}
	checkStore(t, s.models())
}

// checkSweep holds the numbers of a sweep against each other and against the
// scores of the same layers asked for alone.
func checkSweep(t *testing.T, s *site, r plugin.Sweep) {
	if len(r.Points) != 9 || len(r.Layers) != 8 || r.Tolerance != 0.2 {
		t.Fatalf("the sweep is %+v", r)
	}
	for _, p := range r.Points {
		if n := int(p.Rate*8 + 0.5); len(p.Remove) != n || slices.Contains(p.Remove, 7) || p.Verdict.Say == "" || p.Bytes >= r.Model.Bytes || !(p.Speed.Median > 0) {
			t.Errorf("%s at %g: %+v", p.Criterion, p.Rate, p)
		}
		if p.Text[0].Rise.Value == 0 || !(p.Text[0].KL.Value > 0) {
			t.Errorf("%s at %g: %+v", p.Criterion, p.Rate, p.Text[0])
		}
	}
	for l, score := range r.Layers {
		if score.Layer != l || score.KL.Value <= 0 || score.Lens.Value <= 0 {
			t.Errorf("layer %d: %+v", l, score)
		}
	}
	if b := r.Best; b != nil && b.Text[0].Rise.Value > 0.1824 { // ln 1.2
		t.Errorf("best is %+v", b)
	}
	checkScoredOnce(t, nil, s.scores("tiny"))
}

// TestSweepGoesOn ends a sweep in the middle in each way there is. The same
// command scores only what is missing, and comes to the same.
func TestSweepGoesOn(t *testing.T) {
	s := newSite(t, 8)
	want := s.sweepAgain()
	for name, end := range map[string]func(*site, *command, func()){
		"killed server": killedServer, "killed scorer": killedScorer, "Ctrl-C": interrupted,
	} {
		t.Run(name, func(t *testing.T) {
			s.during(t)
			s.reset()
			gate := newGate(t, s.gates, "sweep.4")
			c := s.run(s.sweep()...)
			open := gate.wait(s.server, c.ended)
			scored := s.scores("tiny")
			if len(scored) == 0 {
				t.Error("nothing was scored before the gate")
			}
			end(s, c, open)
			got := s.sweepAgain()
			checkScoredOnce(t, scored, s.scores("tiny"))
			checkSameSweep(t, got, want)
		})
	}
}

// killedServer has the sweep go on under a new server.
func killedServer(s *site, c *command, open func()) {
	s.kill()
	<-c.ended
	open()
	s.start()
	checkToRepeat(s, c)
}

// interrupted ends the command as a person does.
func interrupted(s *site, c *command, open func()) {
	c.Process.Signal(os.Interrupt)
	<-c.ended
	s.until("the sweep stops after its client", 10*time.Second, func() bool { return s.jobs()[0].State != client.Running })
	open()
	checkToRepeat(s, c)
}

// killedScorer is noticed by nobody.
func killedScorer(s *site, c *command, open func()) {
	s.killAll("scorer")
	open()
	if <-c.ended; !c.ProcessState.Success() {
		s.tb.Errorf("%v: %s\n%s", c.ProcessState, &c.errs, s.tail())
	}
}

// checkToRepeat demands that a command which was cut short says that it can go on.
func checkToRepeat(s *site, c *command) {
	s.tb.Helper()
	if jobs := s.jobs(); c.ProcessState.ExitCode() != 1 || !strings.Contains(c.errs.String(), "goes on from here") ||
		len(jobs) != 1 || jobs[0].State != client.Stopped || jobs[0].Kind != client.KindSweep {
		s.tb.Errorf("%v: %s\njobs: %+v", c.ProcessState, &c.errs, jobs)
	}
}

// sweepAgain asks for the sweep by the command line.
func (s *site) sweepAgain() plugin.Sweep {
	s.tb.Helper()
	lines := progressLines(s.tb, s.must(s.sweep("--json")...))
	last := lines[len(lines)-1]
	if last.Sweep == nil {
		s.tb.Fatalf("the last line is %+v", last)
	}
	return *last.Sweep
}

// checkSameSweep compares all of two sweeps but for the speeds.
func checkSameSweep(t *testing.T, got, want plugin.Sweep) {
	t.Helper()
	if len(got.Points) != len(want.Points) {
		t.Fatalf("%d points, want %d", len(got.Points), len(want.Points))
	}
	for i, p := range got.Points {
		q := want.Points[i]
		if !slices.Equal(p.Remove, q.Remove) || *p.Text[0].Rise != *q.Text[0].Rise || *p.Text[0].KL != *q.Text[0].KL {
			t.Errorf("%s at %g: layers %v, %+v; undisturbed %v, %+v", p.Criterion, p.Rate, p.Remove, p.Text[0], q.Remove, q.Text[0])
		}
	}
}

// TestSweepUnnoticed looks at who else uses the server while a sweep runs, and
// cancels it.
func TestSweepUnnoticed(t *testing.T) {
	s := newSite(t, 8)
	s.createTiny("another", tinymodel.Config{Architecture: "qwen2"})
	s.must("profile", "tiny", "--corpus", s.corpus) // tracing needs a runner
	said := map[string]string{"tiny": s.settled("tiny", "The light", 16), "another": s.settled("another", "The light", 16)}
	running, runners := s.running(), s.runners()

	gate := newGate(t, s.gates, "sweep.3")
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		_, err := s.client().Sweep(context.Background(), s.swept(), func(client.Progress) {})
		ended <- err
		close(done)
	}()
	open := gate.wait(s.server, done)
	for name, want := range said {
		if got := s.generate(name, "The light", 16); got != want {
			t.Errorf("%s said %q, and during a sweep %q", name, want, got)
		}
	}
	id := s.job("sweep").ID
	if code, body := s.get("/api/prune/jobs/" + id + "/report"); code != http.StatusNotFound || !strings.Contains(body, "is running and has no report yet") {
		t.Errorf("the report of a running sweep: status %d: %s", code, body)
	}
	slices.Sort(running)
	now := s.running()
	slices.Sort(now)
	if !slices.Equal(now, running) || !slices.Equal(s.runners(), runners) {
		t.Errorf("%v ran as %v, and %v as %v during a sweep", running, runners, now, s.runners())
	}
	if err := s.client().Cancel(context.Background(), id); err != nil {
		t.Fatal(err)
	}
	open()
	if err := <-ended; !hasStatus(err, http.StatusConflict) {
		t.Errorf("its client was told %v", err)
	}
	if code, _ := s.get("/api/prune/jobs/" + id); code != http.StatusNotFound {
		t.Errorf("the cancelled sweep is still there: status %d", code)
	}
	checkStore(t, s.models())
}
