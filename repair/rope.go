package repair

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"pare/convert"
)

// A turn is a rotation at the positions of a batch.
type turn struct {
	interleaved bool
	pairs       int
	cos, sin    *Node // [B, T, 1, pairs]
}

// newTurn computes the angles for positions, int32 [B, T].
func newTurn(r convert.Rotation, positions *Node) turn {
	g := positions.Graph()
	frequencies := make([]float32, len(r.Frequencies))
	for i, f := range r.Frequencies {
		frequencies[i] = float32(f)
	}
	at := InsertAxes(ConvertDType(positions, dtypes.Float32), -1, -1) // [B, T, 1, 1]
	angle := Mul(at, ExpandLeftToRank(Const(g, frequencies), 4))      // [B, T, 1, pairs]
	return turn{
		interleaved: r.Interleaved, pairs: len(frequencies),
		cos: MulScalar(Cos(angle), r.Scale), sin: MulScalar(Sin(angle), r.Scale),
	}
}

// apply turns queries or keys x [B, T, heads, D]. Pairs that were neighbours come out a
// half apart: the order within a head makes no difference to the product of queries and
// keys, as long as it is the same for both.
func (t turn) apply(x *Node) *Node {
	var a, b *Node // [B, T, heads, pairs]
	if t.interleaved {
		a = SliceAxis(x, -1, AxisRange(0, 2*t.pairs).Stride(2))
		b = SliceAxis(x, -1, AxisRange(1, 2*t.pairs).Stride(2))
	} else {
		a = SliceAxis(x, -1, AxisRange(0, t.pairs))
		b = SliceAxis(x, -1, AxisRange(t.pairs, 2*t.pairs))
	}
	parts := []*Node{
		Sub(Mul(a, t.cos), Mul(b, t.sin)),
		Add(Mul(b, t.cos), Mul(a, t.sin)),
	}
	if x.Shape().Dim(-1) > 2*t.pairs {
		parts = append(parts, SliceAxis(x, -1, AxisRange(2*t.pairs)))
	}
	return Concatenate(parts, -1) // [B, T, heads, D]
}
