package search

import (
	"math"

	"pare/plugin"
)

// A difference of mean log-losses, nats a token, with its standard error, which
// is infinite where one chunk alone was run.
type difference struct {
	mean, err float64
}

// difference tells by how much the loss without a exceeds that without b, on the
// k chunks that both ran: d = Σ(a_i - b_i) / Σt_i over chunks i of t_i tokens. It
// is a ratio, so its standard error is that of the residuals,
//
//	sqrt(k/(k-1) Σ(a_i - b_i - d t_i)²) / Σt_i
//
// (Cochran, Sampling Techniques, 6.4, without the correction for a finite population).
func (t *table) difference(a, b *row) difference {
	k := min(len(a.nll), len(b.nll))
	residuals := make([]float64, k)
	mean := t.contribute(residuals, a, b, k)
	return difference{mean, deviation(residuals)}
}

// contribute returns the mean difference of a and b over k chunks, and adds to into,
// chunk by chunk, what each has contributed to its error.
func (t *table) contribute(into []float64, a, b *row, k int) float64 {
	sum, tokens := 0.0, 0.0
	for i := range k {
		sum += a.nll[i] - b.nll[i]
		tokens += t.tokens[i]
	}
	mean := sum / tokens
	for i := range k {
		into[i] += (a.nll[i] - b.nll[i] - mean*t.tokens[i]) / tokens
	}
	return mean
}

// deviation is the standard error of a sum of contributions.
func deviation(contributions []float64) float64 {
	k := float64(len(contributions))
	if k < 2 {
		return math.Inf(1)
	}
	sum := 0.0
	for _, c := range contributions {
		sum += c * c
	}
	return math.Sqrt(k / (k - 1) * sum)
}

// rise estimates by how much the loss without v exceeds the whole model's, on the
// chunks that the chosen set ran on. A set that dropped out before is known on some
// of them: its rise is the chosen set's, plus the difference between the two on
// what both ran, so that sets judged on other chunks can still be put in order.
func (t *table) rise(v, chosen, whole *row) plugin.Estimate {
	contributions := make([]float64, len(chosen.nll))
	k := min(len(v.nll), len(chosen.nll))
	value := t.contribute(contributions, chosen, whole, len(chosen.nll)) + t.contribute(contributions, v, chosen, k)
	e := plugin.Estimate{Value: value, Low: value, High: value}
	if k > 1 {
		e.Error = deviation(contributions)
		half := quantile(0.025, k-1) * e.Error
		e.Low, e.High = value-half, value+half
	}
	return e
}

// loss is the mean log-loss of a row, nats a token.
func (t *table) loss(r *row) float64 {
	sum, tokens := 0.0, 0.0
	for i, v := range r.nll {
		sum += v
		tokens += t.tokens[i]
	}
	return sum / tokens
}
