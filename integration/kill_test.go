package integration

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pare/host/client"
	"pare/integration/tinymodel"
	"pare/plugin"
)

// A site is a server whose plugin has gates, with a model to be pruned.
type site struct {
	*server
	gates  string
	corpus string // path
	text   string // of the corpus
	judged bool   // jobs choose by loss and measure the result
	repair *client.Repair
	merges bool // jobs merge the adapter of "adapted"
}

// deep is so many layers that the cut of a tiny model is written in more than one
// step.
const deep = 60

// newSite serves a tiny model on one thread: several would spend their time in
// waiting for each other.
func newSite(t *testing.T, layers int) *site {
	t.Helper()
	gates := t.TempDir()
	env := append(buildPlugin(t, "./testdata/gated"), "PARE_TEST_GATES="+gates)
	s := &site{server: startServer(t, env...), gates: gates, text: lightCorpus()}
	s.corpus = filepath.Join(s.home, "light.jsonl")
	model, err := tinymodel.New(tinymodel.Config{Architecture: "llama", Layers: layers, Seed: 1, Float32: true})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.home, "tiny.gguf")
	for file, data := range map[string][]byte{path: model, s.corpus: []byte(s.text)} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.create("tiny", path, "PARAMETER num_thread 1")
	return s
}

// lightCorpus is eight texts with the same first words, so that each could find
// a little of itself in the runner's prompt cache, and could not after a kill.
func lightCorpus() string {
	var b strings.Builder
	for _, end := range []string{
		"is bent by glass.", "of the red rays is bent least.", "of the blue rays is bent most.",
		"that meets water at a slant turns towards the upright.", "is not mixed from colours, some say; others see colours in it.",
		"goes straight through a body without colour.", "and the heat of one body warm another.", "has parts.",
	} {
		fmt.Fprintf(&b, "{\"text\": \"The light %s%s\"}\n", end, strings.Repeat(" Two rays of it are not one ray.", 8))
	}
	return b.String()
}

// request asks for a quarter of the layers to go.
func (s *site) request() client.PruneRequest {
	drop := 0.25
	r := client.PruneRequest{
		Repair: unrepaired,
		Model:  "tiny", Name: "small", Drop: &drop,
		Corpus: &client.Corpus{Name: filepath.Base(s.corpus), Text: s.text},
	}
	if !s.judged {
		r = plainly(r)
		r.Repair = cmp.Or(s.repair, r.Repair)
		return r
	}
	r.Evaluate = &client.Evaluate{
		Corpus: &client.Corpus{Name: "tales", Text: tales},
		Tasks:  []client.Corpus{{Name: "riddles", Text: riddles}},
	}
	return r
}

// riddles are multiple-choice questions, a line of JSON each.
const riddles = `{"context": "Glass is made of", "choices": [" sand", " bread"], "answer": 0}
{"context": "The sky at noon is", "choices": [" red", " blue"], "answer": 1}
`

// A call is a request that is under way.
type call struct {
	cancel context.CancelFunc
	done   chan struct{}
	lines  []client.Progress // not to be read before done
	report plugin.Report
	err    error
}

func (s *site) begin(r client.PruneRequest) *call {
	ctx, cancel := context.WithCancel(context.Background())
	c := &call{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		each := func(p client.Progress) { c.lines = append(c.lines, p) }
		if !s.merges {
			c.report, c.err = s.client().Prune(ctx, r, each)
			return
		}
		var last client.Progress
		if last, c.err = s.client().Merge(ctx, client.MergeRequest{Model: "adapted", Name: r.Name}, each); c.err == nil {
			c.report.Result.Digest = last.Merged.Result.Digest
		}
	}()
	return c
}

// end waits for a call's answer.
func (c *call) end(s *site) (plugin.Report, error) {
	s.tb.Helper()
	select {
	case <-c.done:
	case <-time.After(2 * time.Minute):
		s.tb.Fatalf("the job does not end\n%s", s.tail())
	}
	return c.report, c.err
}

// made is the digest of the job's result, after asking for it (again).
func (s *site) made() string {
	s.tb.Helper()
	report, err := s.begin(s.request()).end(s)
	if err != nil {
		s.tb.Fatalf("the job does not go on: %v\n%s", err, s.tail())
	}
	return report.Result.Digest
}

// jobs lists the server's jobs.
func (s *site) jobs() []client.Job {
	s.tb.Helper()
	jobs, err := s.client().Jobs(context.Background())
	if err != nil {
		s.tb.Fatal(err)
	}
	return jobs
}

