package evaluate

import (
	"slices"

	"pare/plugin"
)

// Ratios says how many times as fast a second model is as the first, from times
// per token of both in pairs that were measured one right after the other: the
// median of before[i]/after[i], with the lowest and the highest. Pairs of which
// a side has no time above 0 are left out; without any other all is 0.
func Ratios(before, after []float64) plugin.Range {
	r := ratios(before, after)
	if len(r) == 0 {
		return plugin.Range{}
	}
	return plugin.Range{Median: median(r), Low: r[0], High: r[len(r)-1]}
}

// Quartiles is Ratios with the quartiles in the place of the lowest and the
// highest, for many short measurements, among which there are always some that
// something else on the machine spoilt.
func Quartiles(before, after []float64) plugin.Range {
	r := ratios(before, after)
	if len(r) == 0 {
		return plugin.Range{}
	}
	return plugin.Range{Median: median(r), Low: r[(len(r)-1)/4], High: r[len(r)-1-(len(r)-1)/4]}
}

// ratios are before[i]/after[i] in ascending order.
func ratios(before, after []float64) []float64 {
	var r []float64
	for i := range min(len(before), len(after)) {
		if before[i] > 0 && after[i] > 0 {
			r = append(r, before[i]/after[i])
		}
	}
	slices.Sort(r)
	return r
}

// Speed compares the speeds at which two models answered the same prompts, in
// the same order. The first token of an answer belongs to its prompt's time. It
// is nil without answers.
func Speed(before, after []plugin.Answer) *plugin.SpeedRatio {
	pairs := min(len(before), len(after))
	if pairs == 0 {
		return nil
	}
	return &plugin.SpeedRatio{
		Pairs:      pairs,
		Prompt:     Ratios(each(before, promptTime), each(after, promptTime)),
		Generation: Ratios(each(before, tokenTime), each(after, tokenTime)),
	}
}

// Rates are the medians over answers of the tokens per second, of prompts and
// of what was generated after the first token; 0 where no answer tells.
func Rates(answers []plugin.Answer) (prompt, generation float64) {
	return rate(each(answers, promptTime)), rate(each(answers, tokenTime))
}

func promptTime(a plugin.Answer) float64 { return perToken(a.PromptSeconds, a.PromptTokens) }

func tokenTime(a plugin.Answer) float64 { return perToken(a.Seconds, a.Tokens-1) }

// perToken is 0 where there is no token to divide by.
func perToken(seconds float64, tokens int) float64 {
	if tokens < 1 {
		return 0
	}
	return seconds / float64(tokens)
}

func rate(times []float64) float64 {
	times = slices.DeleteFunc(times, func(t float64) bool { return t <= 0 })
	if len(times) == 0 {
		return 0
	}
	return 1 / median(times)
}

func each(answers []plugin.Answer, of func(plugin.Answer) float64) []float64 {
	values := make([]float64, len(answers))
	for i, a := range answers {
		values[i] = of(a)
	}
	return values
}

// median is the middle value, or the mean of the two in the middle. There must
// be one.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
