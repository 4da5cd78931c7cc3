package repair

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// world makes documents in which x_{a+n} is a linear map of M, plus Y and noise.
type world struct {
	rng *rand.Rand
	h   int
	d   []float64 // [H,H]
}

func newWorld(h int) *world {
	w := &world{rng: rand.New(rand.NewPCG(1, 2)), h: h, d: make([]float64, h*h)}
	for i := range w.d {
		w.d[i] = w.rng.NormFloat64() / math.Sqrt(float64(h))
	}
	return w
}

func (w *world) document(tokens int, noise float64) (attended, before, after []float32) {
	for t := range tokens {
		m := make([]float64, w.h)
		for i := range m {
			m[i] = w.rng.NormFloat64()
			if t == 0 {
				m[i] *= 1000 // a sink
			}
		}
		for j := range w.h {
			y, moved := w.rng.NormFloat64(), 0.
			for i := range m {
				moved += m[i] * w.d[i*w.h+j]
			}
			if t == 0 {
				moved = -50 * m[j] // and one that moves otherwise
			}
			attended = append(attended, float32(y))
			before = append(before, float32(y+m[j]))
			after = append(after, float32(y+m[j]+moved+noise*w.rng.NormFloat64()))
		}
	}
	return attended, before, after
}

func (w *world) moments(t *testing.T, documents int, noise float64) *Moments {
	m := NewMoments(w.h)
	for range documents {
		a, b, c := w.document(20, noise)
		if err := m.Add(a, b, c, 1); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// The map that made the data is found again, whatever the first tokens say.
func TestFitFindsTheMap(t *testing.T) {
	w := newWorld(12)
	f, err := Fit(w.moments(t, 20, 0), w.moments(t, 5, 0))
	if err != nil {
		t.Fatal(err)
	}
	if f.Error > 1e-6 || f.Ridge != ridges[0] {
		t.Errorf("%g of the error is left at ridge %g", f.Error, f.Ridge)
	}
	for i, want := range w.d {
		if got := f.D.Data[i]; math.Abs(got-want) > 1e-4 {
			t.Fatalf("D[%d] is %g, not %g", i, got, want)
		}
	}
}

// With few tokens and much noise a larger ridge does better on text held out.
func TestRidgeIsChosenOnHeldOutText(t *testing.T) {
	w := newWorld(30)
	f, err := Fit(w.moments(t, 2, 1), w.moments(t, 30, 1))
	if err != nil {
		t.Fatal(err)
	}
	if f.Ridge < 1e-2 || f.Error >= 1 {
		t.Errorf("ridge %g leaves %g", f.Ridge, f.Error)
	}
}

func TestFitWithoutGain(t *testing.T) {
	w := newWorld(8)
	clear(w.d)
	if _, err := Fit(w.moments(t, 1, 1), w.moments(t, 50, 1)); !errors.Is(err, ErrNoGain) {
		t.Errorf("fitted noise: %v", err)
	}
	if _, err := Fit(NewMoments(8), w.moments(t, 1, 1)); err == nil {
		t.Error("fitted nothing")
	}
}

// What goes through the folded matrix is what goes through the matrix and the map.
func TestFold(t *testing.T) {
	w := newWorld(6)
	f, err := Fit(w.moments(t, 20, 0), w.moments(t, 5, 0))
	if err != nil {
		t.Fatal(err)
	}
	const in, experts = 9, 2
	matrix := make([]float32, experts*6*in)
	for i := range matrix {
		matrix[i] = float32(w.rng.NormFloat64())
	}
	folded, err := f.Fold(matrix, in)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float64, in)
	for i := range x {
		x[i] = w.rng.NormFloat64()
	}
	for e := range experts {
		m := make([]float64, 6)
		got := make([]float64, 6)
		for i := range m {
			for j, v := range x {
				m[i] += float64(matrix[(e*6+i)*in+j]) * v
				got[i] += float64(folded[(e*6+i)*in+j]) * v
			}
		}
		for j := range m {
			want := m[j]
			for i := range m {
				want += m[i] * f.D.Data[i*6+j]
			}
			if math.Abs(got[j]-want) > 1e-4 {
				t.Errorf("expert %d, number %d: %g, not %g", e, j, got[j], want)
			}
		}
	}
	if _, err := f.Fold(matrix[:5], in); err == nil {
		t.Error("folded a matrix of another width")
	}
}
