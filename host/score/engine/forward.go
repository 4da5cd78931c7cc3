package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pare/host/score"
	"pare/plugin"
)

// cost is what a forward pass took.
type cost struct {
	tokens  int
	seconds float64
}

// of is the share that so many of the tokens have.
func (c cost) of(tokens int) cost {
	if tokens >= c.tokens {
		return c
	}
	return cost{tokens, c.seconds * float64(tokens) / float64(c.tokens)}
}

// begin keeps of the context what it has of the first limit tokens, and returns
// how many that are.
func (m *model) begin(tokens []int32, limit int) int {
	n := min(score.Common(m.held, tokens), limit)
	if n == 0 || n < len(m.held) && !m.context.KvCacheSeqRm(0, n, -1) {
		m.forget(m.bypass)
		return 0
	}
	m.held = m.held[:n]
	return n
}

// forward computes tokens from an empty context, or from what it has of them, and
// calls rows after each batch with the logits at the positions from first on: at
// is the position of the first of them. The logits last until rows returns.
func (m *model) forward(ctx context.Context, tokens []int32, first int, rows func(at int, logits [][]float32) error) (c cost, err error) {
	for at := m.begin(tokens, first); at < len(tokens); {
		if err := ctx.Err(); err != nil {
			return c, err
		}
		end := min(at+m.batch.Size(), len(tokens))
		took, err := m.decode(tokens[at:end], at, first)
		c.tokens += end - at
		c.seconds += took.Seconds()
		if err != nil {
			return c, err
		}
		if from := max(at, first); from < end {
			if err := m.give(from, from-at, end-at, rows); err != nil {
				return c, err
			}
		}
		at = end
	}
	return c, nil
}

// decode computes one batch, at the position at, with logits from first on.
func (m *model) decode(tokens []int32, at, first int) (time.Duration, error) {
	m.batch.Clear()
	for i, t := range tokens {
		m.batch.Add(int(t), nil, at+i, at+i >= first, 0)
	}
	took, err := m.compute()
	if err != nil {
		return took, err
	}
	m.held = append(m.held, tokens...)
	return took, nil
}

// compute runs the batch. After an error the context is empty.
func (m *model) compute() (time.Duration, error) {
	began := time.Now()
	err := m.context.Decode(m.batch)
	m.context.Synchronize()
	took := time.Since(began)
	if len(m.bypass) > 0 {
		err = bypassed(err)
	}
	if err != nil {
		m.forget(m.bypass)
		err = fmt.Errorf("compute %s: %w", m.name(), err)
		if strings.HasSuffix(err.Error(), "code -2") { // llama.cpp's for an allocation that failed
			err = plugin.Errorf(plugin.Unavailable, "%w: memory does not suffice; free some", err)
		}
		return took, err
	}
	return took, nil
}

// give calls rows with the logits of the batch's tokens from to to.
func (m *model) give(at, from, to int, rows func(at int, logits [][]float32) error) error {
	logits := make([][]float32, 0, to-from)
	for i := from; i < to; i++ {
		l := logitsAt(m.context, i, m.handle.NumVocab())
		if l == nil {
			return fmt.Errorf("compute %s: no logits for token %d of the batch", m.name(), i)
		}
		logits = append(logits, l)
	}
	return rows(at, logits)
}
