package repair

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
)

// block is one decoder layer over residuals x [B·T, H]: attention, then feed-forward,
// each added to the residual. Norms that the layer does not have change nothing.
func (n *Network) block(w Weights, l int, x *Node, at surroundings) *Node {
	h := n.attention(w, l, n.norm(x, w.Vector(l, "attn_norm")), at)
	x = Add(x, n.norm(h, w.Vector(l, "post_attention_norm")))
	h = n.feedForward(w, l, n.norm(x, w.Vector(l, "ffn_norm")))
	return Add(x, n.norm(h, w.Vector(l, "post_ffw_norm")))
}

// feedForward lets a gate decide what passes: [B·T, H] to [B·T, H].
func (n *Network) feedForward(w Weights, l int, h *Node) *Node {
	var gate, up *Node // [B·T, F]
	if n.Fused {
		f := n.Layers[l].FeedForward
		both := w.Linear(l, "ffn_up", h) // [B·T, 2F]
		gate, up = SliceAxis(both, 1, AxisRange(0, f)), SliceAxis(both, 1, AxisRange(f))
	} else {
		gate, up = w.Linear(l, "ffn_gate", h), w.Linear(l, "ffn_up", h)
	}
	return w.Linear(l, "ffn_down", Mul(n.activation(gate), up))
}

// activation is SiLU, x·σ(x), or GELU in the form with tanh (arXiv 1606.08415).
func (n *Network) activation(x *Node) *Node {
	if !n.GELU {
		return Mul(x, Sigmoid(x))
	}
	inner := MulScalar(Add(x, MulScalar(Mul(x, Square(x)), 0.044715)), math.Sqrt(2/math.Pi))
	return Mul(MulScalar(x, 0.5), OnePlus(Tanh(inner)))
}
