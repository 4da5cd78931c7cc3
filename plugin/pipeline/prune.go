package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
	"pare/plugin/layers"
)

// Prune implements plugin.Pruner.
func (p Pipeline) Prune(ctx context.Context, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Report, error) {
	r, err := p.prune(ctx, j, h, event)
	return r, kinded(err)
}

func (p Pipeline) prune(ctx context.Context, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Report, error) {
	m, err := h.Model(ctx, j.Profile.Model)
	if err != nil {
		return plugin.Report{}, err
	}
	src, shape, err := open(m)
	if err != nil {
		return plugin.Report{}, err
	}
	defer src.Close()
	plan, err := p.plan(ctx, m, shape, j, h, event)
	if err != nil {
		return plugin.Report{}, err
	}
	report := plugin.Report{
		Version: 1, Job: j.ID, Plan: plan, DryRun: j.DryRun, PluginName: "pare " + p.Version,
		Parent: plugin.ModelInfo{Name: m.Name, Digest: m.Digest, Layers: shape.Layers, Bytes: m.Size, Parameters: shape.Parameters},
	}
	if !j.DryRun {
		if report.Result, err = p.make(ctx, m, src, plan, j, h, event); err != nil {
			return plugin.Report{}, err
		}
	}
	return report, save(filepath.Join(j.Folder, "report.json"), report)
}

// plan chooses the layers, tracing the model first if the choice needs it, and
// keeps the plan as plan.json.
func (p Pipeline) plan(ctx context.Context, m plugin.Model, shape convert.Model, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Plan, error) {
	decided, err := unmeasured(m, shape, j.Selection)
	if err != nil {
		return plugin.Plan{}, err
	}
	var chunks []plugin.TraceDelta
	var trace string
	if decided {
		chunks, trace, err = keptTrace(j.Profile.Folder, m)
	} else {
		var prof plugin.Profile
		prof, chunks, err = measure(ctx, m, shape, j.Profile, h, event)
		trace = prof.Trace
		// A job's own text is for this job: the kept profile is for all.
		if err == nil && j.Profile.Corpus.Path == "" {
			err = keep(j.Profile.Folder, prof)
		}
	}
	if err != nil {
		return plugin.Plan{}, err
	}
	plan, err := choose(m, shape, j.Selection, chunks, trace)
	if err != nil {
		return plugin.Plan{}, err
	}
	event(plugin.Event{Stage: "plan", Status: fmt.Sprintf("removing layers %s of %d", layers.Format(plan.Remove), plan.Layers)})
	return plan, save(filepath.Join(j.Folder, "plan.json"), plan)
}

// make cuts the model and registers the result.
func (p Pipeline) make(ctx context.Context, m plugin.Model, src *gguf.File, plan plugin.Plan, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.ModelInfo, error) {
	c, err := p.cut(ctx, m, src, plan, j.Folder, event)
	if err != nil {
		return plugin.ModelInfo{}, err
	}
	event(plugin.Event{Stage: "register", Status: "registering " + j.Name})
	path := filepath.Join(j.Folder, "cut.gguf")
	made, err := h.Register(ctx, plugin.RegisterRequest{
		Parent: m.Name, Name: j.Name, Path: path, Digest: c.Cut.Digest, Force: j.Force,
	})
	if err != nil {
		return plugin.ModelInfo{}, err
	}
	// The store has the file now; this was a second link to it.
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return plugin.ModelInfo{}, fmt.Errorf("clean up the job's folder: %w", err)
	}
	return plugin.ModelInfo{
		Name: made.Name, Digest: made.Digest,
		Layers: c.Cut.LayersAfter, Bytes: c.Cut.BytesAfter, Parameters: c.Cut.ParametersAfter,
	}, nil
}
