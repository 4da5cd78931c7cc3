package trace

import (
	"errors"
	"testing"
)

func watch(t *testing.T, s *Server, model string, share float64) *Session {
	t.Helper()
	session, err := s.Watch(t.Context(), model, share)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Stop)
	return session
}

// A job has the tap to itself; what ran before it and after it is the watch's.
func TestJobSuspendsWatch(t *testing.T) {
	s := listen(t)
	r := connect(t, s, model)
	w := watch(t, s, model, 0.25)
	if r.share != 0.25 {
		t.Errorf("the runner was told to measure %g of its passes, want 0.25", r.share)
	}
	r.compute(3)
	job := start(t, s, model)
	r.compute(5)
	if got := drain(t, w).All.Tokens; got != 3 {
		t.Errorf("while a job traces, the watch has %d tokens, want the 3 before it", got)
	}
	r.compute(7)
	if got := drain(t, job).All.Tokens; got != 12 {
		t.Errorf("the job has %d tokens, want 12", got)
	}
	r.compute(11)
	job.Stop()
	r.compute(13)
	if got := drain(t, w).All.Tokens; got != 13 {
		t.Errorf("the watch has %d tokens after the job, want 13", got)
	}
	w.Stop()
	if r.traced() {
		t.Error("nobody watches, and the runner traces")
	}
}

// A runner that comes while its model is watched traces from its first token, also
// if the watch is begun because it comes.
func TestWatchFromFirstToken(t *testing.T) {
	s := listen(t)
	var w *Session
	s.OnArrival(func(r Runner) {
		if w == nil {
			w = watch(t, s, r.Model, 1)
		}
	})
	first := connect(t, s, model)
	first.compute(1)
	second := connect(t, s, model)
	second.compute(2)
	if got := drain(t, w).All.Tokens; got != 3 {
		t.Errorf("%d tokens were watched, want 3", got)
	}
	if _, err := s.Watch(t.Context(), model, 1); !errors.Is(err, ErrBusy) {
		t.Errorf("a second watch of a model: %v, want ErrBusy", err)
	}
}

// Models are unloaded all the time: that is no fault of a watch.
func TestWatchOutlivesRunners(t *testing.T) {
	s := listen(t)
	w := watch(t, s, model, 1)
	r := connect(t, s, model)
	r.compute(1)
	drain(t, w)
	r.conn.Close()
	waitFor(t, "the runner's end", func() bool { return s.count() == 0 })
	connect(t, s, model).compute(2)
	d := drain(t, w)
	if d.All.Tokens != 2 || len(d.Faults) > 0 {
		t.Errorf("after a reload the watch has %d tokens and faults %v, want 2 and none", d.All.Tokens, d.Faults)
	}
}

func TestStoppedWatchCanBeDrained(t *testing.T) {
	s := listen(t)
	w := watch(t, s, model, 1)
	r := connect(t, s, model)
	r.compute(4)
	w.Stop()
	if got := drain(t, w).All.Tokens; got != 4 {
		t.Errorf("%d tokens after the stop, want 4", got)
	}
	again := watch(t, s, model, 1)
	r.compute(5)
	if got := drain(t, again).All.Tokens; got != 5 {
		t.Errorf("the next watch has %d tokens, want 5", got)
	}
}
