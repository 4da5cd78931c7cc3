// This plugin evaluates nothing: it has the host transcribe a chat and observe what the
// model makes of it, and tells both in the notes of its evaluation, in JSON.
package main

import (
	"context"
	"encoding/json"

	"pare/plugin"
)

func main() { plugin.Serve(observing{}) }

type observing struct{ plugin.Pruner }

// Describe implements plugin.Pruner.
func (observing) Describe(context.Context) (plugin.Description, error) {
	return plugin.Description{Name: "observing", Version: "1"}, nil
}

var chat = []plugin.Message{{Role: "user", Content: "What is light?"}, {Role: "assistant", Content: "Two rays."}}

// Evaluate implements plugin.Pruner.
func (observing) Evaluate(ctx context.Context, r plugin.EvaluateRequest, h plugin.Host, _ func(plugin.Event)) (e plugin.Evaluation, err error) {
	transcripts, err := h.Transcribe(ctx, r.Model, [][]plugin.Message{chat, chat[:1]})
	if err != nil {
		return e, err
	}
	o := plugin.ObserveRequest{Model: r.Model, Points: []plugin.Point{{Layer: 1}, {Layer: 1, Attended: true}, {Layer: 2}}, Top: 3}
	for _, t := range transcripts {
		o.Sequences = append(o.Sequences, t.Tokens)
	}
	var seen []plugin.Observation
	if err := h.Observe(ctx, o, func(o plugin.Observation) error { seen = append(seen, o); return nil }); err != nil {
		return e, err
	}
	for _, v := range []any{transcripts, seen} {
		b, err := json.Marshal(v)
		if err != nil {
			return e, err
		}
		e.Notes = append(e.Notes, string(b))
	}
	e.Version = plugin.EvaluationVersion
	return e, nil
}
