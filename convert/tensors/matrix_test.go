package tensors_test

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	gomlx "github.com/gomlx/gomlx/core/tensors"

	"pare/convert/quant"
	"pare/convert/tensors"
	"pare/gguf"
	"pare/gguf/gguftest"
	"pare/repair"
)

const rows, cols = 5, 512

// matrix is a file with a matrix of type kind called "m", and the numbers in it.
func matrix(t *testing.T, kind gguf.TensorType) (*gguf.File, []float32) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(kind)))
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(r.NormFloat64())
	}
	data, err := quant.Quantize(kind, w, cols)
	if err != nil {
		t.Fatal(err)
	}
	if w, err = quant.Floats(kind, data); err != nil {
		t.Fatal(err)
	}
	return file(t, kind, data), w
}

func file(t *testing.T, kind gguf.TensorType, data []byte) *gguf.File {
	t.Helper()
	b := gguftest.Builder{Tensors: []gguftest.Tensor{{Name: "m", Shape: []uint64{cols, rows}, Type: uint32(kind), Bytes: data}}}.Bytes()
	f, err := gguf.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func open(t *testing.T) compute.Backend {
	t.Helper()
	b, err := repair.Open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("%v: make xla fetches it", err)
	}
	return b
}

// run computes f of a matrix's values.
func run(t *testing.T, b compute.Backend, m *tensors.Matrix, f func(values []*Node) *Node) []float32 {
	t.Helper()
	e, err := NewExec(b, f)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Finalize()
	var args []any
	for _, v := range m.Values {
		args = append(args, v)
	}
	results, err := e.Call(args...)
	if err != nil {
		t.Fatal(err)
	}
	flat, err := gomlx.CopyFlatData[float32](results[0])
	if err != nil {
		t.Fatal(err)
	}
	return flat
}

// TestUnpack holds the numbers that a graph unpacks against those of package quant. It
// may multiply and add without rounding in between, hence the margin.
func TestUnpack(t *testing.T) {
	b := open(t)
	for _, kind := range []gguf.TensorType{
		gguf.F32, gguf.F16, gguf.BF16, gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0,
		gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K,
	} {
		t.Run(kind.String(), func(t *testing.T) {
			f, want := matrix(t, kind)
			m, err := tensors.Read(f, "m", 0)
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, b, m, func(values []*Node) *Node { return m.Unpack(values, nil) })
			requireNear(t, got, want, 1e-6)
			some := run(t, b, m, func(values []*Node) *Node {
				return m.Gather(values, Const(values[0].Graph(), []int32{3, 0, 3}))
			})
			requireNear(t, some[:cols], want[3*cols:4*cols], 1e-6)
			requireNear(t, some[cols:2*cols], want[:cols], 1e-6)
			requireNear(t, some[2*cols:], want[3*cols:4*cols], 1e-6)
		})
	}
}

// TestNarrow: matrices of more bits are rounded, others left as they are.
func TestNarrow(t *testing.T) {
	b := open(t)
	for _, c := range []struct {
		kind  gguf.TensorType
		bits  int
		bytes int64   // of a number, in sixteenths: its bits, and scale and minimum of 32 numbers
		off   float64 // at most
	}{
		{gguf.F16, 8, 20, 0.03}, {gguf.F16, 4, 12, 0.3}, {gguf.F32, 4, 12, 0.3},
		{gguf.Q8_0, 4, 12, 0.3}, {gguf.Q8_0, 8, 20, 1e-6}, {gguf.Q4_0, 8, 12, 1e-6}, {gguf.Q4_K, 4, 12, 1e-6},
	} {
		f, want := matrix(t, c.kind)
		m, err := tensors.Read(f, "m", c.bits)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Bytes() * 16 / (rows * cols); got != c.bytes {
			t.Errorf("%v in %d bits takes %d/16 bytes a number, want %d/16", c.kind, c.bits, got, c.bytes)
		}
		requireNear(t, run(t, b, m, func(values []*Node) *Node { return m.Unpack(values, nil) }), want, c.off)
	}
}

func requireNear(t *testing.T, got, want []float32, off float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d numbers, want %d", len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(float64(got[i]-want[i])) <= off) {
			t.Fatalf("number %d is %v, want %v", i, got[i], want[i])
		}
	}
}

// TestFloats: what is not scale·q + min comes as the numbers themselves.
func TestFloats(t *testing.T) {
	b := open(t)
	for _, kind := range []gguf.TensorType{gguf.IQ4_NL, gguf.IQ4_XS, gguf.MXFP4, gguf.OllamaMXFP4} {
		size, err := kind.Bytes([]uint64{cols, rows})
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(2, uint64(kind)))
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(r.IntN(128) & 0x3b) // scales below 1, whatever their type
		}
		want, err := quant.Floats(kind, data)
		if err != nil {
			t.Fatal(err)
		}
		m, err := tensors.Read(file(t, kind, data), "m", 0)
		if err != nil {
			t.Fatal(err)
		}
		requireNear(t, run(t, b, m, func(values []*Node) *Node { return m.Unpack(values, nil) }), want, 0)
		if m, err = tensors.Read(file(t, kind, data), "m", 8); err != nil {
			t.Fatal(err)
		}
		if got := m.Bytes() * 16 / (rows * cols); got != 20 {
			t.Errorf("%v in 8 bits takes %d/16 bytes a number, want 20/16", kind, got)
		}
	}
}

// TestCodebook: what only ggml can read is said to be so.
func TestCodebook(t *testing.T) {
	size, err := gguf.IQ3_S.Bytes([]uint64{cols, rows})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tensors.Read(file(t, gguf.IQ3_S, make([]byte, size)), "m", 0); !errors.Is(err, quant.ErrCodebook) {
		t.Errorf("%v, want %v", err, quant.ErrCodebook)
	}
}
