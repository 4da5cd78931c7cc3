package repair

import (
	"math"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"
)

// Low-rank adapters (LoRA, arXiv 2106.09685): beside each trained matrix W [out, in],
// which stays as it is, stand A [R, in] and B [out, R], and
//
//	y = x·Wᵀ + alpha/R · dropout(x)·Aᵀ·Bᵀ
//
// B begins at zero, so that training begins where the model is. It is held transposed:
// so its gradient comes out as a product that XLA's CPU backend is faster at.

// A place is a linear map of a layer.
type place struct {
	layer int
	name  string
}

// A pair is an adapter in a graph.
type pair struct {
	a, bT *Node // [R, in], [R, out]
	salt  int   // of its dropout
}

// adapted is a model's weights with adapters beside them.
type adapted struct {
	Weights
	pairs   map[place]pair
	scale   float64
	dropout dropout
}

func (w *adapted) Linear(layer int, name string, x *Node) *Node {
	y := w.Weights.Linear(layer, name, x) // [n, out]
	p, ok := w.pairs[place{layer, name}]
	if !ok {
		return y
	}
	low := Dot(w.dropout.apply(x, p.salt), p.a).EinsumAxes([][2]int{{1, 1}}, nil) // [n, R]
	low = MulScalar(low, w.scale)
	return Add(y, Dot(low, p.bT).EinsumAxes([][2]int{{1, 0}}, nil)) // [n, out]
}

// newA draws the numbers that A [rank, in] begins with, uniform between ±1/√in: what
// Kaiming's rule gives for the slope √5, which peft takes.
func newA(rank, in int, random *rand.Rand) []float32 {
	limit := 1 / math.Sqrt(float64(in))
	a := make([]float32, rank*in)
	for i := range a {
		a[i] = float32((2*random.Float64() - 1) * limit)
	}
	return a
}
