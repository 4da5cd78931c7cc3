package profile

import "math/rand/v2"

// Half draws about half of a list of chunks, the same for the same seed, so that
// choices made on several halves show how much the text matters. Of each pair of
// neighbours one is drawn, and a last one without a neighbour always is: a list
// in which each prefix is a fair sample over styles yields another.
func Half[T any](chunks []T, seed uint64) []T {
	random := rand.New(rand.NewPCG(seed, 50))
	half := make([]T, 0, (len(chunks)+1)/2)
	for i := 0; i < len(chunks); i += 2 {
		j := i + random.IntN(2)
		half = append(half, chunks[min(j, len(chunks)-1)])
	}
	return half
}
