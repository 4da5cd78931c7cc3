// Package traffic keeps what was measured of a model while it answered its users:
// counts and sums over tokens, never text, tokens or hidden states.
//
// Requests may bear a label, by which their traffic is kept apart. That of a label is
// a row of chunks in the order of time, the units of the bootstrap, as pieces of text
// are where a corpus is traced.
package traffic

import (
	"fmt"
	"math"
	"regexp"
	"time"

	"pare/plugin"
)

// A Chunk is a stretch of a model's traffic.
type Chunk struct {
	Label     string            // that the requests bore; "" if none, or several at a time
	From, To  time.Time         // first and last of it
	Requests  int64             // to the runner, answered or given up
	Prompt    int64             // tokens of their prompts, those that came from the runner's cache too
	Generated int64             // tokens that the model made
	Skipped   int64             // tokens computed and, by lot, not measured
	Delta     plugin.TraceDelta // Layers is 0 if nothing was measured
}

const (
	// A chunk takes in what comes until it has so many tokens, about as many as a
	// piece of a corpus.
	chunkTokens = 512
	// Of a label so many chunks are kept at most, fewer of a large model with many
	// labels. Where one too many comes, two neighbours become one.
	maxChunks = 64
	minChunks = 8
	// maxBytes bounds what the sums of a model take in memory, as long as minChunks
	// allow it.
	maxBytes = 32 << 20
	// MaxLabels are kept of a model; the traffic of more is kept without a label.
	MaxLabels = 16
)

var labelForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,32}$`)

// CheckLabel refuses what cannot be a label.
func CheckLabel(label string) error {
	if !labelForm.MatchString(label) {
		return plugin.Errorf(plugin.Invalid, "label %q: give 1 to 32 letters, digits, dots, dashes or underscores", label)
	}
	return nil
}

// Measured counts the tokens in the sums.
func (c Chunk) Measured() int64 { return c.Delta.All.Tokens + c.Delta.First.Tokens }

// Computed counts the tokens that went through the model: not those of prompts that
// came from the runner's cache, nor the last token of an answer.
func (c Chunk) Computed() int64 { return c.Measured() + c.Delta.LeftOut + c.Skipped }

func (c Chunk) empty() bool {
	return c.Requests == 0 && c.Prompt == 0 && c.Generated == 0 && c.Computed() == 0 && len(c.Delta.Faults) == 0
}

// add takes what came after c into it.
func (c *Chunk) add(later Chunk) error {
	if err := c.Delta.Add(later.Delta); err != nil {
		return err
	}
	if c.From.IsZero() || (!later.From.IsZero() && later.From.Before(c.From)) {
		c.From = later.From
	}
	if later.To.After(c.To) {
		c.To = later.To
	}
	c.Requests += later.Requests
	c.Prompt += later.Prompt
	c.Generated += later.Generated
	c.Skipped += later.Skipped
	return nil
}

// clone is a copy that shares nothing with c.
func (c Chunk) clone() Chunk {
	sums := c.Delta
	c.Delta = plugin.TraceDelta{Model: sums.Model}
	c.Delta.Add(sums) // to nothing, which agrees with any
	return c
}

// Sum is all of some chunks in one.
func Sum(chunks []Chunk) (Chunk, error) {
	var all Chunk
	for _, c := range chunks {
		if err := all.add(c); err != nil {
			return Chunk{}, fmt.Errorf("sum up traffic: %w", err)
		}
	}
	return all, nil
}

// Deltas are the measurements of chunks of the model with a digest, without those in
// which nothing was measured. What was expected of each is what was computed and not
// left out by lot.
func Deltas(model string, chunks []Chunk) []plugin.TraceDelta {
	var ds []plugin.TraceDelta
	for _, c := range chunks {
		if c.Delta.Layers == 0 {
			continue
		}
		d := c.Delta
		d.Model, d.Expected = model, c.Measured()+d.LeftOut
		ds = append(ds, d)
	}
	return ds
}

// decay is c with all its weights times factor, in 0..1.
func (c Chunk) decay(factor float64) Chunk {
	for _, n := range []*int64{&c.Requests, &c.Prompt, &c.Generated, &c.Skipped, &c.Delta.LeftOut} {
		*n = scaled(*n, factor)
	}
	for _, s := range []*plugin.Sums{&c.Delta.All, &c.Delta.Last, &c.Delta.First} {
		*s = decaySums(*s, c.Delta.Layers, factor)
	}
	return c
}

func scaled(n int64, factor float64) int64 { return int64(math.Round(float64(n) * factor)) }

// decaySums scales counts, which are whole numbers, and sums so that each mean stays
// what it was.
func decaySums(s plugin.Sums, layers int, factor float64) plugin.Sums {
	if layers == 0 {
		return s
	}
	out := plugin.NewSums(layers)
	out.Tokens, out.OutTokens = scaled(s.Tokens, factor), scaled(s.OutTokens, factor)
	share := func(kept, of int64) float64 { return float64(kept) / float64(max(of, 1)) }
	each, last := share(out.Tokens, s.Tokens), share(out.OutTokens, s.OutTokens)
	weight := func(residual int) float64 { // x_L is known of the output rows alone
		if residual == layers {
			return last
		}
		return each
	}
	for a := range layers {
		for b := a + 1; b <= layers; b++ {
			i := plugin.Pair(layers, a, b)
			out.Angle[i], out.Cosine[i] = s.Angle[i]*weight(b), s.Cosine[i]*weight(b)
		}
		out.Step[a] = s.Step[a] * weight(a+1)
	}
	for l := range s.Norm {
		out.Norm[l] = s.Norm[l] * weight(l)
	}
	return out
}
