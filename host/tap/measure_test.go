package tap

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"pare/plugin"
)

// reference measures one token in plain float64, straight from the definitions.
func reference(s *plugin.Sums, layers int, x [][]float32) {
	dot := func(a, b []float32) (sum float64) {
		for i := range a {
			sum += float64(a[i]) * float64(b[i])
		}
		return sum
	}
	norm := func(a []float32) float64 { return math.Sqrt(dot(a, a)) }
	for a := range x {
		s.Norm[a] += norm(x[a])
		for b := a + 1; b < len(x); b++ {
			c := dot(x[a], x[b]) / ((norm(x[a]) + 1e-8) * (norm(x[b]) + 1e-8))
			c = max(-1, min(1, c))
			s.Cosine[plugin.Pair(layers, a, b)] += c
			s.Angle[plugin.Pair(layers, a, b)] += math.Acos(c) / math.Pi
		}
		if a+1 < len(x) {
			var gap float64
			for i := range x[a] {
				d := float64(x[a+1][i]) - float64(x[a][i])
				gap += d * d
			}
			s.Step[a] += math.Sqrt(gap) / (norm(x[a]) + 1e-8)
		}
	}
	s.Tokens++
	if len(x) == layers+1 {
		s.OutTokens++
	}
}

// near compares sums of as many tokens: angles and cosines to tolerance a token,
// steps and norms relatively.
func near(t *testing.T, name string, got, want plugin.Sums, tolerance float64) {
	t.Helper()
	if got.Tokens != want.Tokens || got.OutTokens != want.OutTokens {
		t.Fatalf("%s: %d tokens, %d with output; want %d, %d", name, got.Tokens, got.OutTokens, want.Tokens, want.OutTokens)
	}
	n := float64(max(1, want.Tokens))
	check := func(what string, got, want []float64, relative bool) {
		for i := range want {
			scale := n
			if relative {
				scale = max(math.Abs(want[i]), 1e-6)
			}
			if math.Abs(got[i]-want[i])/scale > tolerance || math.IsNaN(got[i]) {
				t.Errorf("%s: %s %d is %g, want %g", name, what, i, got[i], want[i])
				return
			}
		}
	}
	check("angle", got.Angle, want.Angle, false)
	check("cosine", got.Cosine, want.Cosine, false)
	check("step", got.Step, want.Step, true)
	check("norm", got.Norm, want.Norm, true)
}

// walk makes the residuals of one token: a random start and a random step per
// layer.
func walk(r *rand.Rand, layers, hidden int, scale, step float32) [][]float32 {
	x := make([][]float32, layers+1)
	for l := range x {
		x[l] = make([]float32, hidden)
		for i := range x[l] {
			if l == 0 {
				x[l][i] = scale * float32(r.NormFloat64())
			} else {
				x[l][i] = x[l-1][i] + scale*step*float32(r.NormFloat64())
			}
		}
	}
	return x
}

func TestMeasureAgainstDefinition(t *testing.T) {
	for _, c := range []struct {
		layers, hidden, tokens int
		scale, step            float32
	}{
		{1, 1, 1, 1, 1},
		{2, 7, 3, 1, 0.5},
		{30, 576, 9, 1, 0.3},
		{5, 1031, 4, 1e-6, 0.1},
		{5, 520, 4, 1e12, 0.1},
		{9, 513, 4, 1, 1e-3},
		{12, 64, 1500, 1, 0.2},
		{24, 1024, 300, 1, 0.2}, // enough for several threads
	} {
		r := rand.New(rand.NewPCG(1, uint64(c.hidden)))
		residuals := make([][][]float32, c.layers)
		var final [][]float32
		output, position := make([]int32, c.tokens), make([]int32, c.tokens)
		all, last, first := plugin.NewSums(c.layers), plugin.NewSums(c.layers), plugin.NewSums(c.layers)
		for k := range c.tokens {
			x := walk(r, c.layers, c.hidden, c.scale, c.step)
			for l := range residuals {
				residuals[l] = append(residuals[l], x[l])
			}
			output[k], position[k] = -1, int32(k%5)
			if k%3 == 0 {
				output[k] = int32(len(final))
				final = append(final, x[c.layers])
			} else {
				x = x[:c.layers]
			}
			if position[k] == 0 {
				reference(&first, c.layers, x)
				continue
			}
			reference(&all, c.layers, x)
			if output[k] >= 0 {
				reference(&last, c.layers, x)
			}
		}
		gotAll, gotLast, gotFirst, err := measure(residuals, final, output, position)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "all", gotAll, all, 5e-5)
		near(t, "last", gotLast, last, 5e-5)
		near(t, "first", gotFirst, first, 5e-5)
	}
}

// pair measures two vectors as x_0 and x_1 of a model with one layer.
func pair(t *testing.T, a, b []float32) plugin.Sums {
	t.Helper()
	all, _, _, err := measure([][][]float32{{a}}, [][]float32{b}, []int32{0}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMeasureExtremes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	u := walk(r, 0, 579, 1, 0)[0]
	times := func(f float32) []float32 {
		v := make([]float32, len(u))
		for i := range u {
			v[i] = f * u[i]
		}
		return v
	}
	sink := append([]float32(nil), u...)
	sink[17] = 25698
	for name, c := range map[string]struct {
		a, b        []float32
		angle, step float64
	}{
		"same":         {u, u, 0, 0},
		"parallel":     {u, times(4), 0, 3},
		"antiparallel": {u, times(-2), 1, 3},
		"zero second":  {u, times(0), 0.5, 1},
		"both zero":    {times(0), times(0), 0.5, 0},
		"sink, same":   {sink, sink, 0, 0},
	} {
		s := pair(t, c.a, c.b)
		if math.Abs(s.Angle[0]-c.angle) > 1e-4 || math.Abs(s.Step[0]-c.step) > 1e-5 {
			t.Errorf("%s: angle %g, step %g; want %g, %g", name, s.Angle[0], s.Step[0], c.angle, c.step)
		}
	}
}

// Nearly parallel residuals, the rule in deep layers, must not be told apart
// worse than 1e-4.
func TestMeasureSmallAngles(t *testing.T) {
	for _, degrees := range []float64{0.05, 0.5, 5} {
		const hidden = 2048
		r := rand.New(rand.NewPCG(5, 6))
		u := walk(r, 0, hidden, 1, 0)[0]
		v := make([]float32, hidden)
		for i := 0; i < hidden; i += 2 { // turn every plane by the angle
			sin, cos := math.Sincos(degrees * math.Pi / 180)
			v[i] = float32(cos*float64(u[i]) - sin*float64(u[i+1]))
			v[i+1] = float32(sin*float64(u[i]) + cos*float64(u[i+1]))
		}
		if got := pair(t, u, v).Angle[0]; math.Abs(got-degrees/180) > 1e-4 {
			t.Errorf("%g degrees: angle %g, want %g", degrees, got, degrees/180)
		}
	}
}

func TestMeasureRefusesNonFinite(t *testing.T) {
	for name, bad := range map[string]float32{
		"NaN":                 float32(math.NaN()),
		"infinity":            float32(math.Inf(-1)),
		"norm beyond float32": 1e30,
	} {
		u := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}
		v := append([]float32(nil), u...)
		v[8] = bad
		if name == "norm beyond float32" {
			v[0] = bad
		}
		_, _, _, err := measure([][][]float32{{u, v}, {u, u}}, [][]float32{u}, []int32{-1, 0}, nil)
		if !errors.Is(err, errNotFinite) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
