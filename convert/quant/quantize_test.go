package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pare/gguf"
)

// Numbers that lie on a type's grid come out as they were.
func TestQuantizeFindsTheGrid(t *testing.T) {
	ramp := make([]float32, 256)
	for i := range ramp {
		ramp[i] = float32(i%16) - 8 // all codes of four bits
	}
	for _, typ := range []gguf.TensorType{gguf.F32, gguf.F64, gguf.F16, gguf.BF16, gguf.Q4_0, gguf.Q4_1, gguf.Q5_0} {
		data, err := Quantize(typ, ramp, 256)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := Floats(typ, data); !slices.Equal(got, ramp) {
			t.Errorf("%v: %v", typ, got[:16])
		}
	}
	for typ := range codecs {
		if codecs[typ].fit == nil {
			continue
		}
		data, err := Quantize(typ, make([]float32, 256), 256)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := Floats(typ, data); !slices.Equal(got, make([]float32, 256)) {
			t.Errorf("%v: zeros become %v", typ, got[:16])
		}
	}
}

func TestQuantizeRefuses(t *testing.T) {
	w := func(x float32) []float32 { return append(make([]float32, 255), x) }
	for name, c := range map[string]struct {
		typ  gguf.TensorType
		w    []float32
		cols int
	}{
		"not a number":    {gguf.Q8_0, w(float32(math.NaN())), 256},
		"infinite":        {gguf.F32, w(float32(math.Inf(1))), 256},
		"too large":       {gguf.F16, w(1e6), 256},
		"ragged":          {gguf.Q8_0, w(1), 96},
		"narrow":          {gguf.Q4_K, w(1), 64},
		"no columns":      {gguf.Q8_0, w(1), 0},
		"code book":       {gguf.IQ3_S, w(1), 256},
		"read only":       {gguf.MXFP4, w(1), 256},
		"whole numbers":   {gguf.I8, w(1), 256},
		"type that is no": {99, w(1), 256},
	} {
		if _, err := Quantize(c.typ, c.w, c.cols); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// No bytes and no numbers make any of it panic, and what is read can be stored.
func FuzzNumbers(f *testing.F) {
	for _, b := range writtenBlocks {
		f.Add(uint32(b.typ), b.block(), uint16(b.typ.BlockSize()))
	}
	f.Fuzz(func(t *testing.T, typ uint32, data []byte, cols uint16) {
		tt, n := gguf.TensorType(typ), int(cols)
		Pack(tt, data, n)
		w, err := Floats(tt, data)
		if err != nil {
			return
		}
		stored, err := Quantize(tt, w, n)
		if err == nil && len(stored) != len(data) {
			t.Fatalf("%d bytes are stored as %d", len(data), len(stored))
		}
		for i := range w {
			w[i] *= 1.01
		}
		Requantize(tt, data, w, n, nil)
	})
}

// Numbers so small that half precision has few steps for their scale, and groups on one
// side of zero, are stored as near as others are.
func TestQuantizeLosesNoGroup(t *testing.T) {
	for _, kind := range []gguf.TensorType{gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K} {
		for _, largest := range []float64{1e-3, 5e-3, 1e-2, 1} {
			r := rand.New(rand.NewPCG(1, 2))
			const cols = 256
			w := make([]float32, 64*cols)
			for i := range w {
				w[i] = float32(largest * (r.Float64() - 0.5))
				if i/32%8 == 0 { // above zero, but for one far above them
					w[i] = float32(largest * (0.05 + 0.9*r.Float64()*float64(1-i/cols%2)/2))
				}
			}
			data, err := Quantize(kind, w, cols)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Floats(kind, data)
			if err != nil {
				t.Fatal(err)
			}
			for g := 0; g < len(w); g += 16 {
				var power, lost float64
				for i := g; i < g+16; i++ {
					power += float64(w[i]) * float64(w[i])
					lost += math.Pow(float64(got[i]-w[i]), 2)
				}
				if lost > 0.5*power {
					t.Fatalf("%v, up to %g: numbers %d to %d are stored as %v, not %v", kind, largest, g, g+15, got[g:g+16], w[g:g+16])
				}
			}
		}
	}
}
