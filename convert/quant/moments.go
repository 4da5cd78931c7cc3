package quant

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"gonum.org/v1/gonum/floats"
)

// Moments are the second moments of what a matrix multiplies: Mean is the mean of
// x·xᵀ over tokens, N×N and symmetric, for x of N numbers. What they are good for
// is kept, so matrices with the same input should share one Moments.
type Moments struct {
	N    int
	Mean []float64

	once   sync.Once
	factor factor
	err    error
}

// A factor is L of L·Lᵀ = Mean + damping, of inputs in another order: place i is that of
// input order[i], and row i of L has i+1 numbers.
type factor struct {
	order []int
	lower [][]float64
}

// damping is added to the diagonal, as a share of its mean: tokens that were not
// seen count a little too.
const damping = 0.01

// factored returns L. The error says what is wrong with the moments.
func (m *Moments) factored() (factor, error) {
	m.once.Do(func() { m.factor, m.err = m.factorise() })
	return m.factor, m.err
}

func (m *Moments) factorise() (factor, error) {
	if m.N <= 0 || len(m.Mean) != m.N*m.N {
		return factor{}, fmt.Errorf("moments of %d inputs have %d numbers", m.N, len(m.Mean))
	}
	damp := m.damp()
	if !(damp > 0) || damp-damp != 0 {
		return factor{}, errors.New("moments have no positive diagonal: collect them again")
	}
	return leastFirst(m.Mean, m.N, damp)
}

// damp is what is added to the diagonal.
func (m *Moments) damp() float64 {
	var trace float64
	for i := range m.N {
		trace += m.Mean[i*m.N+i]
	}
	return damping * trace / float64(m.N)
}

// leastFirst is Cholesky's factorisation of h + damp·1, n×n, each place taking the
// input of which least is left to know, given those before. What rounding costs is the
// sum of the squares of L's diagonal, whose product is the same in any order: so it is
// least when they are alike.
func leastFirst(h []float64, n int, damp float64) (factor, error) {
	f := factor{make([]int, n), make([][]float64, n)}
	left := make([]float64, n) // by input: what those before do not tell, squared
	for i := range n {
		f.order[i], left[i] = i, h[i*n+i]+damp
	}
	rows := make([][]float64, n) // by input: its row of L so far
	for i := range rows {
		rows[i] = make([]float64, n)
	}
	for k := range n {
		least := k
		for i := k; i < n; i++ {
			if left[f.order[i]] < left[f.order[least]] {
				least = i
			}
		}
		f.order[k], f.order[least] = f.order[least], f.order[k]
		a := f.order[k]
		if !(left[a] > 0) {
			return factor{}, errors.New("moments are not positive definite: collect them again")
		}
		d := math.Sqrt(left[a])
		rows[a][k] = d
		f.lower[k] = rows[a][:k+1]
		known := rows[a][:k]
		inParallel(n-k-1, func(from, to int) {
			for _, b := range f.order[k+1+from : k+1+to] {
				x := (h[a*n+b] - floats.Dot(rows[b][:k], known)) / d
				rows[b][k] = x
				left[b] -= x * x
			}
		})
	}
	return f, nil
}
