package corpus

import (
	"bytes"
	"crypto/sha256"
	"math"
	"slices"
)

// Split holds out about a fraction of a user's documents for scoring and
// leaves the rest for tracing, both in their order. What is traced may choose a cut
// or train its repair; what is held out may do neither, so that a score is
// never that of text the model was fitted to. The choice depends on the texts
// alone: the same documents are split alike in any order, and equal texts
// stay together. Of two or more different texts at least one goes to each side; a
// single one is traced. A book is one document until Chunk has cut it.
func Split(docs []Document, fraction float64) (trace, score []Document) {
	sums := make([][sha256.Size]byte, len(docs))
	for i, d := range docs {
		sums[i] = sha256.Sum256([]byte(d.Text))
	}
	order := slices.Clone(sums)
	slices.SortFunc(order, func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	order = slices.Compact(order)

	held := make(map[[sha256.Size]byte]bool)
	for _, sum := range order[:holdOut(len(order), fraction)] {
		held[sum] = true
	}
	for i, d := range docs {
		if held[sums[i]] {
			score = append(score, d)
		} else {
			trace = append(trace, d)
		}
	}
	return trace, score
}

// holdOut returns how many of n different texts to score.
func holdOut(n int, fraction float64) int {
	if n < 2 {
		return 0
	}
	want := math.Round(fraction * float64(n))
	if !(want >= 1) { // also if it is not a number
		return 1
	}
	return int(min(want, float64(n-1)))
}
