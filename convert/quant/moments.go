package quant

import (
	"errors"
	"fmt"
	"sync"

	"gonum.org/v1/gonum/mat"
)

// Moments are the second moments of what a matrix multiplies: Mean is the mean of
// x·xᵀ over tokens, N×N and symmetric, for x of N numbers. What they are good for
// is kept, so matrices with the same input should share one Moments.
type Moments struct {
	N    int
	Mean []float64

	once  sync.Once
	lower *mat.TriDense // L of L·Lᵀ = Mean + damping
	err   error
}

// damping is added to the diagonal, as a share of its mean: tokens that were not
// seen count a little too.
const damping = 0.01

// factor returns L. The error says what is wrong with the moments.
func (m *Moments) factor() (*mat.TriDense, error) {
	m.once.Do(func() { m.lower, m.err = m.cholesky() })
	return m.lower, m.err
}

func (m *Moments) cholesky() (*mat.TriDense, error) {
	if m.N <= 0 || len(m.Mean) != m.N*m.N {
		return nil, fmt.Errorf("moments of %d inputs have %d numbers", m.N, len(m.Mean))
	}
	var trace float64
	for i := range m.N {
		trace += m.Mean[i*m.N+i]
	}
	if !(trace > 0) || trace-trace != 0 {
		return nil, errors.New("moments have no positive diagonal: collect them again")
	}
	damped := mat.NewSymDense(m.N, append([]float64(nil), m.Mean...))
	for i := range m.N {
		damped.SetSym(i, i, damped.At(i, i)+damping*trace/float64(m.N))
	}
	var c mat.Cholesky
	if !c.Factorize(damped) {
		return nil, errors.New("moments are not positive definite: collect them again")
	}
	lower := mat.NewTriDense(m.N, mat.Lower, nil)
	c.LTo(lower)
	return lower, nil
}
