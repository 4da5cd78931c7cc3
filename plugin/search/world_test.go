package search

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pare/plugin"
	"pare/plugin/layers"
	"pare/plugin/profile"
)

// A world is a simulated model with text: what its loss rises by without a set of
// layers, and how that varies from chunk to chunk.
type world struct {
	layers int
	chunks int
	noise  float64 // standard deviation by chunk, as a share of the rise
	cost   func(remove []int) float64
	seed   uint64

	t     *testing.T
	asked map[string]bool
	most  []int // as progress told
}

// loss is the log-loss of one chunk without a set of layers. Chunks differ in
// length and in how hard they are; what a set costs varies with the chunk, half
// of it alike for all sets and half on its own.
func (w *world) loss(remove []int, chunk int) Loss {
	of := rand.New(rand.NewPCG(w.seed, uint64(chunk)))
	tokens := 200 + of.Int64N(300)
	hard, common := 3+.6*of.NormFloat64(), of.NormFloat64()
	if len(remove) == 0 {
		return Loss{tokens, float64(tokens) * hard}
	}
	h := fnv.New64()
	fmt.Fprint(h, remove, chunk)
	own := rand.New(rand.NewPCG(w.seed, h.Sum64())).NormFloat64()
	rise := w.cost(remove) * (1 + w.noise*(common+own)/math.Sqrt2)
	return Loss{tokens, float64(tokens) * (hard + rise)}
}

// mean is the log-loss on the first n chunks.
func (w *world) mean(remove []int, n int) float64 { return w.between(remove, 0, n) }

func (w *world) try(ctx context.Context, sets [][]int, chunks []int) ([][]Loss, error) {
	out := make([][]Loss, len(sets))
	for i, set := range sets {
		for _, c := range chunks {
			key := fmt.Sprint(set, c)
			if w.asked[key] {
				w.t.Errorf("layers %v were run on chunk %d twice", set, c)
			}
			w.asked[key] = true
			out[i] = append(out[i], w.loss(set, c))
		}
	}
	return out, ctx.Err()
}

// input is the world's text, and a trace in which the block (a, n) has the
// distance that rank gives it.
func (w *world) input(n int, rank func(a int) float64) Input {
	in := Input{Profile: profile.Input{Model: "sha256:m", Layers: w.layers, Trace: "sha256:t"}}
	for c := range w.chunks {
		in.Chunks = append(in.Chunks, c)
	}
	if rank != nil {
		sums := plugin.NewSums(w.layers)
		sums.Tokens = 5000
		for a := 0; a+n < w.layers; a++ {
			sums.Angle[plugin.Pair(w.layers, a, a+n)] = 5000 * rank(a)
		}
		empty := plugin.NewSums(w.layers)
		in.Profile.Chunks = []plugin.TraceDelta{{Model: "sha256:m", Layers: w.layers, Hidden: 8, All: sums, Last: empty, First: empty}}
	}
	return in
}

// choose chooses, which must not fail, and checks what holds of any result.
func (w *world) choose(in Input, sel plugin.Selection, cuttable func([]int) error) result {
	w.t.Helper()
	w.asked = map[string]bool{}
	w.most = nil
	r, err := choose(context.Background(), in, sel, cuttable, w.try, func(done, most int) {
		if done > most || done != len(w.asked) {
			w.t.Errorf("progress: %d of %d after %d passes", done, most, len(w.asked))
		}
		w.most = append(w.most, most)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if r.passes != len(w.asked) {
		w.t.Errorf("%d passes told, %d made", r.passes, len(w.asked))
	}
	c := r.Plan.Chosen
	want := w.mean(r.Plan.Remove, r.Plan.Chunks) - w.mean(nil, r.Plan.Chunks)
	if math.Abs(c.Score-want) > 1e-9 || c.Low > c.Score || c.High < c.Score {
		w.t.Errorf("chosen %+v, want a rise of %g", c, want)
	}
	for _, a := range r.Plan.Alternatives {
		if slices.Equal(a.Remove, r.Plan.Remove) || len(a.Remove) != len(r.Plan.Remove) || slices.Contains(a.Remove, w.layers-1) {
			w.t.Errorf("alternative %v to %v", a.Remove, r.Plan.Remove)
		}
	}
	return r
}

// smol is a world like SmolLM2-135M, whose perplexity of 21.7 rises to 32 without
// the best three layers, 68 without the best six and 455,000 without the worst, and
// jumps between neighbouring blocks: the layers at both ends and a few within
// are dear, and each more layer costs more than the one before.
func smol(t *testing.T, chunks int, seed uint64) *world {
	random := rand.New(rand.NewPCG(seed, 30))
	dear := make([]float64, 30)
	for l := range dear {
		x := math.Abs(float64(l)-13) / 13
		dear[l] = .07 + .6*math.Pow(x, 3) + .08*random.Float64()
		if random.Float64() < .15 {
			dear[l] += .6
		}
	}
	return &world{layers: 30, chunks: chunks, noise: .15, seed: seed, t: t, cost: func(remove []int) float64 {
		sum := 0.0
		for _, r := range layers.Runs(remove) {
			part := 0.0
			for l := r.First; l <= r.Last; l++ {
				part += dear[l]
			}
			sum += part * math.Pow(float64(r.Last-r.First+1), .35)
		}
		return sum
	}}
}

func blockAt(a, n int) []int {
	set := make([]int, n)
	for i := range set {
		set[i] = a + i
	}
	return set
}

// best is the block that costs least on all of the text.
func (w *world) best(n int) []int {
	best := blockAt(0, n)
	for a := 1; a+n < w.layers; a++ {
		if set := blockAt(a, n); w.mean(set, w.chunks) < w.mean(best, w.chunks) {
			best = set
		}
	}
	return best
}

// between is the log-loss on chunks from 'from' on, before 'to'.
func (w *world) between(remove []int, from, to int) float64 {
	nll, tokens := 0.0, 0.0
	for c := from; c < to; c++ {
		l := w.loss(remove, c)
		nll += l.NLL
		tokens += float64(l.Tokens)
	}
	return nll / tokens
}
