package repair

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// A Sequence tells where the tokens of B packed sequences belong. Tokens of different
// segments do not see each other; those of one stand in the order of the text.
type Sequence struct {
	Segment  *Node // int32 [B, T]: number of the document, from 1; 0 is padding
	Position *Node // int32 [B, T]: within the document, from 0
}

// Embed turns tokens, int32 [B, T], into the residuals that enter the first layer,
// [B, T, H].
func (n *Network) Embed(w Weights, tokens *Node) *Node {
	b, t := tokens.Shape().Dim(0), tokens.Shape().Dim(1)
	return Reshape(w.Embed(Reshape(tokens, b*t)), b, t, n.Hidden)
}

// Blocks runs layers from up to to, without the latter, over residuals x [B, T, H], and
// returns what leaves the last. What recompute names, the gradient computes
// again.
func (n *Network) Blocks(w Weights, from, to int, x *Node, s Sequence, recompute string) *Node {
	shape := x.Shape().Dimensions
	at := n.surroundings(from, to, s)
	x = Reshape(x, -1, n.Hidden) // [B·T, H]
	if recompute == RecomputeSelective {
		w = keepsProducts{w}
	}
	for l := from; l < to; l++ {
		if recompute != RecomputeNothing {
			x = x.Checkpoint()
		}
		x = n.block(w, l, x, at)
	}
	if recompute != RecomputeNothing {
		x = x.StopCheckpoint()
	}
	return Reshape(x, shape...)
}

// Head normalises the last residuals x [B, T, H] for [Weights.Output]: [B·T, H].
func (n *Network) Head(w Weights, x *Node) *Node {
	return n.norm(Reshape(x, -1, n.Hidden), w.Vector(-1, "output_norm"))
}

// surroundings is what layers need to know besides the residuals. Layers that see
// alike share it.
type surroundings struct {
	b, t  int
	masks map[int]*Node // by window: [B, 1, T, 1, T], 0 where a token sees another, else -1e9
	turns map[int]turn  // by rotation
}

func (n *Network) surroundings(from, to int, s Sequence) surroundings {
	at := surroundings{
		b: s.Position.Shape().Dim(0), t: s.Position.Shape().Dim(1),
		masks: map[int]*Node{}, turns: map[int]turn{},
	}
	for _, l := range n.Layers[from:to] {
		if _, ok := at.masks[l.Window]; !ok {
			at.masks[l.Window] = mask(s, l.Window)
		}
		if _, ok := at.turns[l.Rotation]; !ok {
			at.turns[l.Rotation] = newTurn(n.Rotations[l.Rotation], s.Position)
		}
	}
	return at
}

// mask lets a token see those of its own segment that are not behind it in the text
// and, with a window, fewer than window tokens before it.
func mask(s Sequence, window int) *Node {
	behind := Sub(InsertAxes(s.Position, -1), InsertAxes(s.Position, 1)) // [B, T, T]: of the query, minus of the key
	sees := Equal(InsertAxes(s.Segment, -1), InsertAxes(s.Segment, 1))   // [B, T, T]
	sees = LogicalAnd(sees, GreaterOrEqual(behind, ScalarZero(behind.Graph(), dtypes.Int32)))
	if window > 0 {
		sees = LogicalAnd(sees, LessThan(behind, Scalar(behind.Graph(), dtypes.Int32, window)))
	}
	g := behind.Graph()
	far := BroadcastToDims(Scalar(g, dtypes.Float32, -1e9), sees.Shape().Dimensions...)
	return InsertAxes(Where(sees, ZerosLike(far), far), 1, 2) // [B, 1, T, 1, T]
}
