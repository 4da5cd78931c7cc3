package repair

import (
	"math"
	"testing"
)

// The formulas in their plainest form, in float64.
func TestAdamW(t *testing.T) {
	p, s := []float32{0.5, -2}, moments{make([]float32, 2), make([]float32, 2)}
	want, m, v := []float64{0.5, -2}, []float64{0, 0}, []float64{0, 0}
	for step := 1; step <= 20; step++ {
		g := []float32{float32(math.Sin(float64(step))), 1e-3}
		s.update(p, g, 0.5, step, 0.01, 0.1)
		for i := range want {
			g := 0.5 * float64(g[i])
			m[i], v[i] = 0.9*m[i]+0.1*g, 0.999*v[i]+0.001*g*g
			mean, square := m[i]/(1-math.Pow(0.9, float64(step))), v[i]/(1-math.Pow(0.999, float64(step)))
			want[i] -= 0.01*0.1*want[i] + 0.01*mean/(math.Sqrt(square)+1e-8)
		}
	}
	for i := range p {
		near(t, "parameter", float64(p[i]), want[i], 1e-5)
	}
}

func TestAdamWInParts(t *testing.T) {
	n := 1<<19 + 3
	p, g := make([]float32, n), make([]float32, n)
	for i := range g {
		g[i] = 1
	}
	moments{make([]float32, n), make([]float32, n)}.update(p, g, 1, 1, 0.01, 0)
	for i, x := range p {
		if math.Abs(float64(x)+0.01) > 1e-6 {
			t.Fatalf("parameter %d moved to %g: the first step is as long as the learning rate", i, x)
		}
	}
}

func TestClip(t *testing.T) {
	length := norm([][]float32{{3}, {0, 4}})
	near(t, "norm", length, 5, 1e-12)
	near(t, "factor of a long gradient", clip(length, 1), 0.2, 1e-6)
	near(t, "factor of a short gradient", clip(0.5, 1), 1, 0)
}

func TestRate(t *testing.T) {
	c := Config{LearningRate: 1, WarmUp: 4, Steps: 104}
	for step, want := range map[int]float64{0: 0.2, 3: 0.8, 4: 1, 54: 0.55, 104: 0.1} {
		near(t, "rate", c.rate(step), want, 1e-9)
	}
	near(t, "rate without warm-up", Config{LearningRate: 1, Steps: 10}.rate(0), 1, 1e-12)
}
