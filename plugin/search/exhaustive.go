package search

import "context"

// exhaustive races all blocks, on all text if it must.
func exhaustive(ctx context.Context, t *table, blocks [][]int) (outcome, error) {
	r := newRace(t, t.all(blocks))
	end, err := r.run(ctx)
	return outcome{race: r, end: end, exhaustive: len(blocks) * len(t.chunks)}, err
}
