package repair

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Weights gives a graph the matrices of a model. What wraps another one may add to
// its products (adapters) or take a matrix's place (training in full). Names are those
// of the file without "blk.N." and ".weight": "attn_q", "ffn_down", and for phi3, where
// matrices are stored as one, "attn_qkv" and "ffn_up" (gate, then up).
type Weights interface {
	// Linear returns x·Wᵀ, plus the bias where the file has one: [n, in] to [n, out].
	Linear(layer int, name string, x *Node) *Node

	// Vector returns a norm's weight or the like, [n] in float32, or nil if the layer
	// has none of that name. Layer -1 is what belongs to no layer: "output_norm".
	Vector(layer int, name string) *Node

	// Embed returns the rows of the embedding for tokens, int32 [n] to [n, H], scaled
	// as the architecture does.
	Embed(tokens *Node) *Node

	// Output returns the logits [n, V] of normalised residuals [n, H], capped where
	// the architecture caps them.
	Output(h *Node) *Node
}

// keepsProducts keeps what matrices make of residuals for the backward pass, where
// the rest of a layer is computed again: they are most of its arithmetic.
type keepsProducts struct{ Weights }

func (w keepsProducts) Linear(layer int, name string, x *Node) *Node {
	return w.Weights.Linear(layer, name, x).Checkpoint()
}
