// A plugin with a rule of its own, and a short one: every second layer goes, from
// the second on, until as many are gone as were asked for. It shows all that a
// plugin needs, and that the server is content with it.
package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
)

func main() { plugin.Serve(alternate{}) }

type alternate struct{}

// Describe implements plugin.Pruner.
func (alternate) Describe(context.Context) (plugin.Description, error) {
	slog.Warn("somebody asked who this is", "answer", "alternate")
	return plugin.Description{Name: "alternate", Version: "1", Criteria: []string{"alternate"}}, nil
}

// Profile implements plugin.Pruner.
func (alternate) Profile(context.Context, plugin.ProfileRequest, plugin.Host, func(plugin.Event)) (plugin.Profile, error) {
	return plugin.Profile{}, plugin.Errorf(plugin.Refused, "this plugin measures nothing")
}

// Plan implements plugin.Pruner.
func (alternate) Plan(_ context.Context, r plugin.PlanRequest) (plugin.Plan, error) {
	f, err := gguf.Open(r.Path)
	if err != nil {
		return plugin.Plan{}, err
	}
	defer f.Close()
	m, err := convert.Inspect(f)
	if err != nil {
		return plugin.Plan{}, plugin.Errorf(plugin.Refused, "choose layers: %w", err)
	}
	plan := plugin.Plan{Version: 1, Model: r.Model, Criterion: "alternate", Layers: m.Layers}
	for l := 1; l < m.Layers-1 && len(plan.Remove) < r.Selection.Layers; l += 2 {
		plan.Remove = append(plan.Remove, l)
	}
	if len(plan.Remove) < max(1, r.Selection.Layers) {
		return plugin.Plan{}, plugin.Errorf(plugin.Invalid, "layers is %d; give a number from 1 to %d", r.Selection.Layers, len(plan.Remove))
	}
	return plan, nil
}

// Prune implements plugin.Pruner.
func (a alternate) Prune(ctx context.Context, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.Report, error) {
	m, err := h.Model(ctx, j.Profile.Model)
	if err != nil {
		return plugin.Report{}, err
	}
	plan, err := a.Plan(ctx, plugin.PlanRequest{Model: m.Digest, Path: m.Path, Selection: j.Selection})
	if err != nil {
		return plugin.Report{}, err
	}
	event(plugin.Event{Stage: "plan", Status: "removing every second layer"})
	report := plugin.Report{
		Version: 1, Job: j.ID, Plan: plan, PluginName: "alternate 1",
		Parent: plugin.ModelInfo{Name: m.Name, Digest: m.Digest, Layers: plan.Layers, Bytes: m.Size},
	}
	report.Result, err = cut(ctx, m, plan, j, h, event)
	return report, err
}

func cut(ctx context.Context, m plugin.Model, plan plugin.Plan, j plugin.Job, h plugin.Host, event func(plugin.Event)) (plugin.ModelInfo, error) {
	f, err := gguf.Open(m.Path)
	if err != nil {
		return plugin.ModelInfo{}, err
	}
	defer f.Close()
	path := filepath.Join(j.Folder, "alternate.gguf")
	result, err := convert.Cut(ctx, f, path, convert.CutConfig{
		Remove: plan.Remove, Provenance: convert.Provenance{Parent: m.Digest, Criterion: plan.Criterion},
	}, func(done, total int64) {
		event(plugin.Event{Stage: "cut", Status: "cutting", Completed: done, Total: total})
	})
	if err != nil {
		return plugin.ModelInfo{}, err
	}
	made, err := h.Register(ctx, plugin.RegisterRequest{
		Parent: m.Name, Name: j.Name, Path: path, Digest: result.Digest, Force: j.Force,
	})
	if err != nil {
		return plugin.ModelInfo{}, err
	}
	return plugin.ModelInfo{
		Name: made.Name, Digest: made.Digest, Layers: result.LayersAfter, Bytes: result.BytesAfter, Parameters: result.ParametersAfter,
	}, os.Remove(path)
}
