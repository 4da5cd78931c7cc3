package search

import "math"

// quantile is the value that Student's t with df degrees of freedom exceeds with
// probability p, 0 < p < 1/2. It is infinite without degrees of freedom.
func quantile(p float64, df int) float64 {
	if df < 1 {
		return math.Inf(1)
	}
	low, high := 0.0, 1.0
	for tail(high, df) > p {
		low, high = high, 2*high
	}
	for range 60 {
		if middle := (low + high) / 2; tail(middle, df) > p {
			low = middle
		} else {
			high = middle
		}
	}
	return high
}

// tail is the probability that Student's t exceeds x >= 0, by the finite series
// for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4), where
// θ = atan(x/sqrt(df)).
func tail(x float64, df int) float64 {
	sin, cos := math.Sincos(math.Atan(x / math.Sqrt(float64(df))))
	term, sum := 1.0, 0.0 // term: the next of the series in cos²θ
	odd := df % 2
	if odd == 1 {
		term = cos
	}
	for i := odd; i < df-1; i += 2 {
		sum += term
		term *= cos * cos * float64(i+1) / float64(i+2)
	}
	within := sin * sum
	if odd == 1 {
		within = 2 / math.Pi * (math.Atan(x/math.Sqrt(float64(df))) + sin*sum)
	}
	return (1 - within) / 2
}
