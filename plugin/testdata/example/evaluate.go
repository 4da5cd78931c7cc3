package main

import (
	"context"
	"math"

	"pare/plugin"
)

// Evaluate implements plugin.Pruner: it holds the model without the layers of the
// request against the whole one, on one sentence and one prompt.
func (alternate) Evaluate(ctx context.Context, r plugin.EvaluateRequest, h plugin.Host, event func(plugin.Event)) (plugin.Evaluation, error) {
	m, err := h.Model(ctx, r.Model)
	if err != nil {
		return plugin.Evaluation{}, err
	}
	variants := []plugin.Variant{{}, {Bypass: r.Bypass}}
	text, err := score(ctx, m.Name, variants, h, event)
	if err != nil {
		return plugin.Evaluation{}, err
	}
	sample := plugin.Sample{Prompt: "Why is the sea salty?"}
	ask := plugin.GenerateRequest{Model: m.Name, Variants: variants, Prompts: []string{sample.Prompt}, MaxTokens: 32}
	err = h.Generate(ctx, ask, func(a plugin.Answer) error {
		if a.Variant == 0 {
			sample.Before = a.Text
		} else {
			sample.After = a.Text
		}
		return nil
	})
	if err != nil {
		return plugin.Evaluation{}, err
	}
	memory, err := h.Footprint(ctx, m.Name, plugin.Variant{})
	if err != nil {
		return plugin.Evaluation{}, err
	}
	info := plugin.ModelInfo{Name: m.Name, Digest: m.Digest, Bytes: m.Size}
	return plugin.Evaluation{
		Version: plugin.EvaluationVersion, Level: r.Level, Protocol: "one sentence, all of it scored",
		Before:     plugin.Measured{ModelInfo: info, Footprint: &memory},
		After:      &plugin.Measured{ModelInfo: info, Bypass: r.Bypass},
		Text:       []plugin.TextScore{text},
		Generation: &plugin.Generation{Prompts: 1, Samples: []plugin.Sample{sample}},
	}, nil
}

// score measures two variants on one sentence.
func score(ctx context.Context, model string, variants []plugin.Variant, h plugin.Host, event func(plugin.Event)) (plugin.TextScore, error) {
	tokens, err := h.Tokenize(ctx, model, []string{"The sea is salty because rivers carry salt into it."})
	if err != nil {
		return plugin.TextScore{}, err
	}
	sequence := plugin.Sequence{Tokens: tokens[0], From: 1}
	scored := len(tokens[0]) - 1
	if scored < 1 {
		return plugin.TextScore{}, plugin.Errorf(plugin.Refused, "the sentence is %d tokens; two are needed", len(tokens[0]))
	}
	var loss [2]float64 // mean negative log-probability of a token, nats
	var kl float64
	done := int64(0)
	request := plugin.ScoreRequest{Model: model, Variants: variants, Sequences: []plugin.Sequence{sequence}, Compare: true}
	err = h.Score(ctx, request, func(s plugin.Score) error {
		for i := range s.LogProb {
			loss[s.Variant] -= float64(s.LogProb[i]) / float64(scored)
			kl += float64(s.KL[i]) / float64(scored) // 0 of the first
		}
		done += int64(s.Computed)
		event(plugin.Event{Stage: "evaluate", Status: "scoring", Completed: done})
		return nil
	})
	return plugin.TextScore{
		Style: "all", Chunks: 1, Tokens: int64(scored),
		Before: plugin.Estimate{Value: math.Exp(loss[0])}, After: &plugin.Estimate{Value: math.Exp(loss[1])},
		Rise: &plugin.Estimate{Value: loss[1] - loss[0]}, KL: &plugin.Estimate{Value: kl},
	}, err
}

// Sweep implements plugin.Pruner.
func (alternate) Sweep(context.Context, plugin.SweepRequest, plugin.Host, func(plugin.Event)) (plugin.Sweep, error) {
	return plugin.Sweep{}, plugin.Errorf(plugin.Refused, "this plugin knows one rule; there is nothing to compare")
}

// Merge implements plugin.Pruner.
func (alternate) Merge(context.Context, plugin.MergeRequest, plugin.Host, func(plugin.Event)) (plugin.Merged, error) {
	return plugin.Merged{}, plugin.Errorf(plugin.Refused, "this plugin knows nothing of adapters")
}
