package repair

import . "github.com/gomlx/gomlx/core/graph"

// norm divides x [..., d] by its root mean square and multiplies it with weight [d]
// (RMSNorm, arXiv 1910.07467). Without a weight there is no norm: x is returned.
func (n *Network) norm(x, weight *Node) *Node {
	if weight == nil {
		return x
	}
	mean := ReduceAndKeep(Square(x), ReduceMean, -1) // [..., 1]
	return Mul(Div(x, Sqrt(AddScalar(mean, n.Epsilon))), ExpandLeftToRank(weight, x.Rank()))
}
