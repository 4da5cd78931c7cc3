package evaluate

// Repetition is the share of all runs of four [words] that stood in the same
// answer before, 0..1: near 0 for prose, near 1 for an answer caught in a loop.
// Answers of fewer than four words have none.
func Repetition(answers []string) float64 {
	const run = 4
	all, again := 0, 0
	for _, answer := range answers {
		for _, times := range ngrams(words(answer), run) {
			all += times
			again += times - 1
		}
	}
	if all == 0 {
		return 0
	}
	return float64(again) / float64(all)
}
