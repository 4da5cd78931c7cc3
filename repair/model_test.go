package repair_test

import (
	"bytes"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"pare/gguf"
	"pare/integration/tinymodel"
	"pare/repair"
)

var openOnce = sync.OnceValues(func() (compute.Backend, error) {
	return repair.Open(slog.New(slog.DiscardHandler))
})

// xla is the backend that repair opens by itself.
func xla(t *testing.T) compute.Backend {
	t.Helper()
	b, err := openOnce()
	if err != nil {
		t.Fatalf("%v: make xla fetches it", err)
	}
	return b
}

// A subject is a tiny model, or layers of one, ready to be computed.
type subject struct {
	*repair.Network
	weights *repair.Stored
	backend compute.Backend
}

func newSubject(t *testing.T, c tinymodel.Config) subject {
	t.Helper()
	return newPart(t, c, repair.Part{To: math.MaxInt, Embedding: true, Head: true})
}

func newPart(t *testing.T, c tinymodel.Config, p repair.Part) subject {
	t.Helper()
	c.Float32 = true
	model, err := tinymodel.New(c)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(bytes.NewReader(model), int64(len(model)))
	if err != nil {
		t.Fatal(err)
	}
	n, err := repair.NewNetwork(f)
	if err != nil {
		t.Fatal(err)
	}
	p.To = min(p.To, len(n.Layers))
	w, err := n.Read(f, p)
	if err != nil {
		t.Fatal(err)
	}
	return subject{n, w, xla(t)}
}

// compile returns what computes f of n inputs and the weights.
func (s subject) compile(t *testing.T, n int, f func(w repair.Weights, in []*Node) []*Node) func(inputs ...*tensors.Tensor) [][]float32 {
	t.Helper()
	e, err := NewExec(s.backend, func(in []*Node) []*Node { return f(s.weights.In(in[n:]), in[:n]) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Finalize)
	return func(inputs ...*tensors.Tensor) (out [][]float32) {
		t.Helper()
		var args []any
		for _, v := range slices.Concat(inputs, s.weights.Tensors()) {
			args = append(args, v)
		}
		results, err := e.Call(args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			flat, err := tensors.CopyFlatData[float32](r)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, flat)
		}
		return out
	}
}

// normal is a tensor of random numbers.
func normal(seed uint64, dims ...int) ([]float32, *tensors.Tensor) {
	size := 1
	for _, d := range dims {
		size *= d
	}
	r := rand.New(rand.NewPCG(seed, 0))
	v := make([]float32, size)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v, tensors.FromFlatDataAndDimensions(v, dims...)
}

func ints(v []int32, dims ...int) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(v, dims...)
}

func largestDifference(a, b []float32) (d float64) {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}

// everyKind is a model of each architecture, with all that a layer can have.
var everyKind = map[string]tinymodel.Config{
	"llama":  {Architecture: "llama", Layers: 2, Positions: "factors"},
	"qwen2":  {Architecture: "qwen2", Layers: 2, Positions: "yarn"},
	"qwen3":  {Architecture: "qwen3", Layers: 2},
	"gemma2": {Architecture: "gemma2", Layers: 2},
	"gemma3": {Architecture: "gemma3", Layers: 6},
	"phi3":   {Architecture: "phi3", Layers: 2, Positions: "factors"},
}

