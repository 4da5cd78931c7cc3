package pipeline

import (
	"context"
	"errors"

	"pare/convert"
	"pare/plugin"
	"pare/plugin/profile"
)

// Plan implements plugin.Pruner: it chooses by the kept profile.
func (p Pipeline) Plan(_ context.Context, r plugin.PlanRequest) (plugin.Plan, error) {
	m := plugin.Model{Name: "the model", Digest: r.Model, Path: r.Path}
	f, shape, err := open(m)
	if err != nil {
		return plugin.Plan{}, kinded(err)
	}
	f.Close()
	chunks, trace, err := keptTrace(r.Folder, m)
	if err != nil {
		return plugin.Plan{}, kinded(err)
	}
	plan, err := choose(m, shape, r.Selection, chunks, trace)
	if errors.Is(err, profile.ErrUnmeasured) {
		_, err = plugin.LoadProfile(r.Folder, m.Digest) // says how to make one
	}
	return plan, kinded(err)
}

// keptTrace returns the measurements behind the kept profile, none if there is
// no profile.
func keptTrace(folder string, m plugin.Model) ([]plugin.TraceDelta, string, error) {
	kept, err := plugin.LoadProfile(folder, m.Digest)
	if errors.Is(err, plugin.ErrNoProfile) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	fs, err := openFrames(plugin.ProfileFolder(folder, m.Digest))
	if err != nil {
		return nil, "", err
	}
	defer fs.close()
	var covered []string
	for _, c := range kept.Corpora {
		covered = append(covered, c.Texts...)
	}
	found, _ := fs.covering(covered)
	chunks, digest := deltas(found)
	return chunks, digest, nil
}

// choose makes a plan from measurements.
func choose(m plugin.Model, shape convert.Model, s plugin.Selection, chunks []plugin.TraceDelta, trace string) (plugin.Plan, error) {
	in := profile.Input{Model: m.Digest, Layers: shape.Layers, Trace: trace, Chunks: chunks}
	return profile.Select(in, s, shape.CheckCut)
}

// unmeasured reports whether a selection can be decided without a trace, and
// refuses one that no trace could help.
func unmeasured(m plugin.Model, shape convert.Model, s plugin.Selection) (decided bool, err error) {
	_, err = choose(m, shape, s, nil, "")
	if errors.Is(err, profile.ErrUnmeasured) {
		return false, nil
	}
	return err == nil, err
}
