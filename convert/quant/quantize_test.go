package quant

import (
	"math"
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
