// Package search chooses the layers to remove by what their removal costs: the
// rise of the model's log-loss on text when it runs without them. It runs
// nothing itself. A caller's [Try] does, one pass a set of layers and chunk of
// text, and the package spends as few passes as it can.
//
// Three criteria share one method, a race. Sets of layers run on the same few
// chunks, then on twice as many, and after each look those drop out that are worse
// than the leader beyond doubt. Differences are taken chunk by chunk, since a text
// that is hard without one block is hard without its neighbour too; the chunk is
// the unit, since the tokens of one text are alike.
//
//   - "loss" races all contiguous blocks.
//   - "auto" races the blocks that a trace ranks best by angular distance, and
//     those that a first glance at the rest finds better.
//   - "greedy" races single layers, removes the winner for good, and repeats.
//
// Letters: a model has L layers; the block (a, n) is layers a..a+n-1. Losses are
// negative log-probabilities in nats.
package search

import (
	"context"
	"fmt"

	"pare/plugin"
	"pare/plugin/profile"
)

// A Loss is what a model made of one chunk of text.
type Loss struct {
	Tokens int64   // scored; the same for every set of layers
	NLL    float64 // Σ -ln p over them
}

// A Try runs the model without each set of layers on each chunk and returns the
// losses by set, then chunk. The empty set is the whole model. It should return
// ctx.Err() soon after ctx is done. A loss that is not finite says that the model
// is broken without those layers.
type Try func(ctx context.Context, sets [][]int, chunks []int) ([][]Loss, error)

// Input is what Select chooses from.
type Input struct {
	Profile profile.Input // its Chunks, the trace, are for "auto" alone
	Chunks  []int         // what Try knows the text by, in an order in which each prefix is a fair sample over styles
}

// Select chooses the layers to remove by a criterion for which profile.NeedsScore
// holds; it refuses what profile.Select refuses, in the same words. Layers that
// sel.Remove names are left to profile.Select, and nothing is run. The plan's Tokens
// and Chunks are those that the chosen set ran on, its Profile is set for "auto" alone,
// and its scores are explained at plugin.Candidate.
//
// cuttable is that of profile.Select. progress, which may be nil, is called after
// each call of try with the passes made and the most there may be, which falls as
// sets drop out. The same losses always give the same result.
func Select(ctx context.Context, in Input, sel plugin.Selection, cuttable func(remove []int) error, try Try, progress func(done, most int)) (plugin.Plan, error) {
	if len(sel.Remove) > 0 {
		return profile.Select(in.Profile, sel, cuttable)
	}
	r, err := choose(ctx, in, sel, cuttable, try, progress)
	return r.Plan, err
}

// A result is a plan and what it took.
type result struct {
	plugin.Plan
	passes     int // runs of one chunk, the whole model's included
	exhaustive int // those that trying each set on all chunks would have taken, without the whole model's
}

// choose is Select for a criterion that has a choice.
func choose(ctx context.Context, in Input, sel plugin.Selection, cuttable func(remove []int) error, try Try, progress func(done, most int)) (result, error) {
	c, err := profile.Choose(in.Profile, sel, cuttable)
	if err != nil {
		return result{}, err
	}
	if len(in.Chunks) == 0 {
		return result{}, plugin.Errorf(plugin.Invalid, "choose layers by %s: there is no text to run the model on: give some", c.Criterion)
	}
	t := newTable(in.Chunks, try, progress)
	var o outcome
	switch c.Criterion {
	case "auto":
		o, err = auto(ctx, t, c.Blocks)
	case "loss":
		o, err = exhaustive(ctx, t, c.Blocks)
	case "greedy":
		o, err = greedy(ctx, t, c, cuttable)
	}
	if err != nil {
		return result{}, fmt.Errorf("choose layers by %s: %w", c.Criterion, err)
	}
	whole := t.row(nil)
	if err := t.extend(ctx, []*row{whole}, o.seen); err != nil {
		return result{}, fmt.Errorf("choose layers by %s: run the whole model: %w", c.Criterion, err)
	}
	return result{o.plan(in.Profile, c, whole), o.passes, o.exhaustive}, nil
}
