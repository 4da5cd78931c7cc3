package evaluate

import (
	"math"

	"pare/plugin"
)

// All is the name of the first score, which is over everything.
const All = "all"

// Text estimates perplexity, and where a second model was run on the same
// chunks its KL divergence, agreement and rise of the log-loss: first over all
// chunks, each token with the same weight, then for each style in order of
// first appearance.
//
// Chunks without tokens are left out; without any other there is no score. What
// compares two models is given where all chunks of the style have an After of
// as many tokens, and KL and agreement where all of them were compared.
//
// The error is that of a ratio estimator over chunks, see [ratio.estimate]; of
// a single chunk in all it is unknown and the bounds are the value.
func Text(chunks []Chunk) []plugin.TextScore {
	var all []Chunk
	var styles []string
	byStyle := map[string][]Chunk{}
	for _, c := range chunks {
		if c.Before.Tokens <= 0 {
			continue
		}
		if byStyle[c.Style] == nil {
			styles = append(styles, c.Style)
		}
		all = append(all, c)
		byStyle[c.Style] = append(byStyle[c.Style], c)
	}
	if len(all) == 0 {
		return nil
	}
	scores := []plugin.TextScore{scoreText(All, all, all)}
	for _, s := range styles {
		scores = append(scores, scoreText(s, byStyle[s], all))
	}
	return scores
}

// scoreText scores some chunks, which are part of all.
func scoreText(style string, chunks, all []Chunk) plugin.TextScore {
	s := plugin.TextScore{Style: style, Chunks: len(chunks)}
	for _, c := range chunks {
		s.Tokens += c.Before.Tokens
	}
	s.Before = perplexity(*estimate(chunks, all, lossBefore))
	if e := estimate(chunks, all, lossAfter); e != nil {
		after := perplexity(*e)
		s.After = &after
	}
	s.Rise = estimate(chunks, all, rise)
	if e := estimate(chunks, all, divergence); e != nil {
		s.KL = within(*e, 0, math.MaxFloat64)
	}
	if e := estimate(chunks, all, agreement); e != nil {
		s.Agreement = within(*e, 0, 1)
	}
	return s
}

// A quantity is what is added up of a chunk, if it was measured.
type quantity func(Chunk) (y float64, measured bool)

func lossBefore(c Chunk) (float64, bool) { return c.Before.NLL, true }

func lossAfter(c Chunk) (float64, bool) {
	if c.After == nil || c.After.Tokens != c.Before.Tokens {
		return 0, false
	}
	return c.After.NLL, true
}

func rise(c Chunk) (float64, bool) {
	after, ok := lossAfter(c)
	return after - c.Before.NLL, ok
}

func divergence(c Chunk) (float64, bool) {
	if _, ok := lossAfter(c); !ok || !c.After.Compared {
		return 0, false
	}
	return c.After.KL, true
}

func agreement(c Chunk) (float64, bool) {
	if _, ok := lossAfter(c); !ok || !c.After.Compared {
		return 0, false
	}
	return float64(c.After.Agree), true
}

// estimate is the mean of a quantity over the tokens of the chunks, nil where
// it was not measured on each of them.
func estimate(chunks, all []Chunk, q quantity) *plugin.Estimate {
	r := collect(chunks, q)
	if len(r.y) < len(chunks) {
		return nil
	}
	e := r.estimate(collect(all, q))
	return &e
}

// collect gathers a quantity from the chunks where it was measured.
func collect(chunks []Chunk, q quantity) ratio {
	var r ratio
	for _, c := range chunks {
		if y, ok := q(c); ok {
			r.y = append(r.y, y)
			r.m = append(r.m, float64(c.Before.Tokens))
		}
	}
	return r
}
