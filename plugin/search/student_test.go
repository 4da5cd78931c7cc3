package search

import (
	"math"
	"testing"
)

// Values of the printed tables of Student's t.
func TestQuantileAgreesWithTheTables(t *testing.T) {
	for _, c := range []struct {
		p    float64
		df   int
		want float64
	}{
		{.025, 1, 12.706}, {.025, 2, 4.303}, {.025, 3, 3.182}, {.05, 4, 2.132}, {.025, 10, 2.228},
		{.005, 7, 3.499}, {.0005, 3, 12.924}, {.0005, 30, 3.646}, {.025, 120, 1.980}, {.025, 100000, 1.960},
	} {
		if got := quantile(c.p, c.df); math.Abs(got-c.want) > 6e-4 {
			t.Errorf("quantile(%g, %d) = %.4f, want %.3f", c.p, c.df, got, c.want)
		}
	}
	if got := quantile(.025, 0); !math.IsInf(got, 1) {
		t.Errorf("without degrees of freedom: %g", got)
	}
}
