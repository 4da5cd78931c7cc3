package profile

import (
	"math/rand/v2"
	"slices"

	"pare/plugin"
)

// Resamples is the number of bootstrap resamplings behind an interval.
const Resamples = 1000

// A sample holds, chunk by chunk, the sums behind a list of terms. Chunks, not
// tokens, are what is drawn again: the tokens of one text are alike, and an
// interval over tokens would be far too narrow.
type sample struct {
	layers int
	terms  []term
	index  map[term]int
	chunks []chunk // those with tokens
	tokens int64   // of all chunks
	out    int64   // output rows of all chunks
}

// A chunk is one unit of the bootstrap: its sums by term, and its tokens.
type chunk struct {
	sums        []float64 // len terms
	tokens, out float64
}

// newSample gathers the sums of the given terms. Chunks without tokens, or with
// sums that are not finite, are left out.
func newSample(layers int, deltas []plugin.TraceDelta, last bool, terms []term) *sample {
	s := &sample{layers: layers, terms: terms, index: make(map[term]int, len(terms))}
	for i, t := range terms {
		s.index[t] = i
	}
	for i := range deltas {
		sums := &deltas[i].All
		if last {
			sums = &deltas[i].Last
		}
		if sums.Tokens <= 0 || !deltas[i].Finite() {
			continue
		}
		s.tokens += sums.Tokens
		s.out += sums.OutTokens
		c := chunk{make([]float64, len(terms)), float64(sums.Tokens), float64(sums.OutTokens)}
		for j, t := range terms {
			if t.influence {
				c.sums[j] = tokens(layers, t.b, *sums) - sums.Cosine[plugin.Pair(layers, t.a, t.b)]
			} else {
				c.sums[j] = sums.Angle[plugin.Pair(layers, t.a, t.b)]
			}
		}
		s.chunks = append(s.chunks, c)
	}
	return s
}

// measured reports whether a set's terms all have tokens behind them.
func (s *sample) measured(terms []term) bool {
	for _, t := range terms {
		if _, ok := s.index[t]; !ok || s.tokens == 0 || t.b == s.layers && s.out == 0 {
			return false
		}
	}
	return true
}

// means are the ratio estimates Σ w·sums / Σ w·tokens of the terms, where w is
// how often each chunk was drawn. A term whose draw has no tokens takes its
// value from fallback.
func (s *sample) means(w []float64, fallback []float64) []float64 {
	values := make([]float64, len(s.terms))
	tokens, out := 0.0, 0.0
	for i, c := range s.chunks {
		if w[i] == 0 {
			continue
		}
		tokens += w[i] * c.tokens
		out += w[i] * c.out
		for j, v := range c.sums {
			values[j] += w[i] * v
		}
	}
	for j, t := range s.terms {
		n := tokens
		if t.b == s.layers {
			n = out
		}
		switch {
		case n > 0:
			values[j] /= n
		case fallback != nil:
			values[j] = fallback[j]
		}
	}
	return values
}

// point returns the means of the terms over all chunks.
func (s *sample) point() []float64 {
	w := make([]float64, len(s.chunks))
	for i := range w {
		w[i] = 1
	}
	return s.means(w, nil)
}

// draw returns the means of the terms over all chunks, and over each of
// Resamples draws of as many chunks with replacement. The seed is fixed: the
// same trace gives the same plan.
func (s *sample) draw() (point []float64, draws [][]float64) {
	point = s.point()
	w := make([]float64, len(s.chunks))
	random := rand.New(rand.NewPCG(2403, 17887))
	draws = make([][]float64, Resamples)
	for r := range draws {
		clear(w)
		for range s.chunks {
			w[random.IntN(len(w))]++
		}
		draws[r] = s.means(w, point)
	}
	return point, draws
}

// interval bounds the middle 95% of the values, by interpolation between order
// statistics (percentile bootstrap).
func interval(values []float64) (low, high float64) {
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		x := q * float64(len(v)-1)
		i := min(int(x), len(v)-2)
		return v[i] + (x-float64(i))*(v[i+1]-v[i])
	}
	return at(0.025), at(0.975)
}
