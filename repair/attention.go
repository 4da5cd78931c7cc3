package repair

import . "github.com/gomlx/gomlx/core/graph"

// attention mixes the values of the tokens that each token sees, by how well their
// keys fit its queries: h [B·T, H] to [B·T, H]. A key and a value serve G queries.
func (n *Network) attention(w Weights, l int, h *Node, at surroundings) *Node {
	layer, d := n.Layers[l], n.HeadSize
	keys := layer.KVHeads // N
	group := layer.Heads / keys
	q, k, v := n.project(w, l, h)
	q = Reshape(q, at.b, at.t, layer.Heads, d)
	k = Reshape(k, at.b, at.t, keys, d)
	v = Reshape(v, at.b, at.t, keys, d)

	turn := at.turns[layer.Rotation]
	q = turn.apply(n.norm(q, w.Vector(l, "attn_q_norm")))
	k = turn.apply(n.norm(k, w.Vector(l, "attn_k_norm")))
	q = Reshape(MulScalar(q, n.AttentionScale), at.b, at.t, keys, group, d)

	var lots []*Node
	for from, size := 0, lotTokens(at.t); from < at.t; from += size {
		to := min(from+size, at.t) // what comes after is seen by none of these queries
		queries, seen := AxisRange(from, to), AxisRange(0, to)
		mask := SliceAxis(SliceAxis(at.masks[layer.Window], 2, queries), -1, seen)
		fit := Einsum("btngd,bsnd->bntgs", SliceAxis(q, 1, queries), SliceAxis(k, 1, seen)) // [B, N, t, G, s]
		fit = Add(softCap(fit, n.AttentionCap), mask)
		lots = append(lots, Einsum("bntgs,bsnd->btngd", Softmax(fit, -1), SliceAxis(v, 1, seen)))
	}
	mixed := Concatenate(lots, 1) // [B, T, N, G, D]
	return w.Linear(l, "attn_output", Reshape(mixed, at.b*at.t, layer.Heads*d))
}

// lotTokens is how many of T queries are dealt with at a time. In lots, queries need not be
// held against all keys, of which half come after them; of lots that are too small or too
// many a graph gains nothing.
func lotTokens(t int) int { return max(64, (t+7)/8) }

// project makes queries [B·T, heads·D], and keys and values [B·T, N·D], of h [B·T, H].
func (n *Network) project(w Weights, l int, h *Node) (q, k, v *Node) {
	if !n.Fused {
		return w.Linear(l, "attn_q", h), w.Linear(l, "attn_k", h), w.Linear(l, "attn_v", h)
	}
	all := w.Linear(l, "attn_qkv", h)
	queries, keys := n.Layers[l].Heads*n.HeadSize, n.Layers[l].KVHeads*n.HeadSize
	return SliceAxis(all, 1, AxisRange(0, queries)),
		SliceAxis(all, 1, AxisRange(queries, queries+keys)),
		SliceAxis(all, 1, AxisRange(queries+keys))
}

// softCap keeps x between -c and c: c·tanh(x/c). There is no cap of 0.
func softCap(x *Node, c float64) *Node {
	if c == 0 {
		return x
	}
	return MulScalar(Tanh(DivScalar(x, c)), c)
}
