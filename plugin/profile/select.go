package profile

import (
	"errors"
	"fmt"

	"pare/plugin"
	"pare/plugin/layers"
)

// listed is how many alternatives a plan shows.
const listed = 5

// Input is what Select chooses from.
type Input struct {
	Model  string              // digest of the GGUF
	Layers int                 // L
	Trace  string              // digest of the trace that Chunks were read from
	Chunks []plugin.TraceDelta // one a chunk of text; none are needed for "deepest", "loss", "greedy" or layers named in the selection
}

// ErrUnmeasured says that a criterion found no tokens to judge by.
var ErrUnmeasured = errors.New("no token was traced")

// ErrUnscored says that a criterion chooses by running the model, which Select
// does not. Package search does.
var ErrUnscored = errors.New("it compares cuts by running the model without them")

// Select chooses the layers to remove and says what else it considered.
//
// cuttable tells whether the architecture allows a sorted set of layers to go,
// and if not, why and which cut is nearest; nil allows all. Where no set
// passes, Select returns the reason given for the best of them, wrapped.
//
// The last layer, and those in sel.Protect, are in no set that Select proposes.
// Layers named in sel.Remove are taken as they are, and judged by angular
// distance where the criterion would have to run the model; if nothing was traced
// that could judge them, the plan's chosen candidate has zero scores and a note
// says so. Otherwise a criterion that NeedsScore is refused with ErrUnscored, after
// all that package search would refuse too. A *SelectionError blames a field of sel.
func Select(in Input, sel plugin.Selection, cuttable func(remove []int) error) (plugin.Plan, error) {
	r, total, err := in.resolve(sel)
	if err != nil {
		return plugin.Plan{}, err
	}
	if cuttable == nil {
		cuttable = func([]int) error { return nil }
	}
	if r.by.runs {
		if _, err := r.choices(in.Chunks, cuttable); err != nil {
			return plugin.Plan{}, err
		}
		return plugin.Plan{}, fmt.Errorf("choose layers by %s: %w: prune or try the model, or use the criterion %q, which needs the profile alone",
			r.by.name, ErrUnscored, "angular")
	}
	if r.remove != nil {
		if err := cuttable(r.remove); err != nil {
			return plugin.Plan{}, fmt.Errorf("remove %s: %w", layers.Phrase(r.remove), err)
		}
	}
	f, err := r.rank(in.Chunks, cuttable)
	if err != nil {
		return plugin.Plan{}, err
	}
	plan := plugin.Plan{
		Version: Version, Model: in.Model, Profile: in.Trace, Layers: in.Layers,
		Criterion: r.by.name, TokensUsed: "all", Tokens: f.sample.tokens, Chunks: len(f.sample.chunks),
		Remove: f.chosen.remove, Named: r.remove != nil, Chosen: f.chosen.report(),
	}
	if r.last {
		plan.TokensUsed = "last"
	}
	for _, c := range f.others[:min(listed, len(f.others))] {
		plan.Alternatives = append(plan.Alternatives, c.report())
	}
	plan.Notes = r.notes(f, &total)
	return plan, nil
}

// resolve checks a selection against the model, and the trace too. total is the
// sum of the trace.
func (in Input) resolve(sel plugin.Selection) (r request, total plugin.TraceDelta, err error) {
	if r, err = resolve(in.Layers, sel); err != nil || len(in.Chunks) == 0 {
		return r, total, err
	}
	if total, err = Merge(in.Chunks); err != nil {
		return r, total, err
	}
	if total.Layers != in.Layers || total.Model != in.Model {
		err = fmt.Errorf("choose layers: the trace is of model %q with %d layers, not of %q with %d: profile the model again",
			total.Model, total.Layers, in.Model, in.Layers)
	}
	return r, total, err
}
