package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"pare/host/client"
	"pare/host/live"
	"pare/plugin"
)

// jobs are all jobs, running or kept: each has a folder below folder.
type jobs struct {
	folder string                        // <models>/pare
	pruner func() (plugin.Pruner, error) // the running plugin
	lend   func(*record) *lent
	log    *slog.Logger
	live   *live.Tracer  // knows the traffic that layers may be chosen by
	turn   chan struct{} // holds one token while a job works

	mu      sync.Mutex
	running map[string]*job
	wg      sync.WaitGroup
	closed  bool
}

func newJobs(folder string, pruner func() (plugin.Pruner, error), lend func(*record) *lent, live *live.Tracer, log *slog.Logger) (*jobs, error) {
	js := &jobs{
		folder: folder, pruner: pruner, lend: lend, log: log, live: live,
		running: map[string]*job{}, turn: make(chan struct{}, 1),
	}
	for _, d := range []string{js.jobsFolder(), js.profilesFolder()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("make Pare's folder beside the models: %w", err)
		}
	}
	return js, js.interrupted()
}

func (js *jobs) jobsFolder() string { return filepath.Join(js.folder, "jobs") }

// profilesName is the folder of profiles in Pare's own.
const profilesName = "profiles"

func (js *jobs) profilesFolder() string { return filepath.Join(js.folder, profilesName) }

// interrupted marks the jobs that were running when the last server ended, and
// deletes what it or its plugin left half-written.
func (js *jobs) interrupted() error {
	folders := []string{js.folder}
	for _, above := range []string{js.jobsFolder(), js.profilesFolder()} {
		entries, err := os.ReadDir(above)
		if err != nil {
			return fmt.Errorf("clean up after the last server: %w", err)
		}
		for _, e := range entries {
			folder := filepath.Join(above, e.Name())
			if _, err := os.Stat(filepath.Join(folder, recordName)); above == js.jobsFolder() && errors.Is(err, fs.ErrNotExist) {
				os.RemoveAll(folder) // it was being prepared; a user's texts may be in it
				continue
			}
			folders = append(folders, folder)
		}
	}
	for _, folder := range folders {
		if err := clean(folder); err != nil {
			js.log.Warn("cannot clean up after the last server", "error", err)
		}
	}
	for _, r := range js.kept() {
		if r.State != client.Running {
			continue
		}
		r.State, r.Error = client.Stopped, "the server ended while this job ran; ask for it again to go on"
		r.forgetTexts()
		if err := r.save(); err != nil {
			js.log.Warn("cannot note that a job was stopped", "job", r.ID, "error", err)
		}
	}
	return nil
}

// kept reads the records of all jobs, newest first.
func (js *jobs) kept() []*record {
	entries, err := os.ReadDir(js.jobsFolder())
	if err != nil {
		js.log.Warn("cannot list jobs", "error", err)
	}
	var out []*record
	for _, e := range entries {
		r, err := loadRecord(filepath.Join(js.jobsFolder(), e.Name()))
		if err != nil {
			js.log.Warn("skipping a job that cannot be read", "job", e.Name(), "error", err)
			continue
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b *record) int { return strings.Compare(b.Created, a.Created) })
	return out
}

// list is what GET /api/prune/jobs answers.
func (js *jobs) list() []client.Job {
	out := []client.Job{}
	for _, r := range js.kept() {
		j := r.Job
		if running := js.find(j.ID); running != nil {
			j.Last = running.latest()
		}
		out = append(out, j)
	}
	return out
}

func (js *jobs) find(id string) *job {
	js.mu.Lock()
	defer js.mu.Unlock()
	return js.running[id]
}

