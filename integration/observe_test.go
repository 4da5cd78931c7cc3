package integration

import (
	"context"
	"encoding/json"
	"testing"

	"pare/host/client"
	"pare/plugin"
)

// TestObserve has a plugin look at SmolLM2, which talks in ChatML: the answer's tokens
// and the end of its turn are marked, what precedes them is the prompt that the server
// makes of the question, and what is observed begins with the same.
func TestObserve(t *testing.T) {
	s := startServer(t, buildPlugin(t, "./testdata/observing")...)
	s.createSmol()
	last, err := s.client().Evaluate(context.Background(), client.EvaluateRequest{Model: "smollm2"}, func(client.Progress) {})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.tail())
	}
	var transcripts []plugin.Transcript
	var seen []plugin.Observation
	for i, into := range []any{&transcripts, &seen} {
		if err := json.Unmarshal([]byte(last.Evaluation.Notes[i]), into); err != nil {
			t.Fatal(err)
		}
	}
	whole, prompt := transcripts[0], transcripts[1]
	const endOfTurn = 2 // <|im_end|>
	for i, marked := range whole.Answer {
		if marked != (i >= len(prompt.Tokens)) || !marked && whole.Tokens[i] != prompt.Tokens[i] {
			t.Errorf("token %d of %v is marked %v; the prompt is %v", i, whole.Tokens, marked, prompt.Tokens)
		}
	}
	if n := len(whole.Tokens); n < len(prompt.Tokens)+4 || whole.Tokens[n-1] != endOfTurn {
		t.Errorf("%v goes on from %v and ends in no end of a turn", whole.Tokens, prompt.Tokens)
	}
	const hidden = 576
	if len(seen) != 2 || len(seen[0].States) != 3 || len(seen[0].States[2]) != hidden*len(whole.Tokens) || len(seen[1].TopTokens) != 3*len(prompt.Tokens) {
		t.Fatalf("%d observations, the first at %d points", len(seen), len(seen[0].States))
	}
	for p, x := range seen[1].States {
		for i, v := range x {
			if w := seen[0].States[p][i]; (v-w)*(v-w) > 1e-4*(1+v*v) {
				t.Fatalf("point %d, number %d: %v of the prompt alone, %v with the answer behind it", p, i, v, w)
			}
		}
	}
}
