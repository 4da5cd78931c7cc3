package tensors

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"pare/convert/quant"
)

// pack holds p as tensors: Q [Rows, blocks, bytes of a block] and Scale and Min
// [Rows, blocks].
func (m *Matrix) pack(p quant.Packed) error {
	m.block, m.bits = p.Block, p.Bits
	blocks := p.Cols / p.Block
	q, err := raw(p.Q, dtypes.Uint8, p.Rows, blocks, p.Block*p.Bits/8)
	m.Values = []*tensors.Tensor{
		q,
		tensors.FromFlatDataAndDimensions(p.Scale, p.Rows, blocks),
		tensors.FromFlatDataAndDimensions(p.Min, p.Rows, blocks),
	}
	return err
}

// Unpack computes the weights, float32 [Rows, Cols], from the parameters that stand
// for Values in a graph. It waits for the node after (any; nil not to wait): without
// it a compiler would unpack all matrices of a model first and hold them to the end.
func (m *Matrix) Unpack(values []*Node, after *Node) *Node {
	return m.unpack(values, factors{}, after, m.Rows)
}

// Tuned computes the weights with other scales: each is scaled by one plus its entry of
// scales [Rows, Factors], and minima likewise; nil: as the scales.
func (m *Matrix) Tuned(values []*Node, scales, minima, after *Node) *Node {
	if minima == nil {
		minima = scales
	}
	return m.unpack(values, factors{m.spread(scales), m.spread(minima)}, after, m.Rows)
}

// factors are what scales and minima [rows, blocks] are multiplied by, if anything.
type factors struct{ scale, least *Node }

// spread gives each block of a packed matrix the factor of the block of the file that
// it is part of: [Rows, blocks].
func (m *Matrix) spread(x *Node) *Node {
	x = OnePlus(x)
	if repeat := m.shared / m.block; repeat > 1 {
		rows, n := x.Shape().Dim(0), x.Shape().Dim(1)
		x = Reshape(BroadcastToDims(InsertAxes(x, -1), rows, n, repeat), rows, n*repeat)
	}
	return x
}

// Gather computes the weights of some rows, int32 [n] to float32 [n, Cols].
func (m *Matrix) Gather(values []*Node, rows *Node) *Node {
	at := InsertAxes(rows, -1) // [n, 1]
	var some []*Node
	for _, v := range values {
		some = append(some, Gather(v, at))
	}
	return m.unpack(some, factors{}, nil, rows.Shape().Dim(0))
}

func (m *Matrix) unpack(values []*Node, tuned factors, after *Node, rows int) *Node {
	wait := func(x *Node) *Node {
		if after == nil {
			return x
		}
		return SchedulingBarrier(x, after)
	}
	if m.bits == 0 {
		if values[0].DType() == dtypes.Float32 {
			return values[0]
		}
		return ConvertDType(wait(values[0]), dtypes.Float32)
	}
	q := values[0] // [rows, blocks, bytes]
	if m.bits == 4 {
		q = halves(q) // [rows, blocks, block]
	}
	scale, least := wait(values[1]), values[2] // [rows, blocks]
	if tuned.scale != nil {
		scale, least = Mul(scale, tuned.scale), Mul(least, tuned.least)
	}
	w := Add(Mul(ConvertDType(q, dtypes.Float32), InsertAxes(scale, -1)), InsertAxes(least, -1)) // [rows, blocks, block]
	return Reshape(w, rows, m.Cols)
}

// halves takes bytes [rows, blocks, n] apart into their low and their high half:
// [rows, blocks, 2n]. It shifts rather than concatenates, for a compiler makes one loop
// of that and of what comes after.
func halves(q *Node) *Node {
	rows, blocks, n := q.Shape().Dim(0), q.Shape().Dim(1), q.Shape().Dim(2)
	both := BroadcastToDims(InsertAxes(q, 2), rows, blocks, 2, n)
	by := BroadcastToDims(InsertAxes(Const(q.Graph(), []uint8{0, 4}), 0, 0, -1), rows, blocks, 2, n)
	low := BitwiseAnd(BitwiseShiftRightLogical(both, by), Scalar(q.Graph(), dtypes.Uint8, 15))
	return Reshape(low, rows, blocks, 2*n)
}
