package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pare/host/client"
	"pare/plugin"
)

// lives is how many plugin processes one job may wear out.
const lives = 3

// run does the job and tells its followers and its record how it ended.
func (js *jobs) run(ctx context.Context, j *job, rec *record) {
	result, err := js.inTurn(ctx, j, rec)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	last := client.Progress{Job: j.id, Status: "success"}
	rec.State = client.Done
	switch {
	case errors.Is(err, errAbandoned), errors.Is(err, errClosing):
		rec.State, rec.Error = client.Stopped, fmt.Sprintf("stopped: %v", err)
	case err != nil:
		rec.State, rec.Error, rec.Code = client.Failed, err.Error(), httpStatus(err)
		js.log.Warn("job failed", "job", j.id, "model", rec.Model, "error", err)
	default:
		result.Job, result.Status = last.Job, last.Status
		last = result
	}
	rec.forgetTexts()
	js.keep(j, rec, errors.Is(err, errDeleted))
	j.end(last, err)
}

// keep leaves of an ended job what is of use: its record and the work that a
// resume needs, or nothing. Until then no other try can begin.
func (js *jobs) keep(j *job, rec *record, deleted bool) {
	js.mu.Lock()
	defer js.mu.Unlock()
	delete(js.running, j.id)
	if deleted {
		if err := os.RemoveAll(rec.folder); err != nil {
			js.log.Error("cannot delete a job's folder", "job", j.id, "error", err)
		}
		return
	}
	if err := clean(rec.folder); err != nil {
		js.log.Warn("cannot clean up a job's folder", "job", j.id, "error", err)
	}
	if err := rec.save(); err != nil {
		js.log.Error("cannot save how a job ended", "job", j.id, "error", err)
	}
}

// clean deletes what a crash left half-written in a folder: by the contract such
// files have names that begin with a dot.
func clean(folder string) error {
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			err = errors.Join(err, os.Remove(filepath.Join(folder, e.Name())))
		}
	}
	return err
}

// inTurn calls the plugin while no other job works: two at once take each other's
// cores and memory and are both late. It calls again when the plugin process is
// lost, which goes on from what is in the folders.
func (js *jobs) inTurn(ctx context.Context, j *job, rec *record) (client.Progress, error) {
	if !js.known(rec) {
		if err := js.takeTurn(ctx, j); err != nil {
			return client.Progress{}, err
		}
		defer func() { <-js.turn }()
	}
	again := func(err error) {
		js.log.Warn("the plugin was lost; the job goes on in a new one", "job", j.id, "error", err)
		j.report(plugin.Event{Stage: "plugin", Status: "the plugin crashed; starting it again"})
	}
	return callPlugin(ctx, js.pruner, again, func(p plugin.Pruner) (client.Progress, error) { return js.call(ctx, p, j, rec) })
}

// known reports whether the job only tells what is measured already.
func (js *jobs) known(rec *record) bool {
	switch {
	case rec.Kind != client.KindProfile:
		return false
	case rec.Corpus.Live:
		return true
	case rec.Corpus != plugin.Corpus{}:
		return false
	}
	_, err := plugin.LoadProfile(js.profilesFolder(), rec.Digest)
	return err == nil
}

// takeTurn waits until the jobs that were asked for before have ended.
func (js *jobs) takeTurn(ctx context.Context, j *job) error {
	select {
	case js.turn <- struct{}{}:
		return nil
	default:
	}
	j.report(plugin.Event{Stage: client.StageWait, Status: "waiting for another job to end (pare jobs shows it)"})
	select {
	case js.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// call is one call of the plugin.
func (js *jobs) call(ctx context.Context, p plugin.Pruner, j *job, rec *record) (client.Progress, error) {
	request := plugin.ProfileRequest{Model: rec.Model, Folder: js.profilesFolder(), Corpus: rec.Corpus, Add: rec.Add}
	host := &recorded{lent: js.lend(rec), rec: rec}
	switch rec.Kind {
	case client.KindProfile:
		profile, err := p.Profile(ctx, request, host, j.report)
		if err == nil && rec.Corpus.Live {
			err = rec.write("report.json", profile) // the plugin keeps none
		}
		return client.Progress{Profile: &profile}, err
	case client.KindEvaluate:
		e, err := p.Evaluate(ctx, plugin.EvaluateRequest{
			ID: rec.ID, Folder: rec.folder, Profiles: js.profilesFolder(),
			Model: rec.Model, Other: rec.Other, Bypass: rec.Bypass, Evaluate: rec.Evaluate,
		}, host, j.report)
		return client.Progress{Evaluation: &e}, err
	case client.KindSweep:
		s, err := p.Sweep(ctx, plugin.SweepRequest{
			ID: rec.ID, Folder: rec.folder, Profile: request, Evaluate: rec.Evaluate,
			Rates: rec.Sweep.Rates, Criteria: rec.Sweep.Criteria, Seeds: rec.Sweep.Seeds, Protect: rec.Sweep.Protect,
			Tolerance: rec.Sweep.Tolerance, EachLayer: rec.Sweep.EachLayer,
		}, host, j.report)
		return client.Progress{Sweep: &s}, err
	case client.KindMerge:
		m, err := p.Merge(ctx, plugin.MergeRequest{ID: rec.ID, Folder: rec.folder, Model: rec.Model, Name: rec.Name, Force: rec.Force}, host, j.report)
		return client.Progress{Merged: &m}, err
	}
	if err := canRepair(ctx, p, rec.Repair.Method); err != nil {
		return client.Progress{}, err
	}
	repair := rec.Repair
	repair.Data = rec.Lessons
	report, err := p.Prune(ctx, plugin.Job{
		ID: rec.ID, Folder: rec.folder, Profile: request, Selection: rec.Selection,
		Name: rec.Name, Force: rec.Force, DryRun: rec.DryRun, Repair: repair, Evaluate: rec.Evaluate,
	}, host, j.report)
	return client.Progress{Report: &report}, err
}

// canRepair refuses a method that was asked for and that the plugin does not have:
// one that knows nothing of repair would leave it out in silence.
func canRepair(ctx context.Context, p plugin.Pruner, method string) error {
	if method == "" || method == plugin.RepairNone {
		return nil
	}
	d, err := p.Describe(ctx)
	if err != nil {
		return fmt.Errorf("ask the plugin how it repairs: %w", err)
	}
	if slices.Contains(d.Repairs, method) {
		return nil
	}
	if len(d.Repairs) == 0 {
		return plugin.Errorf(plugin.Unsupported, "the plugin %s cannot repair; give the method none, or use another plugin", d.Name)
	}
	return plugin.Errorf(plugin.Unsupported, "the plugin %s cannot repair by %s; it has %s", d.Name, method, strings.Join(d.Repairs, ", "))
}

// recorded notes in the record what is about to be registered, so that after a
// crash the job knows its own work again.
type recorded struct {
	*lent
	rec *record
}

func (r *recorded) Register(ctx context.Context, q plugin.RegisterRequest) (plugin.Model, error) {
	r.rec.Result = q.Digest
	if err := r.rec.save(); err != nil {
		return plugin.Model{}, err
	}
	return r.lent.Register(ctx, q)
}
