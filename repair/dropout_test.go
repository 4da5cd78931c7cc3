package repair

import (
	"math"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// masks applies dropout to ones twice, for two salts and a seed.
func masks(t *testing.T, share float64, seed uint32, rows, cols int) (a, b []float32) {
	ones := make([]float32, rows*cols)
	for i := range ones {
		ones[i] = 1
	}
	out := MustExecOnceN(backend(t), func(x, seed *Node) (*Node, *Node) {
		d := dropout{share, seed}
		return d.apply(x, 0), d.apply(x, 1)
	}, tensors.FromFlatDataAndDimensions(ones, rows, cols), seed)
	return tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
}

func TestDropout(t *testing.T) {
	const rows, cols, share = 256, 1000, 0.25
	a, b := masks(t, share, 7, rows, cols)
	again, _ := masks(t, share, 7, rows, cols)
	other, _ := masks(t, share, 8, rows, cols)
	if !slices.Equal(a, again) {
		t.Error("the same seed chose differently")
	}
	alike := func(a, b []float32) float64 { // share of numbers that both leave out
		n := 0
		for i := range a {
			if a[i] == 0 && b[i] == 0 {
				n++
			}
		}
		return float64(n) / float64(len(a))
	}
	chance := 5 * math.Sqrt(share*(1-share)/(rows*cols))
	near(t, "share left out", alike(a, a), share, chance)
	for name, b := range map[string][]float32{
		"another salt": b, "another seed": other, "the next number": slices.Concat(a[1:], a[:1]), "the next row": slices.Concat(a[cols:], a[:cols]),
	} {
		near(t, "share left out together with "+name, alike(a[:len(b)], b), share*share, chance)
	}
	for _, x := range a {
		if x != 0 && math.Abs(float64(x)-1/(1-share)) > 1e-6 {
			t.Fatalf("a number that is kept became %g", x)
		}
	}
}
