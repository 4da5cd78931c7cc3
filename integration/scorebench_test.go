package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pare/host/client"
	"pare/plugin"
)

// BenchmarkScoring is the speed at which the scoring process runs text over that
// of the server's own prompt evaluation of the same text, wall time both.
//
// "last" asks both for the most likely token after the text, so both compute the
// output for one row alone: the same work. "half" is scoring proper, with the
// second half of the tokens scored. The server never computes the output for
// those, and here it has the largest matrix of all: one against one thread, the
// scoring process is behind by what is printed as the ideal.
func BenchmarkScoring(b *testing.B) {
	s := startServer(b)
	// One thread: two that wait for each other are at the mercy of the machine.
	s.create("smollm2", fromMake(b, "PARE_MODEL"), "PARAMETER num_thread 1")
	b.Run("last", func(b *testing.B) {
		s := s.in(b)
		pairs(b, "tried/served", 9, func(round int) float64 {
			began := time.Now()
			r := s.firstToken("smollm2", "", benchText(b, round))
			return float64(r.PromptEvalCount) / time.Since(began).Seconds()
		}, s.served)
	})
	b.Run("half", func(b *testing.B) {
		s := s.in(b)
		fmt.Printf("ideal, by multiplications with weights: %.3f\n", s.idealScoring("smollm2", 0.5))
		pairs(b, "scored/served", 9, func(round int) float64 {
			text := benchText(b, round)
			tokens := s.firstToken("smollm2", "", text).PromptEvalCount // not timed
			began := time.Now()
			s.score(client.ScoreRequest{Model: "smollm2", Text: text, Context: tokens})
			return float64(tokens) / time.Since(began).Seconds()
		}, s.served)
	})
}

// benchText is the same for both rounds of a pair, and new for each pair, so that
// neither side has it in its cache. The rounds that warm up are -2 and -1.
func benchText(tb testing.TB, round int) string { return passage(tb, (round+2)/2, 1900) }

// served is the speed of the server's own prompt evaluation, in tokens a second.
func (s *server) served(round int) float64 {
	s.tb.Helper()
	began := time.Now()
	e := s.evaluate("smollm2", benchText(s.tb, round), 1)
	return float64(e.PromptTokens) / time.Since(began).Seconds()
}

// firstToken has the scoring process read a prompt and say one token.
func (s *server) firstToken(model, bypass, prompt string) (last client.PreviewReply) {
	s.tb.Helper()
	r := client.PreviewRequest{
		Model: model, Bypass: bypass, Prompt: prompt, Raw: true,
		Options: map[string]any{"temperature": 0, "num_predict": 1},
	}
	err := s.client().Preview(s.tb.Context(), r, func(p client.PreviewReply) error {
		last = p
		return nil
	})
	if err != nil {
		s.tb.Fatalf("preview %s: %v\n%s", model, err, s.tail())
	}
	return last
}

// idealScoring is what computing the output for a share of the tokens leaves of
// the speed of computing it for none, by the weights that a token is multiplied
// with; the output matrix is the embedding's, where the file has no other.
func (s *server) idealScoring(model string, share float64) float64 {
	layers, output := 0.0, 0.0
	f := s.gguf(model)
	for _, t := range f.Tensors {
		weights := 1.0
		for _, n := range t.Shape {
			weights *= float64(n)
		}
		switch {
		case strings.HasPrefix(t.Name, "blk."):
			layers += weights
		case t.Name == "output.weight", t.Name == "token_embd.weight" && output == 0:
			output = weights
		}
	}
	return layers / (layers + share*output)
}

// BenchmarkBypass is the prompt speed of SmolLM2 with six of its thirty layers
// bypassed over that of the file without them, both in the scoring process, on the
// same texts. The time is that of the prompt alone: the process holds the model
// asked for last, and loads the other one anew before each turn.
func BenchmarkBypass(b *testing.B) {
	s := startServer(b)
	s.create("smollm2", fromMake(b, "PARE_MODEL"), "PARAMETER num_thread 1")
	_, err := s.prune(b.Context(), client.PruneRequest{
		Repair: unrepaired,
		Model:  "smollm2", Name: "small", Range: "13-18", Evaluate: &client.Evaluate{Level: plugin.LevelNone},
	})
	if err != nil {
		b.Fatal(err)
	}
	speed := func(model, bypass string) func(int) float64 {
		return func(round int) float64 {
			s.firstToken(model, bypass, "warm") // loads it, and touches every weight
			r := s.firstToken(model, bypass, benchText(b, round))
			return float64(r.PromptEvalCount) / time.Duration(r.PromptEvalDuration).Seconds()
		}
	}
	pairs(b, "bypassed/cut", 9, speed("smollm2", "13-18"), speed("small", ""))
}
