package integration

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"pare/host/client"
)

// TestJobs holds jobs at a gate and does to them what clients may do.
func TestJobs(t *testing.T) {
	s := newSite(t, deep)
	want := s.made()
	for name, test := range map[string]func(*testing.T, *site, string){
		"joined":                 joined,
		"deleted while it runs":  deletedRunning,
		"deleted when it failed": deletedFailed,
		"crashing plugin":        crashingPlugin,
		"dying runners":          dyingRunners,
		"command line, Ctrl-C":   func(t *testing.T, s *site, want string) { endedCommand(t, s, want, "trace.4", os.Interrupt) },
		"command line, killed":   func(t *testing.T, s *site, want string) { endedCommand(t, s, want, "cut.1", os.Kill) },
	} {
		t.Run(name, func(t *testing.T) {
			s.during(t)
			s.reset()
			test(t, s, want)
			s.checkAlive()
			checkStore(t, s.models())
		})
	}
}

// joined follows a job three times over, by two equal requests and by its ID.
func joined(t *testing.T, s *site, want string) {
	gate := newGate(t, s.gates, "cut.1")
	first := s.begin(s.request())
	open := gate.wait(s.server, first.done)
	second := s.begin(s.request())
	third := make(chan client.Progress, 1)
	told := make(chan bool, 100)
	go func() {
		last, err := s.client().Join(context.Background(), s.jobs()[0].ID, func(client.Progress) { told <- true })
		if err != nil {
			t.Errorf("join: %v", err)
		}
		third <- last
	}()
	<-told // the third one follows
	first.cancel()
	open()
	report, err := second.end(s)
	if err != nil || report.Result.Digest != want {
		t.Fatalf("made %s, %v, want %s", report.Result.Digest, err, want)
	}
	if last := <-third; last.Report == nil || !reflect.DeepEqual(*last.Report, report) {
		t.Errorf("by its ID it ended as %+v, by its request as %+v", last.Report, report)
	}
}

func deletedRunning(t *testing.T, s *site, want string) {
	gate := newGate(t, s.gates, "cut.1")
	job := s.begin(s.request())
	defer gate.wait(s.server, job.done)()
	if err := s.client().Cancel(context.Background(), s.jobs()[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := job.end(s); !hasStatus(err, http.StatusConflict) || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("its client was told %v", err)
	}
	checkNoJob(t, s)
	checkStore(t, s.models())
	if got := s.made(); got != want {
		t.Errorf("made %s afterwards, want %s", got, want)
	}
}

// hasStatus tells whether an error is the server's, of that HTTP status.
func hasStatus(err error, code int) bool {
	var status *client.StatusError
	return errors.As(err, &status) && status.Code == code
}

// checkNoJob demands that nothing is left of any job.
func checkNoJob(t *testing.T, s *site) {
	t.Helper()
	if jobs := s.jobs(); len(jobs) > 0 {
		t.Errorf("jobs: %+v", jobs)
	}
	if left := filesBelow(t, filepath.Join(s.models(), "pare", "jobs")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// crash kills the plugin at a point of each of its three lives.
func crash(t *testing.T, s *site, point string) error {
	t.Helper()
	next := newGate(t, s.gates, point)
	job := s.begin(s.request())
	for life := range 3 {
		open := next.wait(s.server, job.done)
		if life < 2 {
			next = newGate(t, s.gates, point)
		}
		s.killAll("pare-plugin")
		open()
	}
	_, err := job.end(s)
	if !hasStatus(err, http.StatusServiceUnavailable) || !strings.Contains(err.Error(), "crashed 3 times") {
		t.Errorf("its client was told %v", err)
	}
	return err
}

func crashingPlugin(t *testing.T, s *site, want string) {
	err := crash(t, s, "cut.2")
	if jobs := s.jobs(); len(jobs) != 1 || jobs[0].State != client.Failed || jobs[0].Error != err.Error() {
		t.Errorf("jobs: %+v", jobs)
	}
	checkStore(t, s.models())
	if got := s.made(); got != want {
		t.Errorf("made %s afterwards, want %s", got, want)
	}
}

func deletedFailed(t *testing.T, s *site, want string) {
	crash(t, s, "cut.1")
	s.must("jobs", "cancel", s.jobs()[0].ID)
	checkNoJob(t, s)
	if got := s.made(); got != want {
		t.Errorf("made %s afterwards, want %s", got, want)
	}
}

// dyingRunners kills the runner after each of the first texts, when it is at the
// next or waits for it.
func dyingRunners(t *testing.T, s *site, want string) {
	traced := 0
	report, err := s.client().Prune(context.Background(), s.request(), func(p client.Progress) {
		if p.Stage == "trace" && p.Completed > 0 && traced < 3 {
			traced++
			s.killAll("runner")
		}
	})
	if err != nil || report.Result.Digest != want || traced != 3 {
		t.Errorf("made %s, %v after %d killed runners, want %s\n%s", report.Result.Digest, err, traced, want, s.tail())
	}
}

// endedCommand ends `pare prune` at a gate and calls it again.
func endedCommand(t *testing.T, s *site, want, point string, with os.Signal) {
	args := append([]string{"prune", "tiny", "small", "--drop", "25%", "--corpus", s.corpus}, plain...)
	gate := newGate(t, s.gates, point)
	c := s.run(args...)
	defer gate.wait(s.server, c.ended)()
	c.Process.Signal(with)
	<-c.ended
	if with == os.Interrupt && (c.ProcessState.ExitCode() != 1 || !strings.Contains(c.errs.String(), "the same command goes on from here")) {
		t.Errorf("%v: %s", c.ProcessState, &c.errs)
	}
	if with == os.Kill && c.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("%v: %s", c.ProcessState, &c.errs)
	}
	s.until("the job stops after its client", 10*time.Second, func() bool { return s.jobs()[0].State != client.Running })
	checkStopped(t, s)
	s.must(args...)
	if got := strings.Replace(filepath.Base(s.blob("small")), "-", ":", 1); got != want {
		t.Errorf("made %s, want %s", got, want)
	}
}
