package evaluate

import "strings"

// overlap counts n-grams of one order: those of an answer, those of its
// reference, and those in both, each as often as in the side that has it less.
type overlap struct {
	answer, reference, both int
}

// compare counts the n-grams of two lists of words or characters. A side
// shorter than n has none.
func compare(answer, reference []string, n int) overlap {
	a, r := ngrams(answer, n), ngrams(reference, n)
	o := overlap{answer: max(0, len(answer)-n+1), reference: max(0, len(reference)-n+1)}
	for gram, times := range a {
		o.both += min(times, r[gram])
	}
	return o
}

func (o *overlap) add(p overlap) {
	o.answer += p.answer
	o.reference += p.reference
	o.both += p.both
}

// ngrams counts each run of n items. NUL keeps them apart: ["ab" "c"] is not
// ["a" "bc"].
func ngrams(items []string, n int) map[string]int {
	counts := map[string]int{}
	for i := 0; i+n <= len(items); i++ {
		counts[strings.Join(items[i:i+n], "\x00")]++
	}
	return counts
}