// TestGradient holds the gradient of the layers' output against differences of the
// output itself along a random direction, and against the gradient that
// rematerialisation computes.
func TestGradient(t *testing.T) {
	for name, c := range everyKind {
		t.Run(name, func(t *testing.T) {
			const b, length, step = 2, 9, 1e-2
			s := newSubject(t, c)
			x, xs := normal(1, b, length, s.Hidden)
			_, weight := normal(2, b, length, s.Hidden)
			way, _ := normal(3, b, length, s.Hidden)
			segment, position := places(b, length)
			compile := func(recompute string) func(inputs ...*tensors.Tensor) [][]float32 {
				return s.compile(t, 4, func(w repair.Weights, in []*Node) []*Node {
					y := s.Blocks(w, 0, len(s.Layers), in[0], repair.Sequence{Segment: in[2], Position: in[3]}, recompute)
					sum := ReduceAllSum(Mul(y, in[1]))
					return []*Node{sum, Gradient(sum, in[0])[0]}
				})
			}
			run := compile(repair.RecomputeNothing)
			plain := run(xs, weight, segment, position)
			along := func(step float32) float64 {
				moved := make([]float32, len(x))
				for i := range x {
					moved[i] = x[i] + step*way[i]
				}
				at := tensors.FromFlatDataAndDimensions(moved, b, length, s.Hidden)
				return float64(run(at, weight, segment, position)[0][0])
			}
			var slope, size float64
			for i, g := range plain[1] {
				slope += float64(g) * float64(way[i])
				size += float64(g) * float64(g)
			}
			difference := (along(step) - along(-step)) / (2 * step)
			if !(math.Abs(slope-difference) < 0.02*math.Sqrt(size)) {
				t.Errorf("the gradient's slope is %g, the output's %g (gradient of norm %g)", slope, difference, math.Sqrt(size))
			}
			for _, recompute := range []string{repair.RecomputeSelective, repair.RecomputeFull} {
				again := compile(recompute)(xs, weight, segment, position)
				if d := largestDifference(plain[1], again[1]); !(d < 1e-4*math.Sqrt(size)) {
					t.Errorf("with %s recomputation the gradient differs by %g", recompute, d)
				}
			}
		})
	}
}

// places are b sequences of one document each.
func places(b, length int) (segment, position *tensors.Tensor) {
	s, p := make([]int32, b*length), make([]int32, b*length)
	for i := range s {
		s[i], p[i] = 1, int32(i%length)
	}
	return ints(s, b, length), ints(p, b, length)
}

// TestPackedDocumentsDoNotSeeEachOther runs two documents in one sequence, with padding
// behind them, and each by itself.
func TestPackedDocumentsDoNotSeeEachOther(t *testing.T) {
	for name, c := range everyKind {
		t.Run(name, func(t *testing.T) {
			const first, second, padding = 70, 80, 10 // longer than the tiny models' window
			s := newSubject(t, c)
			run := s.compile(t, 3, func(w repair.Weights, in []*Node) []*Node {
				x := s.Embed(w, in[0])
				x = s.Blocks(w, 0, len(s.Layers), x, repair.Sequence{Segment: in[1], Position: in[2]}, repair.RecomputeNothing)
				return []*Node{w.Output(s.Head(w, x))}
			})
			logits := func(tokens, segment, position []int32) []float32 {
				n := len(tokens)
				return run(ints(tokens, 1, n), ints(segment, 1, n), ints(position, 1, n))[0]
			}
			r := rand.New(rand.NewPCG(4, 0))
			var tokens, segment, position []int32
			for document, length := range []int{first, second, padding} {
				for i := range length {
					tokens = append(tokens, int32(r.IntN(s.Vocabulary)))
					segment = append(segment, int32((document+1)%3))
					position = append(position, int32(i))
				}
			}
			packed := logits(tokens, segment, position)
			alone := append(logits(tokens[:first], segment[:first], position[:first]),
				logits(tokens[first:first+second], segment[first:first+second], position[first:first+second])...)
			if d := largestDifference(packed[:len(alone)], alone); !(d < 1e-3) {
				t.Errorf("logits differ by %g", d)
			}
		})
	}
}

// TestPartsMakeTheWhole runs the lower and the upper layers one after the other, the
// latter with no more than their own weights read.
func TestPartsMakeTheWhole(t *testing.T) {
	c := tinymodel.Config{Architecture: "gemma3", Layers: 6}
	segment, position := places(1, 8)
	blocks := func(from, to int, x []float32) []float32 {
		s := newPart(t, c, repair.Part{From: from, To: to})
		at := tensors.FromFlatDataAndDimensions(x, 1, 8, s.Hidden)
		return s.compile(t, 3, func(w repair.Weights, in []*Node) []*Node {
			return []*Node{s.Blocks(w, from, to, in[0], repair.Sequence{Segment: in[1], Position: in[2]}, repair.RecomputeNothing)}
		})(at, segment, position)[0]
	}
	x, _ := normal(1, 1, 8, tinymodel.Hidden)
	if d := largestDifference(blocks(0, 6, x), blocks(4, 6, blocks(0, 4, x))); !(d < 1e-4) {
		t.Errorf("residuals differ by %g", d)
	}
}
