package pipeline

import (
	"context"
	"errors"
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
		model: m, config: r.Evaluate, window: choice{shape: shape}.window(),
		before: plugin.Measured{ModelInfo: infoOf(m, shape)},
	}
	if j.after, j.other, err = otherSide(ctx, r, m, f, shape, h); err != nil {
		return plugin.Evaluation{}, err
	}
	if j.used, err = everUsed(r.Profiles, m); err != nil {
		return plugin.Evaluation{}, err
	}
	b, err := openBook(plugin.ProfileFolder(r.Profiles, m.Digest))
	if err != nil {
		return plugin.Evaluation{}, err
	}
	defer b.close()
	e, err := j.judge(ctx, b, h, event)
	if err != nil {
		return e, err
	}
	return e, save(filepath.Join(r.Folder, "report.json"), e)
}

// everUsed lists the pieces of text that any job has traced of a model, and those
// that losses were last compared on: the other model's layers may have been chosen
// by them.
func everUsed(profiles string, m plugin.Model) (map[string]bool, error) {
	kept, err := plugin.LoadProfile(profiles, m.Digest)
	if err != nil && !errors.Is(err, plugin.ErrNoProfile) {
		return nil, err
	}
	folder := plugin.ProfileFolder(profiles, m.Digest)
	text, err := loadText(folder)
	if err != nil && !errors.Is(err, errUntried) {
		return nil, err
	}
	used := usedText(kept.Corpora, []plugin.CorpusInfo{text.Info})
	fs, err := readFrames(folder)
	if err != nil {
		return nil, err
	}
	for _, f := range fs.all {
		for _, t := range f.value.Texts {
			used[t] = true
		}
	}
	return used, nil
}

// otherSide is what the model is held against: another, or itself without some
// layers, or nothing.
func otherSide(ctx context.Context, r plugin.EvaluateRequest, m plugin.Model, f *gguf.File, shape convert.Model, h plugin.Host) (*plugin.Measured, variant, error) {
	switch {
	case r.Other != "":
		o, err := h.Model(ctx, r.Other)
		if err != nil {
			return nil, variant{}, err
		}
		g, second, err := open(o)
		if err != nil {
			return nil, variant{}, err
		}
		g.Close()
		v := variant{name: o.Digest, Variant: plugin.Variant{Model: o.Name}}
		return &plugin.Measured{ModelInfo: infoOf(o, second)}, v, nil
	case len(r.Bypass) > 0:
		// What could not be cut is not tried either.
		cut := choice{model: m, shape: shape, selection: plugin.Selection{Remove: r.Bypass}}
		if _, _, err := cut.needs(); err != nil {
			return nil, variant{}, err
		}
		info := infoOf(m, shape)
		v := bypassing(r.Bypass)
		bytes, parameters := convert.Weight(f, r.Bypass)
		info.Name, info.Digest = info.Name+" without "+v.name, ""
		info.Layers -= len(r.Bypass)
		info.Bytes -= bytes
		info.Parameters -= parameters
		return &plugin.Measured{ModelInfo: info, Bypass: r.Bypass}, v, nil
	}
	return nil, variant{}, nil
}

func infoOf(m plugin.Model, shape convert.Model) plugin.ModelInfo {
	return plugin.ModelInfo{Name: m.Name, Digest: m.Digest, Layers: shape.Layers, Bytes: m.Size, Parameters: shape.Parameters}
}
