package quant

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/mat"

	"pare/gguf"
)

// A trial is a quantised matrix, a change of low rank, and inputs that go together:
// the variances of their directions fall off as a power law.
type trial struct {
	typ        gguf.TensorType
	rows, cols int
	old        []byte
	w          []float32  // with the change
	change     *mat.Dense // rows×cols
	h          *Moments
	held       *mat.Dense // inputs that h was not made from
}

// newTrial makes a change of rank 8 whose root mean square is size steps, and half
// of which lies in the inputs' directions, as after some training.
func newTrial(typ gguf.TensorType, rows, cols int, size float64) trial {
	r := rand.New(rand.NewPCG(1, 1))
	normal := func(rows, cols int) *mat.Dense {
		m := mat.NewDense(rows, cols, nil)
		m.Apply(func(_, _ int, _ float64) float64 { return r.NormFloat64() }, m)
		return m
	}
	mix := normal(cols, cols)
	mix.Apply(func(i, _ int, x float64) float64 { return x * math.Pow(float64(i+1), -0.7) }, mix)
	inputs := func() *mat.Dense { return product(normal(2*cols, cols), mix) }

	t := trial{typ: typ, rows: rows, cols: cols, held: inputs()}
	seen := inputs()
	t.h = &Moments{N: cols, Mean: product(seen.T(), seen).RawMatrix().Data}
	for i := range t.h.Mean {
		t.h.Mean[i] /= float64(2 * cols)
	}
	w := make([]float32, rows*cols)
	for i := range w {
		w[i] = float32(0.05 * r.NormFloat64())
	}
	t.old, _ = Quantize(typ, w, cols)

	a, anywhere := product(normal(8, 2*cols), seen), normal(8, cols)
	a.Scale(1/mat.Norm(a, 2), a)
	anywhere.Scale(1/mat.Norm(anywhere, 2), anywhere)
	a.Add(a, anywhere)
	t.change = product(normal(rows, 8), a)
	p, _ := Pack(typ, t.old, cols)
	step := 0.0
	for _, s := range p.Scale {
		step += math.Abs(float64(s)) / float64(len(p.Scale))
	}
	t.change.Scale(size*step*math.Sqrt(float64(rows*cols))/mat.Norm(t.change, 2), t.change)
	t.w, _ = Floats(typ, t.old)
	for i, x := range t.change.RawMatrix().Data {
		t.w[i] += float32(x)
	}
	return t
}

func product(a, b mat.Matrix) *mat.Dense {
	var c mat.Dense
	c.Mul(a, b)
	return &c
}

// lost is the mean square of what the outputs lack, as a share of what the change
// does to them.
func (t trial) lost(tb testing.TB, data []byte) float64 {
	tb.Helper()
	q, err := Floats(t.typ, data)
	if err != nil {
		tb.Fatal(err)
	}
	e := mat.NewDense(t.rows, t.cols, nil)
	for i, x := range e.RawMatrix().Data {
		e.RawMatrix().Data[i] = x + float64(q[i]) - float64(t.w[i])
	}
	lack, whole := mat.Norm(product(t.held, e.T()), 2), mat.Norm(product(t.held, t.change.T()), 2)
	return lack * lack / whole / whole
}

