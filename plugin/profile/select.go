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
	Chunks []plugin.TraceDelta // one a chunk of text; none are needed for "deepest" or for layers named in the selection
}

// ErrUnmeasured says that a criterion found no tokens to judge by.
var ErrUnmeasured = errors.New("no token was traced")

// Select chooses the layers to remove and says what else it considered.
//
// cuttable tells whether the architecture allows a sorted set of layers to go,
// and if not, why and which cut is nearest; nil allows all. Where no set
// passes, Select returns the reason given for the best of them, wrapped.
//
// The last layer, and those in sel.Protect, are in no set that Select proposes.
// Layers named in sel.Remove are taken as they are; if nothing was traced that
// could judge them, the plan's chosen candidate has zero scores and a note says
// so. A *SelectionError blames a field of sel.
func Select(in Input, sel plugin.Selection, cuttable func(remove []int) error) (plugin.Plan, error) {
	r, err := resolve(in.Layers, sel)
	if err != nil {
		return plugin.Plan{}, err
	}
	total := plugin.TraceDelta{}
	if len(in.Chunks) > 0 {
		if total, err = Merge(in.Chunks); err != nil {
			return plugin.Plan{}, err
		}
		if total.Layers != in.Layers || total.Model != in.Model {
			return plugin.Plan{}, fmt.Errorf("choose layers: the trace is of model %q with %d layers, not of %q with %d: profile the model again",
				total.Model, total.Layers, in.Model, in.Layers)
		}
	}
	if cuttable == nil {
		cuttable = func([]int) error { return nil }
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
		Remove: f.chosen.remove, Chosen: f.chosen.report(),
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
