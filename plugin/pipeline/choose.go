package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pare/convert"
	"pare/plugin"
	"pare/plugin/profile"
)

// Plan implements plugin.Pruner: it chooses by what is kept, and runs nothing. A
// criterion that compares losses finds those that a job has measured; where none
// has and the request names no criterion, it is angular distance that decides.
func (p Pipeline) Plan(ctx context.Context, r plugin.PlanRequest) (plugin.Plan, error) {
	m := plugin.Model{Name: "the model", Digest: r.Model, Path: r.Path}
	f, shape, err := open(m)
	if err != nil {
		return plugin.Plan{}, kinded(err)
	}
	f.Close()
	if r.Check {
		if len(r.Selection.Remove) == 0 {
			return plugin.Plan{}, plugin.Errorf(plugin.Invalid, "plan: no layer is named to be checked")
		}
		plan, err := choice{model: m, shape: shape, selection: r.Selection}.plan()
		return plan, kinded(err)
	}
	c := choice{model: m, shape: shape, selection: r.Selection}
	var byTraffic plugin.Profile
	if r.Corpus.Live {
		byTraffic, c.chunks, err = measureLive(m, shape, r.Corpus)
		c.trace = byTraffic.Trace
	} else {
		c.chunks, c.trace, err = keptTrace(r.Folder, m)
	}
	if err != nil && (r.Corpus.Live || len(r.Selection.Remove) == 0) { // layers that are named can do without
		return plugin.Plan{}, kinded(err)
	}
	plan, err := c.plan()
	if errors.Is(err, profile.ErrUnscored) {
		plan, err = c.fromScores(ctx, r.Folder)
	}
	if errors.Is(err, profile.ErrUnmeasured) {
		err = errLost
		if _, none := plugin.LoadProfile(r.Folder, m.Digest); none != nil {
			err = none // says how to make one
		}
	}
	if err == nil && r.Corpus.Live {
		err = c.noteLive(&plan, byTraffic, r.Folder)
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

// A choice is what a plan is made from.
type choice struct {
	model     plugin.Model
	shape     convert.Model
	selection plugin.Selection
	chunks    []plugin.TraceDelta // measurements, none if the selection needs none
	trace     string              // their digest
	status    string              // of its progress, if not the usual one
	half      int                 // choose by a half of the text, drawn by this seed; 0 for all of it
}

func (c choice) input() profile.Input {
	in := profile.Input{Model: c.model.Digest, Layers: c.shape.Layers, Trace: c.trace, Chunks: c.chunks}
	if c.half > 0 {
		in.Chunks = profile.Half(c.chunks, uint64(c.half))
	}
	return in
}

// decide chooses, running the model where the selection compares losses.
func (c choice) decide(ctx context.Context, r plugin.ProfileRequest, h plugin.Host, event func(plugin.Event)) (plugin.Plan, error) {
	plan, err := c.plan()
	if errors.Is(err, profile.ErrUnscored) {
		plan, err = c.try(ctx, r, h, event)
	}
	return plan, err
}

// plan chooses without running the model.
func (c choice) plan() (plugin.Plan, error) {
	return profile.Select(c.input(), c.selection, c.shape.CheckCut)
}

// byDistance chooses by angular distance where losses were wanted, and says why.
func (c choice) byDistance(note string) (plugin.Plan, error) {
	c.selection.Criterion = "angular"
	plan, err := c.plan()
	plan.Notes = append(slices.Clone(plan.Notes), note)
	return plan, err
}

// needs tells what a selection takes, before anything is run: a trace, a
// comparison of losses, or neither. It refuses one that nothing could help.
func (c choice) needs() (trace, losses bool, err error) {
	c.chunks, c.trace = nil, ""
	_, err = c.plan()
	losses = profile.NeedsScore(c.selection.Criterion) && len(c.selection.Remove) == 0
	switch {
	case errors.Is(err, profile.ErrUnmeasured):
		return true, losses, nil
	case errors.Is(err, profile.ErrUnscored):
		return false, losses, nil
	}
	return false, false, err
}

// fromScores compares the losses that were measured before.
func (c choice) fromScores(ctx context.Context, folder string) (plugin.Plan, error) {
	b, err := readBook(plugin.ProfileFolder(folder, c.model.Digest))
	if err != nil {
		return plugin.Plan{}, err
	}
	text, err := loadText(plugin.ProfileFolder(folder, c.model.Digest))
	if err == nil {
		var plan plugin.Plan
		plan, err = c.compare(ctx, text, func(_ context.Context, vs []variant, ps []passage) error {
			for _, p := range ps {
				if len(b.missing(p, vs)) > 0 {
					return errUntried
				}
			}
			return nil
		}, b, func(int, int) {})
		if err == nil {
			return plan, nil
		}
	}
	if !errors.Is(err, errUntried) {
		return plugin.Plan{}, err
	}
	if c.selection.Criterion == "" {
		return c.byDistance("by distance alone: what the cuts cost was not measured; `pare prune` does that, also with --dry-run")
	}
	return plugin.Plan{}, err
}

// errUntried says that losses would have to be measured.
var errUntried = &plugin.Error{
	Kind: plugin.NotFound,
	Err:  fmt.Errorf("what these cuts cost was not measured yet"),
	Hint: "`pare prune --dry-run` measures it; the criterion \"angular\" goes by the profile alone",
}
