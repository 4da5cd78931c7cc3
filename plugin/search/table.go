package search

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// A table keeps what the model made of the text without each set of layers, so
// that nothing is run twice.
type table struct {
	try    Try
	chunks []int
	tokens []float64 // of each chunk that any set was run on
	rows   map[string]*row
	passes int

	progress func(done, most int)
	ahead    func() int // passes that may follow
}

// A row is one set of layers with its loss on the chunks it was run on, always
// the first ones.
type row struct {
	remove []int
	nll    []float64
}

func newTable(chunks []int, try Try, progress func(done, most int)) *table {
	if progress == nil {
		progress = func(int, int) {}
	}
	return &table{try: try, chunks: chunks, rows: map[string]*row{}, progress: progress, ahead: func() int { return 0 }}
}

func (t *table) row(remove []int) *row {
	key := fmt.Sprint(remove)
	if t.rows[key] == nil {
		t.rows[key] = &row{remove: remove}
	}
	return t.rows[key]
}

func (t *table) all(sets [][]int) []*row {
	rows := make([]*row, len(sets))
	for i, set := range sets {
		rows[i] = t.row(set)
	}
	return rows
}

// extend runs rows until each has the losses of the first k chunks.
func (t *table) extend(ctx context.Context, rows []*row, k int) error {
	for from := range k {
		var behind []*row
		for _, r := range rows {
			if len(r.nll) == from {
				behind = append(behind, r)
			}
		}
		if len(behind) == 0 {
			continue
		}
		if err := t.run(ctx, behind, from, k); err != nil {
			return err
		}
		t.progress(t.passes, t.passes+t.ahead())
	}
	return nil
}

// run has rows, all of from chunks, run on those before k.
func (t *table) run(ctx context.Context, rows []*row, from, k int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sets := make([][]int, len(rows))
	for i, r := range rows {
		sets[i] = r.remove
	}
	losses, err := t.try(ctx, sets, t.chunks[from:k])
	if err != nil {
		return err
	}
	if len(losses) != len(rows) {
		return fmt.Errorf("%d sets of layers were to be run, %d were", len(rows), len(losses))
	}
	for i, r := range rows {
		if err := t.keep(r, losses[i], k-from); err != nil {
			return err
		}
	}
	return nil
}

// keep adds the next n losses to a row.
func (t *table) keep(r *row, losses []Loss, n int) error {
	if len(losses) != n {
		return fmt.Errorf("%d chunks were to be run, %d were", n, len(losses))
	}
	for _, l := range losses {
		i := len(r.nll)
		if i == len(t.tokens) {
			t.tokens = append(t.tokens, float64(l.Tokens))
		}
		if l.Tokens <= 0 || float64(l.Tokens) != t.tokens[i] {
			return fmt.Errorf("chunk %d has %d tokens without layers %v, %.0f with others", t.chunks[i], l.Tokens, r.remove, t.tokens[i])
		}
		if len(r.remove) == 0 && !finite(l.NLL) {
			return errors.New("the loss of the whole model is not finite: use another text, or check the model")
		}
		r.nll = append(r.nll, l.NLL)
		t.passes++
	}
	return nil
}

// broken reports whether the model computes nothing of use without the layers.
func (r *row) broken() bool {
	for _, v := range r.nll {
		if !finite(v) {
			return true
		}
	}
	return false
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
