package evaluate

import "math"

// BLEU is that of Papineni et al. (2002) for answers against one reference
// each, 0..100, over all of them together: the geometric mean of the shares p_n
// of the answers' n-grams of 1 to 4 [tokens] that their references have, times
// a penalty for answers shorter than the references,
//
//	BLEU = 100 min(1, exp(1 - r/a)) (p₁ p₂ p₃ p₄)^¼
//
// with a and r the numbers of tokens of answers and references. An order
// without a match takes 1/2 of one match, the next such 1/4, and so on (NIST's
// smoothing, "exp" in sacrebleu). It is 0 where no token matches and where no
// answer has four tokens, and equals sacrebleu's default but for what [tokens]
// says.
func BLEU(answers, references []string) float64 {
	const orders = 4
	var counts [orders]overlap
	a, r := 0, 0
	for i := range answers {
		answer, reference := tokens(answers[i]), tokens(references[i])
		a += len(answer)
		r += len(reference)
		for n := range counts {
			counts[n].add(compare(answer, reference, n+1))
		}
	}
	if counts[0].both == 0 || counts[orders-1].answer == 0 {
		return 0
	}
	logs, missing := 0.0, 1.0
	for _, o := range counts {
		matches := float64(o.both)
		if matches == 0 {
			missing /= 2
			matches = missing
		}
		logs += math.Log(matches / float64(o.answer))
	}
	penalty := min(1, math.Exp(1-float64(r)/float64(a)))
	return 100 * penalty * math.Exp(logs/orders)
}
