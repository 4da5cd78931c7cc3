package evaluate

import (
	"math"

	"pare/plugin"
)

// share estimates a probability from k successes in n trials, n > 0: k/n with
// standard error √(p(1-p)/n), and the interval of Wilson (1927), which unlike p
// ± z·error holds its 95% near 0 and 1 and for few trials:
//
//	(p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
func share(k, n int) plugin.Estimate {
	N := float64(n)
	p := float64(k) / N
	centre := (p + z*z/(2*N)) / (1 + z*z/N)
	half := z * math.Sqrt(p*(1-p)/N+z*z/(4*N*N)) / (1 + z*z/N)
	return plugin.Estimate{
		Value: p,
		Error: math.Sqrt(p * (1 - p) / N),
		Low:   max(0, min(p, centre-half)),
		High:  min(1, max(p, centre+half)),
	}
}

// change estimates the difference of two shares over the same n questions, of
// which won are right after and wrong before, and lost the reverse. As in
// McNemar's test, questions with the same outcome tell nothing of its
// direction:
//
//	d = (won - lost)/n,  error² = (won + lost - (won - lost)²/n) / n²
//
// The interval is that of Agresti and Min (2005): the same formulas with half a
// question added to each of the four outcomes, z errors to each side. It does
// not shrink to a point where no answer changed.
func change(won, lost, n int) plugin.Estimate {
	d, err := difference(float64(won), float64(lost), float64(n))
	centre, half := difference(float64(won)+0.5, float64(lost)+0.5, float64(n)+2)
	half *= z
	return plugin.Estimate{
		Value: d,
		Error: err,
		Low:   max(-1, min(d, centre-half)),
		High:  min(1, max(d, centre+half)),
	}
}

func difference(won, lost, n float64) (d, err float64) {
	return (won - lost) / n, math.Sqrt(max(0, won+lost-(won-lost)*(won-lost)/n)) / n
}
