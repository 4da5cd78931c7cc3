package repair

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// What is minimised is the mean over tokens of a loss for each, weighted by
// Example.Weight. With the student's logits z and ln q = z - ln Σ exp z, the loss of a token is
//
//	next     -ln q_target
//	distill  Σ p_k (ln p_k - ln q_k) over the teacher's K likeliest tokens, and
//	         p_r (ln p_r - ln q_r) for the rest as one class: p_r = 1 - Σ p_k, q_r = 1 - Σ q_k
//	hidden   |x - y|² / |y|² with the last residual x and the teacher's y

// leastRest is what the rest of the probability counts for at least: below it
// 1 - Σ q_k is nothing but rounding.
const leastRest = 1e-6

// A tokenLoss returns the loss [to-from] of tokens from..to-1 given their logits
// [to-from, V].
type tokenLoss func(logits *Node, from, to int) *Node

// nextToken is the loss for targets, int32 [N].
func nextToken(target *Node) tokenLoss {
	return func(logits *Node, from, to int) *Node {
		at := InsertAxes(SliceAxis(target, 0, AxisRange(from, to)), -1) // [n, 1]
		return Sub(logSum(logits), Squeeze(pick(logits, at), -1))
	}
}

// distillation is the loss for a teacher's likeliest tokens, int32 [N, K], and the
// logarithms of their probabilities [N, K].
func distillation(tokens, logProbs *Node) tokenLoss {
	return func(logits *Node, from, to int) *Node {
		at := SliceAxis(tokens, 0, AxisRange(from, to))               // [n, K]
		logP := SliceAxis(logProbs, 0, AxisRange(from, to))           // [n, K]
		logQ := Sub(pick(logits, at), InsertAxes(logSum(logits), -1)) // [n, K]
		restP, restQ := rest(logP), rest(logQ)                        // [n]
		likely := ReduceSum(Mul(Exp(logP), Sub(logP, logQ)), -1)      // [n]
		return Add(likely, Mul(restP, Sub(Log(restP), Log(restQ))))
	}
}

// rest is the probability that those with logarithms logP [n, K] leave: [n].
func rest(logP *Node) *Node {
	return MaxScalar(OneMinus(ReduceSum(Exp(logP), -1)), leastRest)
}

// logSum is ln Σ exp z over the vocabulary: [n, V] to [n].
func logSum(z *Node) *Node {
	top := StopGradient(ReduceAndKeep(z, ReduceMax, -1)) // [n, 1]
	return Add(Log(ReduceSum(Exp(Sub(z, top)), -1)), Squeeze(top, -1))
}

// pick takes the logits [n, V] of tokens, int32 [n, K]: [n, K].
func pick(logits, tokens *Node) *Node {
	n, k := tokens.Shape().Dim(0), tokens.Shape().Dim(1)
	rows := Iota(logits.Graph(), shapes.Make(dtypes.Int32, n, k, 1), 0)
	return Gather(logits, Concatenate([]*Node{rows, InsertAxes(tokens, -1)}, -1))
}

// hiddenError is the loss [N] of last residuals x [N, H] for a teacher's y [N, H].
func hiddenError(x, y *Node) *Node {
	size := MaxScalar(ReduceSum(Square(y), -1), leastRest)
	return Div(ReduceSum(Square(Sub(x, y)), -1), size)
}

// sliceBytes is what the logits of the tokens that are dealt with at a time may take.
const sliceBytes = 64 << 20

// sliceTokens is how many of N tokens that is: the largest divisor of N that fits.
func sliceTokens(tokens, vocabulary int) int {
	for n := tokens; n > 1; n-- {
		if tokens%n == 0 && n*vocabulary*4 <= sliceBytes {
			return n
		}
	}
	return 1
}

// A headLoss is a weighted sum of losses, and what it takes for its gradient.
type headLoss struct {
	sum       *Node
	residuals *Node   // its gradient with respect to the normalised residuals: [N, H]
	matrices  []*Node // and with respect to matrices of the head
}

// overVocabulary sums up the losses of N tokens with normalised residuals h [N, H] and
// weight [N]. The logits of all of them would be the largest thing in memory by far,
// so it takes size tokens at a time (a divisor of N), each lot after the one before. Where the gradient
// is wanted it is computed at once with the loss, while the logits are there: they are neither kept
// for the backward pass nor computed again. (It is the reason why the gradient is
// returned, rather than left to gomlx.)
func overVocabulary(w Weights, size int, h, weight *Node, each tokenLoss, gradient bool, matrices ...*Node) headLoss {
	out := headLoss{sum: ScalarZero(h.Graph(), dtypes.Float32)}
	h = StopGradient(h)
	var parts []*Node
	tokens := h.Shape().Dim(0)
	for from := 0; from < tokens; from += size {
		part := SliceAxis(h, 0, AxisRange(from, from+size)) // [n, H]
		if len(parts) > 0 {
			part = SchedulingBarrier(part, parts[len(parts)-1])
		}
		losses := each(w.Output(part), from, from+size) // [n]
		sum := ReduceAllSum(Mul(losses, SliceAxis(weight, 0, AxisRange(from, from+size))))
		out.sum = Add(out.sum, sum)
		if !gradient {
			parts = append(parts, sum)
			continue
		}
		slopes := Gradient(sum, append([]*Node{part}, matrices...)...)
		parts = append(parts, slopes[0])
		out.add(slopes[1:])
	}
	if gradient {
		out.residuals = Concatenate(parts, 0)
	}
	return out
}

func (l *headLoss) add(matrices []*Node) {
	if l.matrices == nil {
		l.matrices = matrices
		return
	}
	for i, m := range matrices {
		l.matrices[i] = Add(l.matrices[i], m)
	}
}
