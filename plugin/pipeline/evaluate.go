package pipeline

import (
	"context"
	"maps"
	"path/filepath"

	"pare/convert"
	"pare/gguf"
	"pare/plugin"
)

// Evaluate implements plugin.Pruner.
func (p Pipeline) Evaluate(ctx context.Context, r plugin.EvaluateRequest, h plugin.Host, event func(plugin.Event)) (plugin.Evaluation, error) {
	e, err := p.evaluate(ctx, r, h, event)
	return e, kinded(err)
}

func (p Pipeline) evaluate(ctx context.Context, r plugin.EvaluateRequest, h plugin.Host, event func(plugin.Event)) (plugin.Evaluation, error) {
	if err := checkEvaluate(r.Evaluate); err != nil {
		return plugin.Evaluation{}, err
	}
	if r.Level == plugin.LevelNone {
		return plugin.Evaluation{}, plugin.Errorf(plugin.Invalid, "evaluate: level none measures nothing; give quick or full")
	}
	for i, l := range r.Bypass {
		if i > 0 && l <= r.Bypass[i-1] {
			return plugin.Evaluation{}, plugin.Errorf(plugin.Invalid, "evaluate: bypass %v: give the layers in order, each once", r.Bypass)
		}
	}
	m, err := h.Model(ctx, r.Model)
	if err != nil {
		return plugin.Evaluation{}, err
	}
	f, shape, err := open(m)
	if err != nil {
		return plugin.Evaluation{}, err
	}
	defer f.Close()
	j := judging{
		model: m, config: r.Evaluate, window: windowOf(shape),
		before: plugin.Measured{ModelInfo: infoOf(m, shape)},
	}
	if j.used, err = everUsed(r.Profiles, m, f); err != nil {
		return plugin.Evaluation{}, err
	}
	if err := j.against(ctx, r, f, shape, h); err != nil {
		return plugin.Evaluation{}, err
	}
	b, err := openBook(plugin.ProfileFolder(r.Profiles, m.Digest))
	if err != nil {
		return plugin.Evaluation{}, err
	}
	defer b.Close()
	e, err := j.judge(ctx, b, h, event)
	if err != nil {
		return e, err
	}
	return e, save(filepath.Join(r.Folder, "report.json"), e)
}

// against sets what the model is held against: another, whose layers may have been
// chosen by text of its own, or itself without some layers, or nothing.
func (j *judging) against(ctx context.Context, r plugin.EvaluateRequest, f *gguf.File, shape convert.Model, h plugin.Host) error {
	switch {
	case r.Other != "":
		o, err := h.Model(ctx, r.Other)
		if err != nil {
			return err
		}
		g, second, err := open(o)
		if err != nil {
			return err
		}
		defer g.Close()
		also, err := everUsed(r.Profiles, o, g)
		if err != nil {
			return err
		}
		maps.Copy(j.used, also)
		j.other = variant{name: o.Digest, Variant: plugin.Variant{Model: o.Name, Digest: o.Digest}}
		j.after = &plugin.Measured{ModelInfo: infoOf(o, second)}
	case len(r.Bypass) > 0:
		// What could not be cut is not tried either.
		cut := choice{model: j.model, shape: shape, selection: plugin.Selection{Remove: r.Bypass}}
		if _, _, err := cut.needs(); err != nil {
			return err
		}
		info := infoOf(j.model, shape)
		j.other = bypassing(r.Bypass)
		bytes, parameters := convert.Weight(f, r.Bypass)
		info.Name, info.Digest = info.Name+" without "+j.other.name, ""
		info.Layers -= len(r.Bypass)
		info.Bytes -= bytes
		info.Parameters -= parameters
		j.after = &plugin.Measured{ModelInfo: info, Bypass: r.Bypass}
	}
	return nil
}

func infoOf(m plugin.Model, shape convert.Model) plugin.ModelInfo {
	return plugin.ModelInfo{Name: m.Name, Digest: m.Digest, Layers: shape.Layers, Bytes: m.Size, Parameters: shape.Parameters}
}
