package repair

import (
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

var opened = sync.OnceValues(func() (compute.Backend, error) {
	return Open(slog.New(slog.NewTextHandler(io.Discard, nil)))
})

func backend(t *testing.T) compute.Backend {
	t.Helper()
	b, err := opened()
	if err != nil {
		t.Fatalf("%v: make xla fetches it", err)
	}
	return b
}

// headOnly is a model's head of a matrix [V, H] and nothing else.
type headOnly struct {
	Weights
	matrix *Node
}

func (w headOnly) Output(h *Node) *Node { return Dot(h, w.matrix).EinsumAxes([][2]int{{1, 1}}, nil) }

// A head's sizes.
const (
	headTokens = 6
	headWidth  = 4
	headWords  = 3000
	likely     = 3
)

// teacher makes up log-probabilities of a few tokens for each, with something left.
func teacher(r *rand.Rand) (tokens []int32, logProbs []float32) {
	for range headTokens {
		for k := range likely {
			tokens = append(tokens, int32(k*1000+r.IntN(1000)))
			logProbs = append(logProbs, float32(math.Log(0.1+0.2*r.Float64())))
		}
	}
	return tokens, logProbs
}

// plainLosses is what loss.go says in plain float64: for the next token where
// logProbs is nil.
func plainLosses(h, matrix []float32, tokens []int32, logProbs []float32) (losses []float64) {
	k := len(tokens) / headTokens
	for t := range headTokens {
		logits := make([]float64, headWords)
		var sum float64
		for v := range logits {
			for i := range headWidth {
				logits[v] += float64(h[t*headWidth+i]) * float64(matrix[v*headWidth+i])
			}
			sum += math.Exp(logits[v])
		}
		var loss float64
		restP, restQ := 1.0, 1.0
		for i, token := range tokens[t*k : (t+1)*k] {
			logQ := logits[token] - math.Log(sum)
			if logProbs == nil {
				loss = -logQ
				continue
			}
			logP := float64(logProbs[t*k+i])
			loss += math.Exp(logP) * (logP - logQ)
			restP -= math.Exp(logP)
			restQ -= math.Exp(logQ)
		}
		if logProbs != nil {
			loss += restP * math.Log(restP/restQ)
		}
		losses = append(losses, loss)
	}
	return losses
}

func TestLossesOverSlices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h, matrix := noise(r, headTokens*headWidth, 1), noise(r, headWords*headWidth, 0.3)
	likelyTokens, logProbs := teacher(r)
	next := likelyTokens[:headTokens]
	weights := []float32{0.3, 0, 0.1, 0.25, 0.2, 0.15}
	for _, c := range []struct {
		name     string
		tokens   []int32
		logProbs []float32
		loss     func(in []*Node) tokenLoss
	}{
		{"next", next, nil, func(in []*Node) tokenLoss { return nextToken(in[0]) }},
		{"distill", likelyTokens, logProbs, func(in []*Node) tokenLoss { return distillation(in[0], in[1]) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := func(h []float32) (sum float64) {
				for i, l := range plainLosses(h, matrix, c.tokens, c.logProbs) {
					sum += float64(weights[i]) * l
				}
				return sum
			}
			given := []any{
				tensors.FromFlatDataAndDimensions(h, headTokens, headWidth),
				tensors.FromFlatDataAndDimensions(matrix, headWords, headWidth), weights,
			}
			if c.logProbs == nil {
				given = append(given, c.tokens)
			} else {
				given = append(given, tensors.FromFlatDataAndDimensions(c.tokens, headTokens, likely),
					tensors.FromFlatDataAndDimensions(c.logProbs, headTokens, likely))
			}
			out := MustExecOnceN(backend(t), func(in []*Node) []*Node {
				l := overVocabulary(headOnly{matrix: in[1]}, 2, in[0], in[2], c.loss(in[3:]), true, in[1])
				return []*Node{l.sum, l.residuals, ReduceSum(l.matrices[0], 0)}
			}, given...)
			near(t, "loss", float64(tensors.ToScalar[float32](out[0])), want(h), 1e-5)
			slopes := tensors.MustCopyFlatData[float32](out[1])
			for _, i := range []int{0, headWidth, 2*headWidth + 1, len(h) - 1} {
				near(t, "gradient", float64(slopes[i]), slope(want, h, i), 2e-4)
			}
			// Softmax gradients of a token add up to nothing over the vocabulary.
			for _, s := range tensors.MustCopyFlatData[float32](out[2]) {
				near(t, "gradient of the matrix, over the vocabulary", float64(s), 0, 1e-4)
			}
		})
	}
}

func TestSliceTokens(t *testing.T) {
	for _, c := range []struct{ tokens, vocabulary, want int }{
		{1024, 49152, 256}, // 341 would fit
		{1000, 64, 1000},
		{1021, 1 << 20, 1}, // a prime
	} {
		if got := sliceTokens(c.tokens, c.vocabulary); got != c.want {
			t.Errorf("%d of %d tokens at a time with %d words, not %d", got, c.tokens, c.vocabulary, c.want)
		}
	}
}

func TestHiddenError(t *testing.T) {
	x, y := [][]float32{{1, 2}, {3, 4}}, [][]float32{{1, 1}, {0, 5}}
	out := MustExecOnce(backend(t), hiddenError, x, y)
	got := tensors.MustCopyFlatData[float32](out)
	near(t, "first token", float64(got[0]), 1.0/2, 1e-6)
	near(t, "second token", float64(got[1]), 10.0/25, 1e-6)
}

// slope is a derivative by finite differences.
func slope(f func([]float32) float64, x []float32, i int) float64 {
	const by = 1.0 / 256 // exact in float32
	at := x[i]
	defer func() { x[i] = at }()
	x[i] = at + by
	up := f(x)
	high := float64(x[i])
	x[i] = at - by
	down := f(x)
	return (up - down) / (high - float64(x[i]))
}

func noise(r *rand.Rand, n int, size float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64() * size)
	}
	return out
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s is %g, not %g", what, got, want)
	}
}
