package evaluate

import (
	"cmp"
	"slices"

	"pare/plugin"
)

// Generation holds the answers of a second model against the first one's to the
// same prompts, all in the same order. [ChrF] and [BLEU] take the first one's
// as the references: they tell how much is worded alike, not which answer is
// better.
//
// Up to samples pairs are shown, in the order of the prompts: of all pairs
// sorted by chrF those in the middle, so that they are neither the best nor the
// worst. Without answers it is nil.
func Generation(prompts, before, after []string, samples int) *plugin.Generation {
	if len(prompts) == 0 {
		return nil
	}
	g := &plugin.Generation{
		Prompts:          len(prompts),
		ChrF:             ChrF(after, before),
		BLEU:             BLEU(after, before),
		RepetitionBefore: Repetition(before),
		RepetitionAfter:  Repetition(after),
	}
	for i := range prompts {
		if languageChanged(before[i], after[i]) {
			g.LanguageChanged++
		}
	}
	for _, i := range middle(before, after, samples) {
		g.Samples = append(g.Samples, plugin.Sample{Prompt: prompts[i], Before: before[i], After: after[i]})
	}
	return g
}

// middle returns the indexes of the n pairs around the median of chrF, sorted.
func middle(before, after []string, n int) []int {
	likeness := make([]float64, len(before))
	order := make([]int, len(before))
	for i := range before {
		likeness[i] = ChrF(after[i:i+1], before[i:i+1])
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(likeness[a], likeness[b]) })
	n = max(0, min(n, len(order)))
	first := (len(order) - n) / 2
	picked := order[first : first+n]
	slices.Sort(picked)
	return picked
}
