package integration

import (
	"math"
	"math/rand/v2"
	"testing"

	fsggml "github.com/ollama/ollama/fs/ggml"
	"github.com/ollama/ollama/ml/backend/ggml"

	"pare/convert/quant"
	"pare/gguf"
)

// quantTypes are the types that ggml.ConvertToF32 reads, less Ollama's own.
var quantTypes = []gguf.TensorType{
	gguf.F16, gguf.BF16, gguf.MXFP4,
	gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0,
	gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K,
}

// Any bytes are the same numbers to Pare and to ggml, bit for bit.
func TestNumbersAreThoseOfGGML(t *testing.T) {
	for _, typ := range quantTypes {
		t.Run(typ.String(), func(t *testing.T) {
			const blocks = 4096
			r := rand.New(rand.NewPCG(1, uint64(typ)))
			data := make([]byte, blocks*int(typ.TypeSize()))
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			got, err := quant.Floats(typ, data)
			if err != nil {
				t.Fatal(err)
			}
			want := ggml.ConvertToF32(data, uint32(typ), blocks*typ.BlockSize())
			if len(got) != len(want) {
				t.Fatalf("%d numbers, ggml has %d", len(got), len(want))
			}
			for i := range want {
				if !alike(got[i], want[i]) {
					t.Fatalf("number %d is %v, in ggml %v", i, got[i], want[i])
				}
			}
		})
	}
}

// alike reports whether two numbers have the same bits, but for zeros, which may
// differ in sign, and what follows from a scale that is not finite.
func alike(got, want float32) bool {
	finite := func(x float32) bool { return !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0) }
	return got == want || !finite(got) && !finite(want)
}

// What Pare quantises afresh is no worse than what ggml does.
func TestQuantizeIsAsGoodAsGGML(t *testing.T) {
	const rows, cols = 64, 1024
	r := rand.New(rand.NewPCG(2, 2))
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(r.NormFloat64() * 0.05)
		if i%cols < 8 { // some columns are larger
			w[i] *= 6
		}
	}
	for _, typ := range quantTypes {
		if typ == gguf.MXFP4 {
			continue // Pare makes none
		}
		t.Run(typ.String(), func(t *testing.T) {
			data, err := quant.Quantize(typ, w, cols)
			if err != nil {
				t.Fatal(err)
			}
			theirs := ggml.Quantize(fsggml.TensorType(typ), w, []uint64{cols, rows})
			if len(data) != len(theirs) {
				t.Fatalf("%d bytes, ggml makes %d", len(data), len(theirs))
			}
			us, them := squaredError(t, typ, data, w), squaredError(t, typ, theirs, w)
			t.Logf("squared error %.3g of ggml's", us/them)
			if us > 1.1*them {
				t.Errorf("squared error %g, ggml's %g", us, them)
			}
		})
	}
}

func squaredError(t *testing.T, typ gguf.TensorType, data []byte, w []float32) (sum float64) {
	t.Helper()
	got, err := quant.Floats(typ, data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range w {
		d := float64(got[i]) - float64(w[i])
		sum += d * d
	}
	return sum
}
