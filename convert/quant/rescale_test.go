package quant

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"pare/gguf"
)

// Scales and minima are multiplied, codes stay, and no change is no change.
func TestRescale(t *testing.T) {
	const rows, cols = 3, 512
	r := rand.New(rand.NewPCG(7, 7))
	tunable := 0
	for typ := range codecs {
		block, minima := Tunable(typ)
		if block == 0 || codecs[typ].fit == nil {
			continue
		}
		tunable++
		w := make([]float32, rows*cols)
		for i := range w {
			w[i] = float32(r.NormFloat64())
		}
		data, err := Quantize(typ, w, cols)
		if err != nil {
			t.Fatal(err)
		}
		n := rows * cols / block
		before, _ := Pack(typ, data, cols)
		same := bytes.Clone(data)
		if err := Rescale(typ, same, cols, make([]float32, n), make([]float32, n)); err != nil || !bytes.Equal(same, data) {
			t.Errorf("%v: scales times one are others: %v", typ, err)
		}
		scales, least := make([]float32, n), make([]float32, n)
		for i := range n {
			scales[i], least[i] = float32(r.Float64()-0.5), float32(r.Float64()-0.5)
		}
		if err := Rescale(typ, data, cols, scales, least); err != nil {
			t.Fatal(err)
		}
		after, _ := Pack(typ, data, cols)
		if !bytes.Equal(before.Q, after.Q) {
			t.Errorf("%v: codes changed", typ)
		}
		if !minima {
			least = scales
		}
		for i := range before.Scale {
			at := i * before.Block / block
			for _, c := range [][3]float32{{before.Scale[i], scales[at], after.Scale[i]}, {before.Min[i], least[at], after.Min[i]}} {
				want := float64(c[0]) * (1 + float64(c[1]))
				if math.Abs(float64(c[2])-want) > 6e-4*math.Abs(want)+1e-6 {
					t.Fatalf("%v: block %d: %v times 1+%v is %v", typ, i, c[0], c[1], c[2])
				}
			}
		}
	}
	if tunable < 10 {
		t.Errorf("scales of %d types only can be changed", tunable)
	}
}

func TestRescaleRefuses(t *testing.T) {
	one := []float32{0}
	for name, err := range map[string]error{
		"a code book":    Rescale(gguf.IQ4_NL, make([]byte, 18), 32, one, one),
		"float":          Rescale(gguf.F16, make([]byte, 64), 32, one, one),
		"too few":        Rescale(gguf.Q4_1, make([]byte, 40), 32, one, []float32{0, 0}),
		"part of a row":  Rescale(gguf.Q4_1, make([]byte, 20), 64, one, one),
		"too few minima": Rescale(gguf.Q4_1, make([]byte, 20), 32, one, nil),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
