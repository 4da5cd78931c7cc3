package integration

import (
	"testing"

	"pare/host/client"
	"pare/host/live"
)

// BenchmarkLive is the prompt and the generation speed of SmolLM2 while its traffic is
// traced, by default and in full, over those of the same runner untraced.
func BenchmarkLive(b *testing.B) {
	s := startServer(b)
	s.create("smollm2", fromMake(b, "PARE_MODEL"), "PARAMETER num_thread 1") // see BenchmarkGeneration
	trace := func(share float64) {
		if _, err := s.client().Trace(b.Context(), client.TraceRequest{Model: "smollm2", Sample: &share}); err != nil {
			b.Fatal(err)
		}
	}
	prompt := func(share float64) func(int) float64 {
		return func(round int) float64 {
			trace(share)
			e := s.evaluate("smollm2", passage(b, round, 500), 1)
			return float64(e.PromptTokens) / e.PromptTime.Seconds()
		}
	}
	generation := func(share float64) func(int) float64 {
		return func(round int) float64 {
			trace(share)
			e := s.evaluate("smollm2", passage(b, round, 50), 24)
			return float64(e.Tokens) / e.Time.Seconds()
		}
	}
	// Short and many: what disturbs a shared machine for longer than a pair disturbs both.
	pairs(b, "prompts-full/off", 60, prompt(1), prompt(0))
	pairs(b, "prompts-sampled/off", 60, prompt(live.DefaultShare), prompt(0))
	pairs(b, "generation-full/off", 60, generation(1), generation(0))
	pairs(b, "generation-sampled/off", 60, generation(live.DefaultShare), generation(0))
}
