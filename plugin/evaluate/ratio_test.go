package evaluate

import (
	"math"
	"math/rand/v2"
	"testing"

	"pare/plugin"
)

// near fails the test unless got is want, to six digits.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
		t.Errorf("%s: %.9g, want %.9g", what, got, want)
	}
}

func TestRatioByHand(t *testing.T) {
	// R = 30/10 = 3; residuals -2, 1, 1, 1, -1 over a mean size of 2: Σd² =
	// 8/4, s² = 0.5.
	r := ratio{y: []float64{1, 10, 10, 4, 5}, m: []float64{1, 3, 3, 1, 2}}
	e := r.estimate(ratio{})
	near(t, "mean", e.Value, 3)
	near(t, "spread", r.spread(), math.Sqrt(0.5))
	near(t, "error", e.Error, math.Sqrt(0.5/5))
	near(t, "low", e.Low, 3-student(4)*math.Sqrt(0.1))
	near(t, "high", e.High, 3+student(4)*math.Sqrt(0.1))
}

func TestFewChunksBorrowTheSpread(t *testing.T) {
	wide := ratio{y: []float64{1, 2, 3, 4, 5}, m: []float64{1, 1, 1, 1, 1}}
	for n := 1; n < few; n++ {
		part := ratio{y: wide.y[:n], m: wide.m[:n]}
		near(t, "error", part.estimate(wide).Error, wide.spread()/math.Sqrt(float64(n)))
	}
	own := ratio{y: []float64{3, 3, 3, 3, 3.5}, m: []float64{1, 1, 1, 1, 1}}
	wider := ratio{y: append(own.y, 9), m: append(own.m, 1)}
	near(t, "error of five chunks", own.estimate(wider).Error, own.spread()/math.Sqrt(5))
	alone := ratio{y: []float64{6}, m: []float64{2}}
	if e := alone.estimate(alone); e != (plugin.Estimate{Value: 3, Low: 3, High: 3}) {
		t.Errorf("one chunk: %+v", e)
	}
}

func TestPerplexity(t *testing.T) {
	e := perplexity(plugin.Estimate{Value: 3, Error: 0.1, Low: 2.8, High: 3.2})
	near(t, "value", e.Value, 20.085536923)
	near(t, "error", e.Error, 2.0085536923) // exp(3) times 0.1
	near(t, "low", e.Low, 16.444646771)
	near(t, "high", e.High, 24.532530197)
}

func TestStudent(t *testing.T) {
	for freedom, want := range map[int]float64{1: 12.706, 4: 2.776, 5: 2.5706, 9: 2.262, 30: 2.042, 100: 1.984, 100000: 1.960} {
		if got := student(freedom); math.Abs(got-want) > 0.003 {
			t.Errorf("%d degrees of freedom: %g, want %g", freedom, got, want)
		}
	}
}

// Chunks have effects of their own, so that their tokens are dependent, and
// sizes of their own. Intervals must hold the truth 95 times in a hundred.
func TestIntervalsHoldTheMean(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const truth, trials = 3.0, 4000
	for _, chunks := range []int{6, 12, 40} {
		held, heldPPL := 0, 0
		for range trials {
			var r ratio
			for range chunks {
				size := 200 + random.Float64()*300
				r.m = append(r.m, size)
				r.y = append(r.y, size*(truth+0.4*random.NormFloat64())+math.Sqrt(size)*random.NormFloat64())
			}
			e := r.estimate(r)
			if e.Low <= truth && truth <= e.High {
				held++
			}
			if p := perplexity(e); p.Low <= math.Exp(truth) && math.Exp(truth) <= p.High {
				heldPPL++
			}
		}
		if share := float64(held) / trials; share < 0.935 || share > 0.965 {
			t.Errorf("%d chunks: %.3f of the intervals hold the mean", chunks, share)
		}
		if held != heldPPL {
			t.Errorf("%d chunks: %d intervals of the mean and %d of the perplexity hold", chunks, held, heldPPL)
		}
	}
}

// A style of one chunk borrows the spread of all text, in which styles differ
// too: its interval may be too wide but not too narrow.
func TestBorrowedIntervalsHoldTheMeanOfAStyle(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	const trials, styles = 1000, 18
	held := 0
	for range trials {
		var all ratio
		var truth []float64
		for range styles {
			truth = append(truth, 3+0.3*random.NormFloat64())
			all.m = append(all.m, 500)
			all.y = append(all.y, 500*(truth[len(truth)-1]+0.3*random.NormFloat64()))
		}
		for i := range truth {
			e := ratio{all.y[i : i+1], all.m[i : i+1]}.estimate(all)
			if e.Low <= truth[i] && truth[i] <= e.High {
				held++
			}
		}
	}
	if share := float64(held) / (trials * styles); share < 0.95 || share == 1 {
		t.Errorf("%.3f of the intervals hold", share)
	}
}