// during makes failures those of a subtest until it ends. The server stays the
// same one, for it may be started anew in between.
func (s *site) during(t *testing.T) {
	outer := s.tb
	s.tb = t
	t.Cleanup(func() { s.tb = outer })
}

// reset forgets all that was done, but for the model itself.
func (s *site) reset() {
	s.tb.Helper()
	for _, j := range s.jobs() {
		if err := s.client().Cancel(context.Background(), j.ID); err != nil {
			s.tb.Fatal(err)
		}
	}
	if _, list := s.get("/api/tags"); strings.Contains(list, `"small:latest"`) {
		s.must("rm", "small")
	}
	profiles := filepath.Join(s.models(), "pare", "profiles")
	entries, err := os.ReadDir(profiles)
	if err != nil {
		s.tb.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(profiles, e.Name())); err != nil {
			s.tb.Fatal(err)
		}
	}
}

func (s *server) get(path string) (int, string) {
	s.tb.Helper()
	resp, err := http.Get("http://" + s.addr + path)
	if err != nil {
		s.tb.Fatalf("GET %s: %v\n%s", path, err, s.tail())
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		s.tb.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

// killAll kills the server's children of one kind, and demands that there were any.
func (s *site) killAll(kind string) {
	s.tb.Helper()
	killed := 0
	for pid, what := range s.children() {
		if what == kind {
			killed++
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if killed == 0 {
		s.tb.Fatalf("there is no %s to kill", kind)
	}
}

// relatives are the processes that have this server's home as theirs: all that
// it ever started, whoever their parent is now.
func (s *server) relatives() (pids []string) {
	mark := []byte("HOME=" + s.home + "\x00")
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		// A zombie's environment is empty.
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(append(b, 0), mark) {
			pids = append(pids, filepath.Base(filepath.Dir(path)))
		}
	}
	return pids
}

// until waits for something that the other side does in its own time.
func (s *server) until(what string, limit time.Duration, holds func() bool) {
	s.tb.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.tb.Fatalf("%s: not within %v\n%s", what, limit, s.tail())
		}
	}
}

// points are the gates at which every victim is killed: before the first text,
// between texts, before the profile, behind the plan, in the middle of the file
// and at its end, before it is registered and just after.
var points = []string{"trace.1", "trace.4", "profile.1", "plan.1", "cut.1", "cut.2", "register.1", "registered.1"}

// TestKill kills everybody at every stage. The job ends with the bytes it would
// have made undisturbed, by itself or when it is asked for again, and nothing
// stays behind.
func TestKill(t *testing.T) {
	s := newSite(t, deep)
	want := s.made()
	victims := []struct {
		name string
		kill func(*testing.T, *site, *call, func()) string
	}{
		{"plugin", killPlugin},
		{"runner", killRunner},
		{"server", killServer},
		{"connection", dropConnection},
	}
	for _, v := range victims {
		for _, point := range points {
			t.Run(v.name+"/"+point, func(t *testing.T) {
				s.disturb(t, point, want, v.kill)
			})
		}
	}
}

// TestKillWhileScoring kills them where losses are compared and where the result
// is measured. The job ends with the bytes and the scores of one undisturbed, and
// nothing that was scored is scored again.
func TestKillWhileScoring(t *testing.T) {
	s := newSite(t, 16)
	s.judged = true
	want := s.made()
	for _, v := range []struct {
		name string
		kill func(*testing.T, *site, *call, func()) string
	}{
		{"scorer", killScorer},
		{"plugin", killPlugin},
		{"server", killServer},
		{"connection", dropConnection},
	} {
		for _, point := range []string{"try.2", "evaluate.2", "evaluate.6"} {
			t.Run(v.name+"/"+point, func(t *testing.T) {
				s.disturb(t, point, want, func(t *testing.T, s *site, job *call, open func()) string {
					before := s.scores("tiny")
					got := v.kill(t, s, job, open)
					checkScoredOnce(t, before, s.scores("tiny"))
					return got
				})
			})
		}
	}
}

// TestKillWhileRepairing kills the plugin and the server at every stage of a repair.
// The job ends with the bytes of one undisturbed.
func TestKillWhileRepairing(t *testing.T) {
	s := newSite(t, 8)
	steps, batch, length, rate := 20, 2, 64, 1e-3
	s.repair = &client.Repair{
		Quantize: "q4_K_S", // rounding to so few bits is made good by tuning scales
		Steps:    &steps, Batch: &batch, Length: &length, LearningRate: &rate,
		Data: &client.Corpus{Name: "opticks", Text: opticks(t)[20_000:40_000]},
	}
	want := s.made()
	for _, c := range []struct {
		name   string
		kill   func(*testing.T, *site, *call, func()) string
		points []string
	}{
		{"plugin", killPlugin, []string{"quantize.1", "fit.2", "observe.2", "train.2", "train.8", "train.21", "merge.1", "merge.2", "tune.2", "tune.6"}},
		{"server", killServer, []string{"observe.2", "train.8", "tune.6"}},
	} {
		for _, point := range c.points {
			t.Run(c.name+"/"+point, func(t *testing.T) {
				s.disturb(t, point, want, c.kill)
			})
		}
	}
}

// TestKillWhileMerging kills the plugin, the server and the connection at every stage of
// a merge.
func TestKillWhileMerging(t *testing.T) {
	s := newSite(t, deep)
	s.merges = true
	base := filepath.Join(s.home, "tiny.gguf")
	s.create("adapted", base, "ADAPTER "+writeAdapter(t, base))
	want := s.made()
	for name, kill := range map[string]func(*testing.T, *site, *call, func()) string{
		"plugin": killPlugin, "server": killServer, "connection": dropConnection,
	} {
		for _, point := range []string{"merge.1", "merge.2", "register.1", "registered.1"} {
			t.Run(name+"/"+point, func(t *testing.T) { s.disturb(t, point, want, kill) })
		}
	}
}

// disturb runs the job anew and has somebody killed at a point of it: what it makes is
// what it would have made undisturbed.
func (s *site) disturb(t *testing.T, point, want string, kill func(*testing.T, *site, *call, func()) string) {
	s.during(t)
	s.reset()
	s.generate("tiny", "The light", 4)
	gate := newGate(t, s.gates, point)
	job := s.begin(s.request())
	open := gate.wait(s.server, job.done)
	if got := kill(t, s, job, open); got != want {
		t.Errorf("made %s, undisturbed %s", got, want)
	}
	s.checkAlive()
	checkStore(t, s.models())
}

// checkAlive demands that both models are served.
func (s *site) checkAlive() {
	s.tb.Helper()
	_, list := s.get("/api/tags")
	for _, name := range []string{"tiny", "small"} {
		if !strings.Contains(list, `"`+name+`:latest"`) {
			s.tb.Errorf("%s is not in the list: %s", name, list)
		}
		s.generate(name, "The light", 4)
	}
}

// killPlugin leaves the job to a new plugin.
func killPlugin(t *testing.T, s *site, job *call, open func()) string {
	s.killAll("pare-plugin")
	open()
	report, err := job.end(s)
	if err != nil {
		t.Fatalf("the job failed: %v\n%s", err, s.tail())
	}
	if !slices.ContainsFunc(job.lines, func(p client.Progress) bool { return p.Stage == "plugin" }) {
		t.Error("nobody was told that the plugin crashed")
	}
	return report.Result.Digest
}

// killRunner leaves the job to a new runner.
func killRunner(t *testing.T, s *site, job *call, open func()) string {
	s.killAll("runner")
	open()
	report, err := job.end(s)
	if err != nil {
		t.Fatalf("the job failed: %v\n%s", err, s.tail())
	}
	return report.Result.Digest
}

// killScorer leaves the job to a new scoring process.
func killScorer(t *testing.T, s *site, job *call, open func()) string {
	s.killAll("scorer")
	open()
	report, err := job.end(s)
	if err != nil {
		t.Fatalf("the job failed: %v\n%s", err, s.tail())
	}
	return report.Result.Digest
}

// killServer leaves the job to a new server.
func killServer(t *testing.T, s *site, job *call, open func()) string {
	s.kill()
	s.until("plugin and runners end after their server", 5*time.Second, func() bool { return len(s.relatives()) == 0 })
	open()
	if _, err := job.end(s); err == nil {
		t.Error("the client was not told that the server is gone")
	}
	s.start()
	checkStopped(t, s)
	return s.made()
}

// dropConnection leaves the job to whom asks for it again.
func dropConnection(t *testing.T, s *site, job *call, open func()) string {
	defer open()
	job.cancel()
	s.until("the job stops after its client", 10*time.Second, func() bool { return s.jobs()[0].State != client.Running })
	checkStopped(t, s)
	return s.made()
}

// checkStopped demands that the job is listed as one that can go on.
func checkStopped(t *testing.T, s *site) {
	t.Helper()
	jobs := s.jobs()
	if len(jobs) != 1 || jobs[0].State != client.Stopped || !strings.Contains(jobs[0].Error, "ask for it again") {
		t.Errorf("jobs: %+v", jobs)
	}
	if line := s.must("jobs"); !strings.Contains(line, "stopped") {
		t.Errorf("pare jobs: %s", line)
	}
}
