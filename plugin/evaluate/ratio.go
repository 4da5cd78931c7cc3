package evaluate

import (
	"math"

	"pare/plugin"
)

// few is the number of chunks below which the spread among them is too
// uncertain itself to build an interval on.
const few = 5

// A ratio estimates R = Σ y_i / Σ m_i, a mean over tokens, from chunks i with
// sums y_i over m_i tokens each.
type ratio struct {
	y, m []float64
}

// mean is R, over all tokens alike. Σ m_i must not be 0.
func (r ratio) mean() float64 { return sum(r.y) / sum(r.m) }

// spread is the standard deviation among chunks of their means, each weighted
// by its tokens: s² = 1/(n-1) Σ ((y_i - R m_i) / m̄)². It takes two chunks.
func (r ratio) spread() float64 {
	n, mean, size := float64(len(r.y)), r.mean(), sum(r.m)/float64(len(r.m))
	squares := 0.0
	for i := range r.y {
		d := (r.y[i] - mean*r.m[i]) / size
		squares += d * d
	}
	return math.Sqrt(squares / (n - 1))
}

// estimate is the ratio estimator of survey sampling (Cochran, Sampling
// Techniques, 3rd edition, 6.13) without the correction for a finite
// population: the standard error of R is s/√n, and the interval R ± t s/√n with
// Student's t of n-1 degrees of freedom.
//
// Fewer than five chunks borrow the spread, and its degrees of freedom, of the
// wider text that they are a part of. There the chunks differ by style too, so
// the interval is rather too wide. Where there is no more than one chunk at all
// the error is unknown: it is given as 0, with the bounds at the value.
func (r ratio) estimate(wider ratio) plugin.Estimate {
	from := r
	if len(r.y) < few && len(wider.y) > len(r.y) {
		from = wider
	}
	e := plugin.Estimate{Value: r.mean()}
	if len(from.y) > 1 {
		e.Error = from.spread() / math.Sqrt(float64(len(r.y)))
	}
	half := 0.0
	if e.Error > 0 {
		half = student(len(from.y)-1) * e.Error
	}
	e.Low, e.High = e.Value-half, e.Value+half
	return e
}

// within moves an interval and its value into [low, high], where the quantity
// cannot be elsewhere.
func within(e plugin.Estimate, low, high float64) *plugin.Estimate {
	clip := func(x float64) float64 { return max(low, min(x, high)) }
	e.Value, e.Low, e.High = clip(e.Value), clip(e.Low), clip(e.High)
	return &e
}

// perplexity turns an estimate of a mean negative log-probability into one of
// the perplexity. The standard error is that of the delta method, exp(R) times
// the error of R; the bounds are exp of the bounds, so that the interval is
// never below 0 and lies unevenly about its value, as the distribution does.
func perplexity(e plugin.Estimate) plugin.Estimate {
	value := finiteExp(e.Value)
	return plugin.Estimate{
		Value: value,
		Error: min(value*e.Error, math.MaxFloat64),
		Low:   finiteExp(e.Low),
		High:  finiteExp(e.High),
	}
}

// finiteExp is e to the power of x, but never infinite.
func finiteExp(x float64) float64 { return min(math.Exp(x), math.MaxFloat64) }

func sum(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total
}

// z is the normal distribution's 97.5% quantile.
const z = 1.959963984540054

// student is the 97.5% quantile of Student's t: from a table up to four degrees
// of freedom, beyond them by the expansion of Abramowitz and Stegun 26.7.5,
// whose error is below 0.003 there.
func student(freedom int) float64 {
	if freedom < 1 {
		return z
	}
	if table := []float64{12.7062, 4.3027, 3.1824, 2.7764}; freedom <= len(table) {
		return table[freedom-1]
	}
	f, z3, z5, z7 := float64(freedom), z*z*z, z*z*z*z*z, z*z*z*z*z*z*z
	return z + (z3+z)/(4*f) + (5*z5+16*z3+3*z)/(96*f*f) + (3*z7+19*z5+17*z3-15*z)/(384*f*f*f)
}
