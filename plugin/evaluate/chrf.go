package evaluate

import "unicode"

// ChrF is the character n-gram F-score of answers to their references, 0..100
// (Popović 2015, chrF2): n-grams of 1 to 6 characters, white space removed,
// recall counting beta = 2 times as much as precision,
//
//	chrF = 100 (1+β²) P R / (β² P + R)
//
// where P and R are the means, over the orders n that both sides have n-grams
// of, of the shares of the answers' n-grams found in the references and of the
// references' found in the answers, counted over all answers together. It is 0
// where nothing is in common, and equals sacrebleu's default.
func ChrF(answers, references []string) float64 {
	const orders, beta2 = 6, 4.0
	var counts [orders]overlap
	for i := range answers {
		a, r := characters(answers[i]), characters(references[i])
		for n := range counts {
			counts[n].add(compareInOne(a, r, n+1))
		}
	}
	precision, recall, effective := 0.0, 0.0, 0.0
	for _, o := range counts {
		if o.answer > 0 && o.reference > 0 {
			precision += float64(o.both) / float64(o.answer)
			recall += float64(o.both) / float64(o.reference)
			effective++
		}
	}
	if precision == 0 {
		return 0
	}
	precision, recall = precision/effective, recall/effective
	return 100 * (1 + beta2) * precision * recall / (beta2*precision + recall)
}

// compareInOne is compare, but an answer counts for nothing where its reference
// has no n-gram that it could have matched.
func compareInOne(answer, reference []string, n int) overlap {
	o := compare(answer, reference, n)
	if o.reference == 0 {
		o.answer = 0
	}
	return o
}

// characters are those of a text that are not white space.
func characters(text string) []string {
	var out []string
	for _, r := range text {
		if !unicode.IsSpace(r) {
			out = append(out, string(r))
		}
	}
	return out
}