func (t trial) requantize(tb testing.TB, h *Moments) []byte {
	tb.Helper()
	b, err := Requantize(t.typ, t.old, t.w, t.cols, h)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// nearest gives each number the nearest code, with the old scales.
func (t trial) nearest() []byte {
	c, _ := codecOf(t.typ)
	out, size, g := slices.Clone(t.old), int(t.typ.TypeSize()), c.grid()
	for i := range len(t.w) / c.block {
		c.open(out[i*size:], g)
		c.nearest(g, t.w[i*c.block:][:c.block])
		c.put(out[i*size:], g.code)
	}
	return out
}

// A change far below a step survives: less of its effect on the outputs is lost than
// by rounding to the nearest code or by quantising afresh.
func TestSmallChangesSurvive(t *testing.T) {
	for _, typ := range []gguf.TensorType{gguf.Q4_0, gguf.Q4_1, gguf.Q5_1, gguf.Q8_0, gguf.Q2_K, gguf.Q4_K, gguf.Q6_K} {
		for _, size := range []float64{0.05, 0.2} {
			trial := newTrial(typ, 128, 256, size)
			near := trial.lost(t, trial.nearest())
			anew, err := Quantize(typ, trial.w, trial.cols)
			if err != nil {
				t.Fatal(err)
			}
			fresh := trial.lost(t, anew)
			guided := trial.lost(t, trial.requantize(t, trial.h))
			blind := trial.lost(t, trial.requantize(t, nil))
			t.Logf("%v, change of %v steps: lost %.3f nearest, %.3f afresh, %.4f with moments, %.3f without",
				typ, size, near, fresh, guided, blind)
			if guided > 0.15*min(near, fresh) {
				t.Errorf("%v, change of %v steps: with moments %.3f is lost", typ, size, guided)
			}
			if blind > 0.6*min(near, fresh) {
				t.Errorf("%v, change of %v steps: without moments %.3f is lost", typ, size, blind)
			}
		}
	}
}

// Nothing changed is nothing changed, for every type that can be changed at all.
func TestRequantizeKeepsWhatDidNotChange(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	w := make([]float32, 8*256)
	for i := range w {
		w[i] = float32(r.NormFloat64())
	}
	for typ, c := range codecs {
		if c.fit == nil {
			continue
		}
		old, err := Quantize(typ, w, 256)
		if err != nil {
			t.Fatal(err)
		}
		same, _ := Floats(typ, old)
		got, err := Requantize(typ, old, same, 256, nil)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := Floats(typ, got); !slices.Equal(again, same) {
			t.Errorf("%v: other numbers", typ)
		}
	}
}

// A change larger than the old scales reach gets new ones.
func TestLargeChangesGetNewScales(t *testing.T) {
	for _, h := range []bool{false, true} {
		trial := newTrial(gguf.Q4_K, 32, 256, 20)
		moments := trial.h
		if !h {
			moments = nil
		}
		if lost := trial.lost(t, trial.requantize(t, moments)); lost > 0.01 {
			t.Errorf("moments %v: %.3f is lost", h, lost)
		}
	}
}

func TestRequantizeIsDeterministic(t *testing.T) {
	trial := newTrial(gguf.Q4_1, 70, 256, 0.2)
	for _, h := range []*Moments{nil, trial.h} {
		if !slices.Equal(trial.requantize(t, h), trial.requantize(t, h)) {
			t.Errorf("moments %v: other bytes the second time", h != nil)
		}
	}
}

func TestBadMoments(t *testing.T) {
	trial := newTrial(gguf.Q4_1, 2, 64, 0.2)
	nan := slices.Clone(trial.h.Mean)
	nan[0] = math.NaN()
	indefinite := slices.Clone(trial.h.Mean)
	indefinite[1], indefinite[64] = 1e6, 1e6
	for name, h := range map[string]*Moments{
		"other width": {N: 32, Mean: make([]float64, 32*32)},
		"too few":     {N: 64, Mean: make([]float64, 64)},
		"all zero":    {N: 64, Mean: make([]float64, 64*64)},
		"not finite":  {N: 64, Mean: nan},
		"indefinite":  {N: 64, Mean: indefinite},
	} {
		if _, err := Requantize(gguf.Q4_1, trial.old, trial.w, 64, h); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The matrix of SmolLM2's size that has most columns.
func BenchmarkRequantize(b *testing.B) {
	const rows, cols = 576, 1536
	trial := newTrial(gguf.Q4_1, rows, cols, 0.2)
	start := time.Now()
	if _, err := trial.h.factored(); err != nil {
		b.Fatal(err)
	}
	factor := time.Since(start)
	for name, h := range map[string]*Moments{"without": nil, "moments": trial.h} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				trial.requantize(b, h)
			}
			b.ReportMetric(factor.Seconds(), "s-to-factor")
		})
	}
}
