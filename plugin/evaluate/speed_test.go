package evaluate

import (
	"testing"

	"pare/plugin"
)

func TestRatios(t *testing.T) {
	got := Ratios([]float64{2, 3, 0, 4, 5}, []float64{1, 2, 1, 1, 0})
	if got != (plugin.Range{Median: 2, Low: 1.5, High: 4}) {
		t.Errorf("%+v", got)
	}
	if got := Ratios([]float64{0}, []float64{1}); got != (plugin.Range{}) {
		t.Errorf("nothing measured: %+v", got)
	}
}

func TestSpeed(t *testing.T) {
	answer := func(prompt, each float64) plugin.Answer {
		return plugin.Answer{Tokens: 11, PromptTokens: 20, PromptSeconds: 20 * prompt, Seconds: 10 * each}
	}
	silent := plugin.Answer{Tokens: 1, PromptTokens: 20, PromptSeconds: 2}
	before := []plugin.Answer{answer(0.1, 0.4), answer(0.2, 0.5), silent}
	after := []plugin.Answer{answer(0.05, 0.1), answer(0.05, 0.25), silent}
	s := Speed(before, after)
	if s.Pairs != 3 || s.Prompt != (plugin.Range{Median: 2, Low: 1, High: 4}) || s.Generation != (plugin.Range{Median: 3, Low: 2, High: 4}) {
		t.Errorf("%+v", s)
	}
	prompt, generation := Rates(before)
	near(t, "prompt", prompt, 10)
	near(t, "generation", generation, 1/0.45)
	if p, g := Rates([]plugin.Answer{{}}); p != 0 || g != 0 || Speed(nil, nil) != nil {
		t.Error("nothing measured, yet a speed")
	}
}
