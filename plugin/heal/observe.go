package heal

import (
	"context"
	"fmt"
	"path/filepath"

	"pare/plugin"
	"pare/plugin/lessons"
	"pare/repair"
)

// topTokens is how many of the uncut model's likely tokens are kept of each position.
// The rest of the probability counts as one class.
const topTokens = 64

// unlikely is the log-probability of what is never learnt.
const unlikely = -50

// rowsTogether is how many rows are observed before their examples are safe on disk, and
// alternating that where two models take turns: the host holds one of them at a time.
const (
	rowsTogether = 8
	alternating  = 64
)

// A look is one model's run through rows.
type look struct {
	plugin.ObserveRequest
	state, aim bool // its Points are those of Example.State and Example.Aim
}

// looks are the runs that make examples: all of the uncut model, or what enters layer
// first of another one, beneath, which has all layers below it.
func looks(p Patient, form examplesForm, first int, beneath plugin.Variant) (out []look) {
	whole := look{aim: form.Aim, ObserveRequest: plugin.ObserveRequest{Model: p.Model.Name, Top: form.Top}}
	below := look{state: form.State, ObserveRequest: plugin.ObserveRequest{Model: p.Model.Name, Variant: beneath}}
	if beneath.Path == "" {
		whole.state, below.state = form.State, false
	}
	for _, l := range []look{below, whole} {
		if l.state {
			l.Points = append(l.Points, plugin.Point{Layer: first})
		}
		if l.aim {
			l.Points = append(l.Points, plugin.Point{Layer: p.Layers})
		}
		if len(l.Points) > 0 || l.Top > 0 {
			out = append(out, l)
		}
	}
	return out
}

// observe runs models through the rows and keeps what a training learns from. The rows
// that an earlier try observed are found again.
func observe(ctx context.Context, p Patient, name string, packed lessons.Packed, form examplesForm, looks []look, h plugin.Host, tell func(tokens int)) (*examples, error) {
	e, err := openExamples(filepath.Join(p.Folder, name), form)
	if err != nil {
		return nil, err
	}
	for i := range e.n {
		tell(filled(packed, i))
	}
	together := rowsTogether
	if len(looks) > 1 {
		together = alternating
	}
	for e.n < len(packed.Rows) {
		if err := addRows(ctx, e, packed, min(together, len(packed.Rows)-e.n), looks, h, tell); err != nil {
			e.Close()
			return nil, err
		}
	}
	return e, nil
}

// filled is how many tokens of a row are those of documents.
func filled(p lessons.Packed, row int) (n int) {
	for _, i := range p.Rows[row].Pieces {
		n += len(p.Pieces[i].Tokens)
	}
	return n
}

// addRows observes the next rows.
func addRows(ctx context.Context, e *examples, packed lessons.Packed, n int, looks []look, h plugin.Host, tell func(int)) error {
	var of []int // piece of each sequence
	var sequences [][]int32
	rows := make([]repair.Example, n)
	for i := range rows {
		rows[i] = e.example(packed.Rows[e.n+i])
		for _, piece := range packed.Rows[e.n+i].Pieces {
			of = append(of, piece)
			sequences = append(sequences, packed.Pieces[piece].Tokens)
		}
	}
	base := e.n
	for i, l := range looks {
		l.Sequences = sequences
		err := h.Observe(ctx, l.ObserveRequest, func(o plugin.Observation) error {
			piece := packed.Pieces[of[o.Sequence]]
			if i == 0 {
				tell(len(piece.Tokens))
			}
			return e.lay(piece, o, l, rows[piece.Row-base])
		})
		if err != nil {
			return fmt.Errorf("observe what is learnt: %w", err)
		}
	}
	for _, x := range rows {
		if err := e.add(x); err != nil {
			return err
		}
	}
	return e.sync()
}

// example is a row with room for what is observed.
func (e *examples) example(r lessons.Row) repair.Example {
	x := repair.Example{Tokens: r.Tokens, Segment: r.Segment, Position: r.Position, Target: r.Target, Weight: r.Weight}
	if e.State {
		x.State = make([]float32, e.Length*e.Hidden)
	}
	if e.Aim {
		x.Aim = make([]float32, e.Length*e.Hidden)
	}
	x.TopTokens, x.TopLogProb = make([]int32, e.Length*e.Top), make([]float32, e.Length*e.Top)
	for i := range x.TopLogProb {
		x.TopLogProb[i] = unlikely // where there is padding: probabilities must not add up to more than 1
	}
	return x
}

// lay puts what a look saw of a piece into its example.
func (e *examples) lay(p lessons.Piece, o plugin.Observation, l look, x repair.Example) error {
	states := o.States
	for _, to := range []struct {
		seen bool
		rows []float32
	}{{l.state, x.State}, {l.aim, x.Aim}} {
		if !to.seen {
			continue
		}
		if err := lessons.Lay(p, e.Length, states[0], to.rows); err != nil {
			return err
		}
		states = states[1:]
	}
	if l.Top == 0 {
		return nil
	}
	if err := lessons.Lay(p, e.Length, o.TopTokens, x.TopTokens); err != nil {
		return err
	}
	return lessons.Lay(p, e.Length, o.TopLogProb, x.TopLogProb)
}
