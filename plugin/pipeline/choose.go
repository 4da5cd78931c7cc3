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
		err = errLost
		if _, none := plugin.LoadProfile(r.Folder, m.Digest); none != nil {
			err = none // says how to make one
		}
	}
	return plan, kinded(err)
}

// errLost says that a profile is kept without what it was made from.
var errLost = plugin.Errorf(plugin.NotFound, "the measurements behind the profile are lost; profile the model again")

// keptTrace returns the measurements behind the kept profile, none if there is
// no profile. It only reads: a job may be adding to them at the same time.
func keptTrace(folder string, m plugin.Model) ([]plugin.TraceDelta, string, error) {
	kept, err := plugin.LoadProfile(folder, m.Digest)
	if errors.Is(err, plugin.ErrNoProfile) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	fs, err := readFrames(plugin.ProfileFolder(folder, m.Digest))
	if err != nil {
		return nil, "", err
	}
	found, missing := fs.coveringAll(kept.Corpora)
	if len(missing) > 0 {
		return nil, "", errLost
	}
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
