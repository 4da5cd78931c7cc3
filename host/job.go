package host

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"pare/host/client"
	"pare/plugin"
)

// errAbandoned stops a job whose last follower has left.
var errAbandoned = errors.New("nobody follows this job any more; ask for it again to go on")

// errDeleted stops a job that was cancelled for good.
var errDeleted = errors.New("this job was cancelled")

// errClosing stops all jobs when the server stops.
var errClosing = plugin.Errorf(plugin.Unavailable, "the server is stopping; start it again and ask again: the job goes on from here")

// grace is how long a job goes on without anybody following it, so that a
// client may reconnect.
const grace = 2 * time.Second

// A job is a call to the plugin that is running, and the story of its progress.
// Any number of clients follow it.
type job struct {
	id     string
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the job has ended

	mu        sync.Mutex
	lines     []client.Progress // the latest of each step; see sameStep
	starts    []start           // of lines
	newest    int               // of lines, the one that was told last
	changed   chan struct{}     // closed and replaced at every change
	followers int
	leaving   *time.Timer
	stopping  bool            // it was cancelled
	last      client.Progress // how it ended
	err       error
}

// A start is when a line was first told of, and how far it was then: a resumed
// stage does not start at zero.
type start struct {
	at        time.Time
	completed int64
}

func newJob(id string, cancel context.CancelCauseFunc) *job {
	return &job{id: id, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
}

// report adds an event to the story; a step of a stage that is already told of
// replaces what was there.
func (j *job) report(e plugin.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := client.Progress{Job: j.id, Stage: e.Stage, Status: e.Status, Completed: e.Completed, Total: e.Total}
	i := slices.IndexFunc(j.lines, func(l client.Progress) bool { return sameStep(l, e) })
	if i < 0 {
		i = len(j.lines)
		j.lines = append(j.lines, p)
		j.starts = append(j.starts, start{time.Now(), e.Completed})
	} else {
		p.Rate, p.Left = j.starts[i].pace(p)
		j.lines[i] = p
	}
	j.newest = i
	j.notify()
}

// sameStep tells whether an event goes on with what a line is about.
func sameStep(l client.Progress, e plugin.Event) bool {
	return l.Stage == e.Stage && (l.Status == e.Status || client.OneStep(e.Stage))
}

// pace is the units a second since the start and the seconds left.
func (s start) pace(p client.Progress) (rate, left float64) {
	spent, done := time.Since(s.at).Seconds(), p.Completed-s.completed
	if done <= 0 || p.Total == 0 || spent < 0.1 {
		return 0, 0
	}
	rate = float64(done) / spent
	return rate, float64(p.Total-p.Completed) / rate
}

// end tells how the job ended.
func (j *job) end(last client.Progress, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last, j.err = last, err
	close(j.done)
	j.notify()
}

// notify wakes the followers; j.mu is held.
func (j *job) notify() {
	close(j.changed)
	j.changed = make(chan struct{})
}

// latest is the line that was told last, if any.
func (j *job) latest() *client.Progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.lines) == 0 {
		return nil
	}
	p := j.lines[j.newest]
	return &p
}

// attach counts a follower in, unless the job was cancelled; it must not be
// abandoned before the follower leaves.
func (j *job) attach() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopping {
		return false
	}
	j.followers++
	if j.leaving != nil {
		j.leaving.Stop()
		j.leaving = nil
	}
	return true
}

// detach counts a follower out and abandons the job after the last one.
func (j *job) detach() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.followers--; j.followers == 0 {
		j.leaving = time.AfterFunc(grace, j.abandon)
	}
}

// abandon cancels the job unless somebody has come back.
func (j *job) abandon() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.followers == 0 {
		j.stopping = true
		j.cancel(errAbandoned)
	}
}

// stop cancels the job; it ends some time later.
func (j *job) stop(cause error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stopping = true
	j.cancel(cause)
}

// follow hands on the story so far and then each change, until the job ends or
// ctx is done. The caller has attached.
func (j *job) follow(ctx context.Context, each func(client.Progress)) (client.Progress, error) {
	told := map[int]client.Progress{}
	for {
		ended := j.ended() // before the look, which then misses nothing
		j.mu.Lock()
		lines, changed := slices.Clone(j.lines), j.changed
		j.mu.Unlock()
		for i, l := range lines {
			if told[i] != l {
				told[i] = l
				each(l)
			}
		}
		if ended {
			return j.last, j.err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return client.Progress{}, ctx.Err()
		}
	}
}

// ended reports whether the story is complete.
func (j *job) ended() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}
