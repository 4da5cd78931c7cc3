package repair

import (
	"math"
	"runtime"
	"sync"
)

// The constants of AdamW that nobody tunes.
const (
	beta1   = 0.9
	beta2   = 0.999
	epsilon = 1e-8
)

// moments are AdamW's running means of a parameter's gradient and of its square.
type moments struct {
	first, second []float32
}

// update makes step t (the first is 1) of AdamW (arXiv 1711.05101) on the parameter p
// with gradient g, whose numbers count for scale times what they are:
//
//	m ← β₁m + (1-β₁)g        v ← β₂v + (1-β₂)g²
//	p ← p - η·λp - η·m/(1-β₁ᵗ) / (√(v/(1-β₂ᵗ)) + ε)
//
// with the learning rate η and the weight decay λ. It runs on the host: adapters have
// few numbers, and what a checkpoint holds is then at hand.
func (s moments) update(p, g []float32, scale float64, t int, rate, decay float64) {
	first, second := 1-math.Pow(beta1, float64(t)), 1-math.Pow(beta2, float64(t))
	step, keep := float32(rate/first), float32(1-rate*decay)
	root, k := float32(1/math.Sqrt(second)), float32(scale)
	inParts(len(p), func(from, to int) {
		for i := from; i < to; i++ {
			g := g[i] * k
			s.first[i] += (1 - beta1) * (g - s.first[i])
			s.second[i] += (1 - beta2) * (g*g - s.second[i])
			size := float32(math.Sqrt(float64(s.second[i])))*root + epsilon
			p[i] = p[i]*keep - step*s.first[i]/size
		}
	})
}

// inParts calls do for parts of 0..n at the same time.
func inParts(n int, do func(from, to int)) {
	const part = 1 << 18
	var wait sync.WaitGroup
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	for from := 0; from < n; from += part {
		turns <- struct{}{}
		wait.Go(func() {
			do(from, min(from+part, n))
			<-turns
		})
	}
	wait.Wait()
}

// norm is the length of all gradients as one vector, in float64.
func norm(gradients [][]float32) float64 {
	var sum float64
	for _, g := range gradients {
		for _, x := range g {
			sum += float64(x) * float64(x)
		}
	}
	return math.Sqrt(sum)
}

// clip is the factor that brings a gradient of length norm down to limit.
func clip(norm, limit float64) float64 {
	return min(1, limit/(norm+1e-6))
}
