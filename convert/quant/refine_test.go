package quant

import (
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"pare/gguf"
)

// expected is the squared error that the moments expect of w stored as data.
func (t trial) expected(tb testing.TB, data []byte) float64 {
	tb.Helper()
	q, err := Floats(t.typ, data)
	if err != nil {
		tb.Fatal(err)
	}
	e := mat.NewDense(t.rows, t.cols, nil)
	for i, x := range q {
		e.RawMatrix().Data[i] = float64(x) - float64(t.w[i])
	}
	h := mat.NewDense(t.cols, t.cols, slices.Clone(t.h.Mean))
	for i := range t.cols {
		h.Set(i, i, h.At(i, i)+t.h.damp())
	}
	return mat.Trace(product(product(e, h), e.T()))
}

// What refine leaves is better than what it found, in the bytes that are written, for
// types with one factor in a block and with two.
func TestRefineLowersTheError(t *testing.T) {
	for typ, share := range map[gguf.TensorType]float64{
		gguf.Q4_0: 0.95, gguf.Q4_1: 0.95, gguf.Q5_1: 0.95, gguf.Q8_0: 0.95,
		gguf.Q2_K: 0.98, gguf.Q3_K: 0.98, gguf.Q4_K: 0.98, gguf.Q5_K: 0.98, gguf.Q6_K: 0.98,
	} {
		trial := newTrial(typ, 70, 256, 0.1)
		c, err := codecOf(typ)
		if err != nil {
			t.Fatal(err)
		}
		f, err := trial.h.factored()
		if err != nil {
			t.Fatal(err)
		}
		blocks := slices.Clone(trial.old)
		b := c.bandOf(typ, blocks, trial.w, trial.cols)
		b.feedback(f)
		b.put(typ, blocks)
		before := trial.expected(t, blocks)
		b.refine(trial.h, typ, blocks)
		b.put(typ, blocks)
		after := trial.expected(t, blocks)
		t.Logf("%v: %.4g of the error is left", typ, after/before)
		if after > share*before {
			t.Errorf("%v: an error of %.4g became %.4g", typ, before, after)
		}
	}
}