// start runs the job of a record, or joins it if it runs. allowed is asked
// before anything is written, with the record of an earlier try, if any.
func (js *jobs) start(rec *record, with texts, allowed func(before *record) error) (*job, error) {
	if err := rec.identify(with.digests); err != nil {
		return nil, err
	}
	rec.folder = filepath.Join(js.jobsFolder(), rec.ID)

	js.mu.Lock()
	defer js.mu.Unlock()
	for js.running[rec.ID] != nil {
		j := js.running[rec.ID]
		if j.attach() {
			return j, nil
		}
		js.mu.Unlock()
		<-j.done // it was cancelled and is coming to its end
		js.mu.Lock()
	}
	if js.closed {
		return nil, errClosing
	}
	if err := js.sameName(rec); err != nil {
		return nil, err
	}
	before, err := loadRecord(rec.folder)
	if err == nil {
		rec.Result = before.Result
	}
	if rec.Discard && len(rec.Selection.Remove) > 0 && before != nil && before.State == client.Done {
		return js.told(before), nil // what those layers came to is all that it was for
	}
	if err := allowed(before); err != nil {
		return nil, err
	}
	if err := js.prepare(rec, with); err != nil {
		if rec.forgetTexts(); before == nil {
			os.RemoveAll(rec.folder) // nothing in it is of use
		}
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	j := newJob(rec.ID, cancel)
	j.attach()
	js.running[rec.ID] = j
	js.wg.Go(func() { js.run(ctx, j, rec) })
	return j, nil
}

// sameName refuses a second job that would make the same model; js.mu is held.
func (js *jobs) sameName(rec *record) error {
	for id := range js.running {
		other, err := loadRecord(filepath.Join(js.jobsFolder(), id))
		if err == nil && rec.Name != "" && strings.EqualFold(other.Name, rec.Name) {
			return plugin.Errorf(plugin.Exists, "job %s is making a model called %q already; wait for it, cancel it, or choose another name", id, rec.Name)
		}
	}
	return nil
}

// prepare makes the job's folder with all that the plugin needs.
func (js *jobs) prepare(rec *record, with texts) error {
	if err := os.MkdirAll(rec.folder, 0o700); err != nil {
		return noSpace(fmt.Errorf("make the job's folder: %w", err))
	}
	if err := with.write(rec.folder); err != nil {
		return err
	}
	rec.State, rec.Error, rec.Code = client.Running, "", 0
	rec.Created = time.Now().UTC().Format(time.RFC3339)
	return rec.save()
}

var jobID = regexp.MustCompile(`^[0-9a-f]{12}$`)

// remove cancels a job, running or not, and deletes its folder.
func (js *jobs) remove(id string) error {
	j := js.find(id)
	if j != nil {
		j.stop(errDeleted)
		<-j.done
	}
	js.mu.Lock()
	defer js.mu.Unlock()
	folder := filepath.Join(js.jobsFolder(), id)
	_, err := os.Stat(folder)
	switch {
	case j == nil && (err != nil || !jobID.MatchString(id)):
		return noSuchJob(id)
	case js.running[id] != nil: // it was asked for anew in the meantime
		return nil
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("delete job %s: %w", id, err)
	}
	return nil
}

// join attaches to a running job, or tells how a kept one ended.
func (js *jobs) join(id string) (*job, error) {
	if j := js.find(id); j != nil {
		if j.attach() {
			return j, nil
		}
		<-j.done
	}
	if !jobID.MatchString(id) {
		return nil, noSuchJob(id)
	}
	rec, err := loadRecord(filepath.Join(js.jobsFolder(), id))
	if err != nil {
		return nil, noSuchJob(id)
	}
	return js.told(rec), nil
}

// told is a job that ended before, which tells how; it is attached to.
func (js *jobs) told(rec *record) *job {
	j := newJob(rec.ID, func(error) {})
	j.attach()
	switch rec.State {
	case client.Done:
		last, err := js.outcome(rec)
		j.end(last, err)
	case client.Failed:
		j.end(client.Progress{}, &pastError{rec.Code, fmt.Sprintf("job %s failed: %s", rec.ID, rec.Error)})
	default:
		j.end(client.Progress{}, plugin.Errorf(plugin.Unavailable, "job %s: %s", rec.ID, rec.Error))
	}
	return j
}

func noSuchJob(id string) error {
	return plugin.Errorf(plugin.NotFound, "no job %q; `pare jobs` lists them", id)
}

// close stops all jobs so that they can be resumed, and waits for them.
func (js *jobs) close() {
	js.mu.Lock()
	js.closed = true
	for _, j := range js.running {
		j.stop(errClosing)
	}
	js.mu.Unlock()
	js.wg.Wait()
}

// outcome is the last line of a job that is done, from what it left.
func (js *jobs) outcome(rec *record) (client.Progress, error) {
	last := client.Progress{Job: rec.ID, Status: "success"}
	switch rec.Kind {
	case client.KindProfile:
		if rec.Corpus.Live {
			last.Profile = new(plugin.Profile)
			return last, rec.report(last.Profile)
		}
		p, err := plugin.LoadProfile(js.profilesFolder(), rec.Digest)
		last.Profile = &p
		return last, err
	case client.KindEvaluate:
		last.Evaluation = new(plugin.Evaluation)
		return last, rec.report(last.Evaluation)
	case client.KindSweep:
		last.Sweep = new(plugin.Sweep)
		return last, rec.report(last.Sweep)
	case client.KindMerge:
		last.Merged = new(plugin.Merged)
		return last, rec.report(last.Merged)
	}
	last.Report = new(plugin.Report)
	return last, rec.report(last.Report)
}
